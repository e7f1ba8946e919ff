"""One connection to one broker: requests out, replies in, by the codecs of aiokafka.

Its producer and consumer connect, retry, seek and forget by themselves (T3, T12 to T15, T25), and wake five
tasks for one frame. Here a reply is handed on where its bytes come in, and whoever asked decides.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from bus.errors import LinkError

if TYPE_CHECKING:
    import ssl

# Bytes that a broker may make us keep, whatever it announces.
LARGEST = 64 << 20
# aiokafka has no types: a request, not yet in a version, and a decoded reply.
Request: TypeAlias = Any
Reply: TypeAlias = Any


@cache
def codecs() -> Any:
    """aiokafka, of which we take requests, replies, records, and the client's half of SCRAM."""
    return import_module("aiokafka")


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NotKafka(LinkError):
    """What came is no reply; `head` is how it begins."""

    def __init__(self, address: Address, head: bytes) -> None:
        super().__init__(f"{address} does not speak the protocol of Kafka: it said {head!r}")
        self.head = head


class _Asked(NamedTuple):
    since: float
    correlation: int
    request: Any  # in the version that the broker speaks
    take: Callable[[Reply], object]


class Wire(asyncio.BufferedProtocol):
    """Replies come in the order of the requests."""

    def __init__(self, address: Address, client: str) -> None:
        self.address = address
        # What ended it; `over` is done then.
        self.error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._versions: dict[int, tuple[int, int]] = {}
        self._asked: deque[_Asked] = deque()
        self._correlation = 0
        self._head = memoryview(bytearray(4))
        self._body: memoryview | None = None
        self._filled = 0

    async def open(self, tls: ssl.SSLContext | None, hostname: str | None = None) -> None:
        """Connect, and learn what the broker speaks. The caller aborts it when this raises."""
        name = (hostname or self.address.host) if tls else None
        await self._loop.create_connection(lambda: self, *self.address, ssl=tls, server_hostname=name)
        reply = await self.ask(codecs().protocol.admin.ApiVersionRequest())
        self._versions = {api: (lowest, highest) for api, lowest, highest in reply.api_versions}

    def post(self, request: Request, take: Callable[[Reply], object]) -> None:
        """Write a request; `take` gets its reply, and ends the wire when it raises. Raises what ended it."""
        if self.error is not None:
            raise self.error
        assert self._transport is not None, "not open"
        prepared = request.prepare(self._versions)
        self._correlation = (self._correlation + 1) & 0x7FFF_FFFF
        head = prepared.build_request_header(self._correlation, self._client).encode()
        body = prepared.encode()
        self._transport.write(b"".join(((len(head) + len(body)).to_bytes(4, "big"), head, body)))
        self._asked.append(_Asked(self._loop.time(), self._correlation, prepared, take))

    async def ask(self, request: Request) -> Reply:
        """The reply. Raises what ended the wire."""
        answer: asyncio.Future[Reply] = self._loop.create_future()

        def take(reply: Reply) -> None:
            if not answer.done():  # cancelled
                answer.set_result(reply)

        self.post(request, take)
        either: set[asyncio.Future[Any]] = {answer, self.over}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            assert self.error is not None
            raise self.error
        return answer.result()

    def silence(self) -> float:
        """Seconds since the oldest request that has no reply yet."""
        return self._loop.time() - self._asked[0].since if self._asked else 0.0

    def abort(self, error: Exception | None = None) -> None:
        """Drop the socket now; idempotent."""
        if self.error is None:
            self.error = error or LinkError(f"the connection to {self.address} was dropped")
            self._asked.clear()
            with suppress(RuntimeError):  # the loop is closed
                if self._transport is not None:
                    self._transport.abort()
                self.over.set_result(None)

    # -- called by the transport -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There it is."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return (self._head if self._body is None else self._body)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """They are there."""
        self._filled += nbytes
        if self._body is not None:
            if self._filled == len(self._body):
                body, self._body, self._filled = self._body, None, 0
                self._answer(body)
        elif self._filled == len(self._head):
            size = int.from_bytes(self._head, "big")
            if 4 <= size <= LARGEST:
                self._body, self._filled = memoryview(bytearray(size)), 0
            else:
                self.abort(NotKafka(self.address, bytes(self._head)))

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        error = LinkError(f"{self.address} closed the connection{f' ({exc})' if exc else ''}")
        error.__cause__ = exc
        self.abort(error)

    def _answer(self, body: memoryview) -> None:
        try:
            asked = self._asked.popleft()
            stream = BytesIO(body)
            if asked.request.parse_response_header(stream).correlation_id != asked.correlation:
                raise ValueError("a reply to something else")
            reply = asked.request.RESPONSE_TYPE.decode(stream)
        except Exception:  # noqa: BLE001  # whatever the codecs raise for bytes that are no reply
            self.abort(NotKafka(self.address, bytes(body[:8])))
            return
        try:
            asked.take(reply)
        except Exception as error:  # noqa: BLE001  # the event loop would only log it
            self.abort(error)
