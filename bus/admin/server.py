"""The admin server of one node, in its event loop.

    async with Bus.open(...) as bus, AdminServer(bus, state_dir="/var/lib/bus") as admin:
        print(admin.url)

What is stored in the state directory is what the bus runs on: an object that was changed before the last
stop is switched to at the start. `stored(state_dir)` says what that is, to open the bus with it at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from bus import config, registry
from bus.admin import app, listen as listening
from bus.admin.audit import Audit
from bus.admin.coordinator import CoordinatorObject
from bus.admin.cutover import Cutover
from bus.admin.gate import FAILURES_PER_MINUTE, Gate
from bus.admin.http import HttpServer
from bus.admin.jmap.errors import MethodError
from bus.admin.jmap.methods import ECHO
from bus.admin.measures import Measures
from bus.admin.node import LiveNode, Node
from bus.admin.page import Assets, Page
from bus.admin.schema import Schema
from bus.admin.secret_policy import SecretPolicy
from bus.admin.store import Store
from bus.admin.throttle import Buckets
from bus.admin.tokens import Tokens
from bus.bus import Bus
from bus.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from bus.admin.listen import Tls
    from bus.config import Coordinator

log: logging.Logger = logging.getLogger("bus.admin")

LOOK = 1.0


def state_directory(given: str | os.PathLike[str] | None = None) -> Path:
    """The given one, else BUS_STATE_DIR, else the user's own."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(given or os.environ.get("BUS_STATE_DIR") or f"{home}/bus").expanduser().absolute()


def variants() -> tuple[type[Coordinator], ...]:
    """All that "@type" may name."""
    return (*config.VARIANTS, *registry.third_party_variants())


def stored(state_dir: str | os.PathLike[str] | None = None) -> Coordinator | None:
    """What a node with this state directory runs on; None if nothing was ever stored there.

    Disabled if the file cannot be read: nobody knows what it said, so the node must not guess. When it died
    in the middle of a change: what it ran on before; the server then moves it on, or stays. Blocks. Raises
    ConfigError when the directory cannot be used.
    """
    store = Store(state_directory(state_dir), variants())
    store.open()
    try:
        return store.opening()
    finally:
        store.close()


