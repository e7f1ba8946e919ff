"""The limit: our frames and our codec over plain asyncio TCP, without numbering, repair, inbox or server.

Events are encoded one by one, joined to a frame at the end of the turn of the loop, checked by their
checksum, decoded by one call, and read as batches: what the bus adds to that is what it costs.
"""

from __future__ import annotations

import asyncio
import struct
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bus.bench.load import Ends
from bus.bench.work import BURST, CacheInvalidated, Sized, event_of, event_type
from bus.event import EventTypes
from bus.protocol.frame import check, events_of, pack_events, parse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from bus.bench.load import Tally
    from bus.bench.window import Window
    from bus.bench.work import Work

CONNECT = 20.0
EPOCH = 1
FRAME = 65_536
LENGTH = struct.Struct("<I")


class TcpPublisher(asyncio.Protocol):
    """Joins the events of one turn of the loop, at most 64 KiB, and writes them."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._free = asyncio.Event()
        self._free.set()
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._seq = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The subscriber is there."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def pause_writing(self) -> None:
        """The socket is full."""
        self._free.clear()

    def resume_writing(self) -> None:
        """No longer."""
        self._free.set()

    def publish(self, event: CacheInvalidated | Sized) -> None:
        """One event, sent at the end of this turn."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        body = self._encode(event)
        self._waiting.append(body)
        self._bytes += len(body)
        if self._bytes >= FRAME:
            self._flush()

    async def bulk(self, work: Work, window: Window) -> None:
        """As fast as the socket takes it."""
        publish, event = self.publish, event_of(work.size)
        since = 0
        for first in range(0, work.count, work.burst):
            last = min(first + work.burst, work.count)
            for account in range(first, last):
                publish(event(account))
            if (since := since + work.burst) >= BURST:
                since = 0
                await window.room(last, work.window)
                await self._free.wait()
            await asyncio.sleep(0)

    def _flush(self) -> None:
        events, self._waiting, self._bytes = self._waiting, [], 0
        if events and self._transport is not None:
            frame = pack_events(EPOCH, self._seq, self._seq, events)
            self._seq += len(events)
            self._transport.writelines((LENGTH.pack(len(frame)), frame))


class TcpSubscriber(asyncio.Protocol):
    """Cuts the stream into frames, decodes them, and wakes one reader for each burst."""

    patience: float = 5.0

    def __init__(self, size: int) -> None:
        self._types = EventTypes()
        self._types.add((event_type(size),))
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._batches: list[list[CacheInvalidated | Sized]] = []
        self._woken: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Some bytes."""
        buffer, at = (self._rest + data if self._rest else data), 0
        view = memoryview(buffer)
        while at + LENGTH.size <= len(buffer):
            end = at + LENGTH.size + LENGTH.unpack_from(buffer, at)[0]
            if end > len(buffer):
                break
            self._take(bytes(view[at + LENGTH.size : end]))
            at = end
        self._rest = bytes(view[at:])

    def _take(self, frame: bytes) -> None:
        header = parse(frame)
        check(frame, header)
        events = self._types.decode(events_of(frame, header))
        assert events is not None
        self._batches.append(events)  # type: ignore[arg-type]  # one type is known: the one of this run
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def settle(self) -> None:
        """The reader has counted all that came."""

    async def listen_to(self, tally: Tally, work: Work) -> None:
        """Count until the tally is complete."""
        while not tally.is_complete:
            if not self._batches:
                self._woken = self._loop.create_future()
                await self._woken
                self._woken = None
            batches, self._batches = self._batches, []
            for events in batches:
                if work.is_timed:
                    for event in events:
                        tally.time(event.account)
                        tally.add(1, event.account)
                else:
                    count = checksum = 0
                    for event in events:
                        count += 1
                        checksum += event.account
                    tally.add(count, checksum)

    def listen(self, tally: Tally, work: Work) -> Coroutine[object, object, None]:
        """Count from now on."""
        return self.listen_to(tally, work)


@asynccontextmanager
async def open_tcp(role: str, directory: str, size: int) -> AsyncGenerator[Ends]:
    """The subscriber listens and writes its port to a file; the publisher connects."""
    loop = asyncio.get_running_loop()
    place = Path(directory, "tcp.port")
    if role == "subscriber":
        subscriber = TcpSubscriber(size)
        server = await loop.create_server(lambda: subscriber, "127.0.0.1", 0)
        async with server:
            # Written aside and moved: the publisher must not read half of it.
            place.with_suffix(".new").write_text(str(server.sockets[0].getsockname()[1]))
            place.with_suffix(".new").rename(place)
            yield Ends(subscriber=subscriber)
        return
    port = await asyncio.to_thread(_port, place)
    transport, publisher = await loop.create_connection(TcpPublisher, "127.0.0.1", port)
    try:
        yield Ends(publisher=publisher)
    finally:
        transport.close()


def _port(place: Path) -> int:
    """Where the subscriber listens. Raises TimeoutError."""
    deadline = time.monotonic() + CONNECT
    while not place.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the TCP subscriber did not listen within {CONNECT:g} s")
        time.sleep(0.02)
    return int(place.read_text())
