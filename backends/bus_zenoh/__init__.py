"""The Zenoh backend: peer to peer without a server, or through zenoh routers. See README.md beside this file.

`zenoh://` without a host (`local`) joins the processes of one user on one machine over unix sockets.
zenoh neither confirms nor tells what it dropped: only a peer that lists us proves anything, and the core
repairs the rest.
"""

from __future__ import annotations

import os
import threading
from typing import ClassVar

import anyio.to_thread

from bus.backend import Context, Fault, Features
from bus.config import Zenoh
from bus.errors import ConfigError, Forked, LinkError
from bus_zenoh.link import ZenohLink
from bus_zenoh.neighbours import Place
from bus_zenoh.settings import MAX_MESSAGE, mode, said, session_config

# The process in which zenoh's threads live; they do not come along through os.fork().
_home: int | None = None


class ZenohBackend:
    """Backend for the variant `Zenoh`."""

    # 60,000 bytes fit one zenoh batch: what is larger travels in fragments and is lost more easily.
    features: ClassVar[Features] = Features(
        proof="peers", frame=60_000, max_frame=60_000, max_message=MAX_MESSAGE - 65_536
    )
    Config: ClassVar[type[Zenoh]] = Zenoh

    def __init__(self, config: Zenoh, context: Context) -> None:
        _refuse_fork()
        self._context = context
        self._text = config.config.reveal()
        self._local = config.local
        session_config(self._text, ("unixsock-stream/-", []) if self._local else None)

    async def connect(self) -> ZenohLink:
        """Open a session. The thread that does it cannot be stopped: given up, it closes what it opened."""
        _refuse_fork()
        made: list[ZenohLink] = []
        given_up = threading.Event()

        def work() -> None:
            made.append(self._open())
            if given_up.is_set():
                made[0].abort()

        try:
            # A limiter of its own: the common one may be full of the user's blocking calls.
            await anyio.to_thread.run_sync(
                work, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
        except BaseException:
            given_up.set()
            for link in made:
                link.abort()
            raise
        return made[0]

    def classify(self, exc: BaseException) -> Fault | None:
        """zenoh has one exception with a text; a client is not told why the router refused it."""
        if isinstance(exc, ConfigError | Forked):
            return Fault.CONFIG
        return Fault.UNREACHABLE if isinstance(exc, LinkError | OSError) else None

    def _open(self) -> ZenohLink:
        global _home
        import zenoh

        _home = os.getpid()
        place = Place(self._context.channel) if self._local else None
        session = None
        try:
            config = session_config(self._text, place and (place.endpoint, place.others))
            session = zenoh.open(config)
            return ZenohLink(session, self._context, place, mode(config) == "client")
        except BaseException as error:
            if place is not None:
                place.leave()
            if session is not None:
                session.close()
            if isinstance(error, zenoh.ZError):
                raise LinkError(f"zenoh: {said(error)}") from None
            raise


def _refuse_fork() -> None:
    if _home not in (None, os.getpid()):
        raise Forked(
            "zenoh was used before os.fork() and would hang in this child: start processes with "
            "multiprocessing's spawn or forkserver, or with subprocess"
        )
