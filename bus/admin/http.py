"""HTTP/1.1 in the loop of the bus, by uvicorn's protocol; what its own server does for processes is left out.

No signal handlers, no logging set up, no `sys.exit`, and limits that uvicorn does not have: a request must be
there within 10 s, a client that does not read its answer is dropped, the 65th connection is refused at once,
and a stop takes less than a second whatever the clients do.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio

if TYPE_CHECKING:
    import socket
    import ssl

    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_CONNECTIONS = 64
MAX_HEADERS = 16_384
WHOLE_REQUEST = 10.0
IDLE = 30
UNREAD = 30.0
LINGER = 1.0
HANDSHAKE = 10.0
GRACE = 0.5

# uvicorn warns about every malformed request: whoever can connect could fill the log.
_log = logging.getLogger("bus.admin.http")
_log.setLevel(logging.ERROR)


class _State(Protocol):
    """What all connections share: uvicorn's ServerState."""

    connections: set[Any]
    tasks: set[asyncio.Task[None]]


class HttpServer:
    """Serves `app` on a listening socket, from `start` to `stop`."""

    def __init__(self, app: ASGIApp, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._app = _http_1(app)
        self._listener = listener
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._state: _State | None = None

    async def start(self) -> None:
        """Accept connections from now on."""
        make, self._state = _protocol(self._app)
        tls: dict[str, Any] = {}
        if self._tls is not None:
            # The second one is for clients that never answer our goodbye.
            tls = {"ssl_handshake_timeout": HANDSHAKE, "ssl_shutdown_timeout": GRACE}
        self._server = await asyncio.get_running_loop().create_server(
            make, sock=self._listener, ssl=self._tls, backlog=MAX_CONNECTIONS, **tls
        )

    async def stop(self) -> None:
        """Finish what can be finished in half a second, and drop the rest."""
        if self._server is None or self._state is None:
            return
        self._server.close()
        state = self._state
        for connection in list(state.connections):
            connection.hang_up()
        with anyio.move_on_after(GRACE):
            while state.connections or state.tasks:  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.01)
        # Now every task finds its client gone; none is cancelled, since one may be storing something.
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=GRACE)
        with suppress(Exception), anyio.move_on_after(GRACE):
            await self._server.wait_closed()


def _http_1(app: ASGIApp) -> ASGIApp:
    """What h11 leaves to us of RFC 9112: other versions (2.3), and `GET http://host/path` (3.2.2)."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["http_version"] not in ("1.0", "1.1"):
            await send({"type": "http.response.start", "status": 505, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            return
        if "://" in scope["path"] and not scope["path"].startswith("/"):
            path = "/" + scope["path"].partition("://")[2].partition("/")[2]
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    return run


def _protocol(app: ASGIApp) -> tuple[Any, _State]:
    """(the protocol factory, what its connections share)."""
    import h11
    from uvicorn import Config
    from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
    from uvicorn.server import ServerState

    # Not `access_log=False`: that would silence an application that runs uvicorn in this process, too.
    config = Config(
        app, http=H11Protocol, ws="none", lifespan="off", log_config=None, proxy_headers=False,
        server_header=False, date_header=False, interface="asgi3",
        timeout_keep_alive=IDLE, h11_max_incomplete_event_size=MAX_HEADERS,
    )  # fmt: skip
    config.load()
    state = ServerState()

    class Connection(H11Protocol):
        """One connection, with deadlines."""

        def __init__(self) -> None:
            super().__init__(config, state, {}, asyncio.get_running_loop())
            self.logger = _log
            self.access_log = False
            self._deadline: asyncio.TimerHandle | None = None
            self._unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > MAX_CONNECTIONS:
                self._refuse(b"503 Service Unavailable")
            else:
                self._expect()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            if self._unread is not None:
                self._unread.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            if self._deadline is None and self._is_between():
                self._expect()
            super().data_received(data)
            if not self._is_between() and not self.cycle.more_body:
                self._cancel()

        def on_response_complete(self) -> None:
            self._cancel()
            answered = self.cycle
            super().on_response_complete()
            if self.transport.is_closing() or not self.cycle.more_body:
                return
            if self.cycle is answered:
                # Refused before it was whole: closed at once, the answer would be lost with the rest.
                self._deadline = self.loop.call_later(LINGER, self.transport.close)
            else:
                self._expect()  # the next one, which had begun to come

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(UNREAD, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def send_400_response(self, msg: str) -> None:
            cycle = self._cycle()
            if cycle is not None and not cycle.response_complete:
                # In the middle of a request: what its application says now comes too late.
                cycle.disconnected = True
                cycle.message_event.set()
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                super().send_400_response(msg)
            else:
                self.transport.close()

        def hang_up(self) -> None:
            """Take no further request; one that is not there yet does not come any more."""
            self._cancel()
            self.shutdown()
            if not self._is_between() and self.cycle.more_body:
                self.transport.abort()

        def _cycle(self) -> RequestResponseCycle | None:
            """The request that came last; uvicorn says nothing of None."""
            return self.cycle

        def _is_between(self) -> bool:
            """No request is being answered."""
            cycle = self._cycle()
            return cycle is None or cycle.response_complete

        def _expect(self) -> None:
            self._deadline = self.loop.call_later(WHOLE_REQUEST, self._refuse, b"408 Request Timeout")

        def _cancel(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _refuse(self, status: bytes) -> None:
            """Answer if nobody else has begun to, and close."""
            if not self.transport.is_closing():
                cycle = self._cycle()
                if cycle is None or not cycle.response_started or cycle.response_complete:
                    self.transport.write(
                        b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    )
                self.transport.close()

    return Connection, cast("_State", state)
