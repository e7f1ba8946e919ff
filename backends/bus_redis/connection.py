"""One connection to one server, read by `hiredis.Reader`.

There is no client library around it. Those for Redis take a dead connection for a quiet one (T4, T5) and
make a new one in silence (T6); and a bus that needs one version of redis-py keeps away programs that need
another.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from bus.errors import LinkError
from bus_redis.faults import Refusal, explain

if TYPE_CHECKING:
    from bus.config import Uri
    from bus_redis.access import Access

PENDING = object()
# Milliseconds after which the system gives up a connection whose data nobody acknowledges.
USER_TIMEOUT = 5000
# Bytes of one read. A node hears all that it publishes: no fresh object for each read of an own frame.
BUFFER = 1 << 17


class Address(NamedTuple):
    """Where a server listens; with port 0 `host` is the path of a unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else self.host


def parse(uri: Uri, port: int) -> tuple[Address, dict[str, str]]:
    """Address and options of a URI that the configuration has checked; `port` is the default."""
    url = urlsplit(uri.reveal())
    options = dict(parse_qsl(url.query))
    for name, value in ("username", url.username), ("password", url.password):
        if value:
            options[name] = unquote(value)
    if url.scheme == "unix":
        return Address(unquote(url.path), 0), options
    options.setdefault("db", url.path.strip("/") or "0")
    return Address(url.hostname or "", url.port or port), options


def command(*words: bytes, more: int = 0) -> bytes:
    """A command as the protocol writes it; or its beginning, when so many words more are to come."""
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n%b" % (len(words) + more, parts)


class Wire(asyncio.BufferedProtocol):
    """One connection: each reply goes to `take`, its end to `on_end`."""

    def __init__(self, access: Access, address: Address) -> None:
        import hiredis

        self.take: Callable[[object], None] = self._answer
        self.on_end: Callable[[Exception], None] | None = None
        self.error: Exception | None = None
        # Connected, and the server has not said a word.
        self.is_silent: bool = False
        self._access = access
        self._address = address
        self._asked: deque[asyncio.Future[object]] = deque()
        self._transport: asyncio.Transport | None = None
        reader = hiredis.Reader(replyError=Refusal, notEnoughData=PENDING)
        self._feed = cast("Callable[[memoryview, int, int], None]", reader.feed)
        self._gets = reader.gets
        # asyncio's TLS reads into slices of it: one of a bytearray is a copy, and what was read is lost.
        self._buffer = memoryview(bytearray(BUFFER))

    async def ask(self, *words: str) -> object:
        """The reply to one command; raises the server's error, or what ended the connection."""
        if self.error is not None:
            raise self.error
        future = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        self.write(command(*(word.encode() for word in words)))
        reply = await future
        if isinstance(reply, Exception):
            raise explain(reply, self._access, self._address) from None
        return reply

    def fail(self, error: Exception) -> None:
        """It is over, for this reason; the first one counts."""
        if self.error is None:
            self.error = explain(error, self._access, self._address)
            while self._asked:
                self._answer(self.error)
            if self.on_end is not None:
                self.on_end(self.error)
        if self._transport is not None:
            self._transport.abort()

    def abort(self) -> None:
        """We do not want it any more."""
        self.fail(LinkError(f"the connection to {self._address} was given up"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_silent = True
        self.write: Callable[[bytes], None] = self._transport.write
        if self.error is not None:  # given up meanwhile
            self._transport.abort()
        elif self._address.port:
            own = cast("socket.socket", transport.get_extra_info("socket"))
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """They are there."""
        self.is_silent = False
        self._feed(self._buffer, 0, nbytes)
        try:
            while (reply := self._gets()) is not PENDING:
                self.take(reply)
        except Exception as error:  # noqa: BLE001  # the reader's, for bytes that make no sense
            field = self._access.url_field
            self.fail(LinkError(f"{self._address} ({field}) does not speak the protocol of Redis: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self.fail(exc or EOFError())

    def _answer(self, reply: object) -> None:
        if not self._asked:
            # Unasked, as that the server has too many clients.
            self.fail(reply if isinstance(reply, Exception) else LinkError(f"unexpected: {reply!r}"))
        elif not (future := self._asked.popleft()).done():
            future.set_result(reply)
