"""The Zenoh backend: peer to peer without a server, or through zenoh routers. See README.md.

`zenoh://` without a host (`local`) joins the processes of one user on one machine by unix sockets.
zenoh neither confirms a frame nor tells what it dropped: only a peer that lists us proves the
link, and the core repairs the rest.
"""

from __future__ import annotations

import os
import re
import threading
from typing import ClassVar

from bus.backend import Context, Fault, Features
from bus.config import Zenoh
from bus.errors import ConfigError, Forked, LinkError
from bus_zenoh.link import ZenohLink, in_thread
from bus_zenoh.neighbours import Place
from bus_zenoh.settings import mode, said, session_config

# What `open` says of a configuration that can never work.
_NEVER = re.compile(r"No peer specified|not supported|invalid port|From config|TLS|certificate")
# The process in which zenoh's threads live; they do not come along through os.fork().
_home: int | None = None


class ZenohBackend:
    """Backend for the variant `Zenoh`."""

    # 60,000 bytes fit one zenoh batch: what is larger goes in fragments and is lost more easily.
    features: ClassVar[Features] = Features(
        proof="peers", frame=60_000, max_frame=60_000, max_message=4 << 20
    )
    Config: ClassVar[type[Zenoh]] = Zenoh

    def __init__(self, config: Zenoh, context: Context) -> None:
        """Raises ConfigError, and Forked in the child of a process that used zenoh."""
        _refuse_fork()
        self._context = context
        self._text = config.config.reveal()
        self._is_local = config.local
        session_config(self._text, _endpoints(None) if self._is_local else None)

    async def connect(self) -> ZenohLink:
        """Open a session; the thread that does it cannot be stopped: given up, it closes again."""
        _refuse_fork()
        made: list[ZenohLink] = []
        given_up = threading.Event()

        def work() -> None:
            made.append(self._open())
            if given_up.is_set():
                made[0].abort()

        try:
            await in_thread(work)
        except BaseException:
            given_up.set()
            for link in made:
                link.abort()
            raise
        return made[0]

    def classify(self, exc: BaseException) -> Fault | None:
        """A client is not told why it was refused: wrong credentials are UNREACHABLE, too."""
        import zenoh

        if isinstance(exc, ConfigError | Forked):
            return Fault.CONFIG
        return Fault.UNREACHABLE if isinstance(exc, LinkError | OSError | zenoh.ZError) else None

    def _open(self) -> ZenohLink:
        global _home
        import zenoh

        _home = os.getpid()
        place = Place(self._context.channel) if self._is_local else None
        session = None
        try:
            config = session_config(self._text, _endpoints(place) if place else None)
            session = zenoh.open(config)
            return ZenohLink(session, self._context, place, mode(config) == "client")
        except BaseException as error:
            if place is not None:
                place.leave()
            if session is not None:
                session.close()  # type: ignore[no-untyped-call]  # so in zenoh's stubs
            if not isinstance(error, zenoh.ZError):
                raise
            text = f"zenoh: {said(error)}"
            raise (ConfigError if _NEVER.search(text) else LinkError)(text) from None


def _endpoints(place: Place | None) -> dict[str, object]:
    return {
        "listen/endpoints": [place.endpoint] if place else [],
        "connect/endpoints": place.others if place else [],
    }


def _refuse_fork() -> None:
    if _home not in (None, os.getpid()):
        raise Forked(
            "zenoh was used before os.fork() and would hang in this child: start processes with "
            "subprocess, or with multiprocessing's spawn or forkserver"
        )