class AdminServer:
    """JMAP over HTTP for one node. An async context manager; asyncio only."""

    def __init__(
        self,
        bus: Bus | Node,
        *,
        state_dir: str | os.PathLike[str] | None = None,
        listen: str = "127.0.0.1:8080",
        tls: Tls | None = None,
        insecure_http: bool = False,
        token_file: str | os.PathLike[str] | None = None,
        hosts: Iterable[str] = (),
        store: object = None,
        managed: Literal["admin", "file"] = "admin",
        secrets: SecretPolicy | None = None,
    ) -> None:
        """`state_dir`: object, tokens, audit trail; default BUS_STATE_DIR, else ~/.local/state/bus.

        `listen`: "host:port", port 0 takes a free one; beyond loopback only with `tls`, or with
        `insecure_http`. `token_file`: the administrator's token, made if missing; default
        BUS_ADMIN_TOKEN_FILE. `hosts`: names by which clients call this server, besides its own and
        addresses. `store`: what the variant Default means, as in `Bus.open`. `managed="file"`: the
        object is shown, and changed in the node's configuration only; what was stored is not used.
        `secrets`: what a secret may name when it is set over the network. Raises ConfigError.
        """
        self._node: Node = LiveNode(bus, store) if isinstance(bus, Bus) else bus
        self._bus = bus if isinstance(bus, Bus) else None
        self._folder = state_directory(state_dir)
        given = token_file or os.environ.get("BUS_ADMIN_TOKEN_FILE")
        self._tokens = Tokens(self._folder, Path(given) if given else None)
        self._tls = tls
        self._place = listening.place(listen)
        listening.refuse_open_network(self._place, tls, insecure=insecure_http)
        self._hosts = tuple(hosts)
        self._managed = managed
        policy = secrets or SecretPolicy()
        self._policy = policy._replace(directories=(*policy.directories, str(self._folder / "secrets")))
        self._is_open = False

    @property
    def url(self) -> str:
        """Where it can be reached from this machine."""
        host, port = self._address
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls is not None else 'http'}://{shown}:{port}"

    async def __aenter__(self) -> AdminServer:
        _need_asyncio()
        kinds = await asyncio.to_thread(self._prepare)
        is_managed = self._managed == "file"
        audit = Audit(self._folder)
        self._measures = Measures(self._store, audit)
        cutover = Cutover(self._node, self._store, audit, self._policy, follows=not is_managed)
        self._cutover = cutover
        self._closing = asyncio.Event()
        self._look = asyncio.Event()
        try:
            self._context = await asyncio.to_thread(self._tls.context) if self._tls is not None else None
            await cutover.start()
            listener = await listening.bind(self._place)
            self._address: tuple[str, int] = listener.getsockname()[:2]
            try:
                # Without the limits on connections; for tests, and for who has a server already.
                self.app: ASGIApp = self._build(kinds)
                self._http = HttpServer(self.app, listener, self._context)
                await self._http.start()
            except BaseException:
                listener.close()
                raise
        except BaseException:
            self._store.close()
            raise
        self._is_open = True
        self._follower = asyncio.create_task(self._follow(), name="bus.admin.follow")
        log.info("the admin server of %s listens on %s", self._node.name, self.url)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def reload(self) -> None:
        """Look at certificate, tokens and the stored object now; for SIGHUP. Raises ConfigError."""
        await asyncio.to_thread(self._tokens.refresh)
        self._look.set()
        if self._tls is not None and self._context is not None:
            # In the same context: it is used for all connections from now on.
            await asyncio.to_thread(self._tls.load, self._context)

    async def aclose(self) -> None:
        """End within about a second; idempotent. The bus goes on."""
        if not self._is_open:
            return
        self._is_open = False
        self._closing.set()
        self._cutover.changed.set()
        self._page.wake()
        self._look.set()
        closing = asyncio.ensure_future(self._cutover.close())
        await self._http.stop()
        # Nobody is cancelled: a thread that is storing something would go on without the lock.
        await asyncio.wait({closing, self._follower})
        self._store.close()

    def _prepare(self) -> Sequence[type[Coordinator]]:
        """What blocks: files, and the metadata of plug-ins."""
        kinds = variants()
        self._assets = Assets()
        self._store = Store(self._folder, kinds)
        self._store.open()
        try:
            self._tokens.open()
        except BaseException:
            self._store.close()
            raise
        if self._store.broken:
            log.error("the node runs Disabled: %s", self._store.broken)
        return kinds

    def _build(self, kinds: Sequence[type[Coordinator]]) -> ASGIApp:
        failures = Buckets(FAILURES_PER_MINUTE, FAILURES_PER_MINUTE / 60, time.monotonic)
        methods = CoordinatorObject(self._cutover, self._store, kinds, self._managed).methods()
        gate = Gate(self._tokens, failures, (self._address[0], *self._hosts))
        identity = f"{socket.gethostname()} {self._folder}"
        self._page = Page(self._assets, gate, self._tokens, self._bus, self._store, identity, self._closing)
        return app.build(
            app.Parts(
                gate,
                self._cutover,
                {"Core/echo": ECHO, **methods},
                Schema(kinds),
                self._closing,
                self._managed == "file",
                self.url.partition("://")[2],
                self._page,
                self._measures,
                self._bus,
            )
        )

    async def _follow(self) -> None:
        """Once a second, and at once when asked to: what changed in the state directory?"""
        while not self._closing.is_set():
            try:
                await asyncio.to_thread(self._tokens.refresh)
                await self._cutover.follow()
            except MethodError:  # another change is under way: look again
                log.debug("the state directory is looked at later")
            except Exception:  # ours: the next look may go well
                log.exception("the state directory could not be looked at")
            await listening.sleep_or(self._look, LOOK)


def _need_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigError("the admin server needs asyncio (uvicorn does); you are running trio") from None
    try:
        import starlette
        import uvicorn
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the admin server needs {error.name}: pip install 'coordinator-bus[admin]'"
        ) from None
    del starlette, uvicorn
