"""The other side: what one would write without the bus. The best obvious way, not a straw man.

Memory: an `asyncio.Queue` for each subscriber; the publisher calls `put_nowait` for each event, the
subscriber awaits `get` for each. The events themselves cross over: nothing is encoded and nothing can be
lost. A callback is a call of a function: that row has the queue as its opponent, too.

Where there is a client library: `Sender` and `Receiver`, around what `clients` and `raw_zenoh` hand them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from bus.bench.load import Counter, Ends, together
from bus.bench.work import BURST, SLOW_EVENTS, CacheInvalidated, Sized, event_of, event_type

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from bus.bench.load import Tally
    from bus.bench.window import Window
    from bus.bench.work import Work

Send = Callable[[bytes], Awaitable[object]]
SendBurst = Callable[[list[bytes]], Awaitable[object]]


class Queue:
    """Both ends of an `asyncio.Queue` for each subscriber."""

    patience: float = 60.0

    def __init__(self) -> None:
        self._queues = [asyncio.Queue[CacheInvalidated | Sized]()]

    async def bulk(self, work: Work, window: Window) -> None:
        """One by one, a burst in each turn of the loop."""
        puts = [queue.put_nowait for queue in self._queues]
        event = event_of(work.size)
        since = 0
        for first in range(0, work.count, work.burst):
            last = min(first + work.burst, work.count)
            for account in range(first, last):
                one = event(account)
                for put in puts:
                    put(one)
            if (since := since + work.burst) >= BURST:
                since = 0
                await window.room(last, work.window)
            await asyncio.sleep(0)

    def publish(self, event: CacheInvalidated | Sized) -> None:
        """One event."""
        for queue in self._queues:
            queue.put_nowait(event)

    def listen(self, tally: Tally, work: Work) -> Coroutine[object, object, None]:
        """A queue has one way to take events, and each subscriber needs one of his own."""
        tallies = tally.copies(work.subscribers)
        self._queues = [asyncio.Queue[CacheInvalidated | Sized]() for _ in tallies]
        receives = [_from(queue, one, work) for queue, one in zip(self._queues, tallies, strict=True)]
        return receives[0] if len(receives) == 1 else together(tallies, receives)

    def settle(self) -> None:
        """Its readers have counted all that came."""


async def _from(queue: asyncio.Queue[CacheInvalidated | Sized], tally: Tally, work: Work) -> None:
    get = queue.get
    counter = Counter(tally, work.is_timed)
    got = counter.got
    while not counter.over.is_set():
        # As many as are surely still to come: the question above is not asked for each.
        for _ in range(1 if work.is_timed else max(1, min(SLOW_EVENTS, tally.left))):
            got(await get())
        counter.settle()
        if work.pause:
            await asyncio.sleep(work.pause)


class Sender:
    """Sends each event by itself; a burst by `send_burst`, where the library has something for it."""

    def __init__(self, send: Send, send_burst: SendBurst | None = None) -> None:
        self._send = send
        self._send_burst = send_burst or self._one_by_one
        self._encode = msgspec.msgpack.Encoder().encode
        self._paced: asyncio.Queue[CacheInvalidated | Sized] = asyncio.Queue()
        # Paced events come from a timer's callback, which cannot wait.
        self._pump = asyncio.create_task(self._send_paced())

    async def bulk(self, work: Work, window: Window) -> None:
        """A burst in each turn of the loop."""
        send, encode, event = self._send_burst, self._encode, event_of(work.size)
        since = 0
        for first in range(0, work.count, work.burst):
            last = min(first + work.burst, work.count)
            await send([encode(event(account)) for account in range(first, last)])
            if (since := since + work.burst) >= BURST:
                since = 0
                await window.room(last, work.window)
            await asyncio.sleep(0)

    async def _one_by_one(self, payloads: list[bytes]) -> None:
        send = self._send
        for payload in payloads:
            await send(payload)

    def publish(self, event: CacheInvalidated | Sized) -> None:
        """One event, for the task that sends."""
        self._paced.put_nowait(event)

    async def close(self) -> None:
        """End the task."""
        self._pump.cancel()
        with suppress(asyncio.CancelledError):
            await self._pump

    async def _send_paced(self) -> None:
        while True:
            await self._send(self._encode(await self._paced.get()))


class Receiver:
    """Takes each event by itself, and hands it to the subscribers of the process where there are several.

    To callbacks by a call, to others by a queue for each.
    """

    # What is dropped nobody tells: when it stays silent for so long, the rest is lost.
    patience: float = 2.0

    def __init__(self) -> None:
        self._counter: Counter | None = None
        self._got: Callable[[CacheInvalidated | Sized], object] | None = None
        self._decode: Callable[[bytes], CacheInvalidated | Sized] = _decoder(0)
        # Of a slow consumer: who reads awaits `rest` after each event.
        self.pause: float = 0.0
        self._since = 0

    def listen(self, tally: Tally, work: Work) -> Coroutine[object, object, None]:
        """Count from now on."""
        self._decode = _decoder(work.size)
        self.pause, self._since = work.pause, 0
        if not work.fan:
            self._counter = Counter(tally, work.is_timed)
            self._got = self._counter.got
            return self._wait(self._counter)
        tallies = tally.copies(work.subscribers)
        takers: list[Callable[[CacheInvalidated | Sized], object]]
        if work.delivery == "callback":
            counters = [Counter(one, work.is_timed) for one in tallies]
            takers = [counter.got for counter in counters]
            receives = [self._wait(counter) for counter in counters]
        else:
            queues = [asyncio.Queue[CacheInvalidated | Sized]() for _ in tallies]
            takers = [queue.put_nowait for queue in queues]
            receives = [_from(queue, one, work) for queue, one in zip(queues, tallies, strict=True)]

        def spread(event: CacheInvalidated | Sized) -> None:
            for take in takers:
                take(event)

        self._got = spread
        return together(tallies, receives)

    def settle(self) -> None:
        """Add what was counted since the last time."""
        if self._counter is not None:
            self._counter.settle()

    def take(self, payload: bytes) -> None:
        """One event has come."""
        if self._got is not None:
            self._got(self._decode(payload))

    async def rest(self) -> None:
        """One event more for a slow consumer: sleep now and then."""
        self._since += 1
        if self._since == SLOW_EVENTS:
            self._since = 0
            await asyncio.sleep(self.pause)

    async def _wait(self, counter: Counter) -> None:
        await counter.over.wait()


def _decoder(size: int) -> Callable[[bytes], CacheInvalidated | Sized]:
    return msgspec.msgpack.Decoder(event_type(size)).decode


@asynccontextmanager
async def open_memory() -> AsyncGenerator[Ends]:
    """Both ends of one queue."""
    queue = Queue()
    yield Ends(queue, queue)


@asynccontextmanager
async def sending(send: Send, send_burst: SendBurst | None = None) -> AsyncGenerator[Sender]:
    """The sending end, for as long as its client is open."""
    sender = Sender(send, send_burst)
    try:
        yield sender
    finally:
        await sender.close()
