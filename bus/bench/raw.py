"""The other side: what one would write without the bus. The best obvious way, not a straw man.

Memory: an `asyncio.Queue`; the publisher calls `put_nowait` for each event, the subscriber awaits
`get` for each; ten subscribers have ten queues. The events themselves cross over: nothing is encoded and
nothing can be lost.

Zenoh: one `put` for each event (zenoh itself packs them into its batches), congestion control DROP, a
RingChannel that holds 65,536 samples, a reader thread that empties it and hands the payloads to the loop
in batches with `call_soon_threadsafe`; the loop decodes each. Peers over a unix socket, as ours.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from bus.bench.load import BURST, FAN, KEYS, KIND, CacheInvalidated, Ends, gather

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    import zenoh

    from bus.bench.load import Delivery, Tally

RING = 65_536
MOST = 1_024
"""Payloads that the reader thread hands over at once."""
CONNECT = 20.0
KEY = "bench/raw"


class Queue:
    """Both ends of an `asyncio.Queue`."""

    patience = 60.0

    def __init__(self) -> None:
        self._queues = [asyncio.Queue[CacheInvalidated]()]

    async def bulk(self, count: int) -> None:
        """One by one, a burst in each turn of the loop."""
        puts = [queue.put_nowait for queue in self._queues]
        for first in range(0, count, BURST):
            for account in range(first, min(first + BURST, count)):
                event = CacheInvalidated(account, KIND, KEYS)
                for put in puts:
                    put(event)
            await asyncio.sleep(0)

    def publish(self, event: CacheInvalidated) -> None:
        """One event."""
        for queue in self._queues:
            queue.put_nowait(event)

    def listen(self, tally: Tally, delivery: Delivery) -> Coroutine[object, object, None]:
        """A queue has one way to take events, and each subscriber needs one of his own."""
        count = FAN if delivery == "fan" else 1
        self._queues = [asyncio.Queue[CacheInvalidated]() for _ in range(count)]
        if delivery == "fan":
            queues = list(self._queues)
            return gather(tally, lambda one: _one_by_one(queues.pop(), one))
        return (_delays_of if delivery == "delay" else _one_by_one)(self._queues[0], tally)


async def _one_by_one(queue: asyncio.Queue[CacheInvalidated], tally: Tally) -> None:
    get = queue.get
    tally.add(1, (await get()).account)
    checksum = 0
    for _ in range(tally.expected - 1):
        event = await get()
        checksum += event.account
    tally.add(tally.expected - 1, checksum)


async def _delays_of(queue: asyncio.Queue[CacheInvalidated], tally: Tally) -> None:
    while not tally.is_complete:
        event = await queue.get()
        tally.delays.append(time.perf_counter_ns() - event.account)
        tally.add(1, event.account)


class ZenohPublisher:
    """`put` for each event, from the loop's thread."""

    def __init__(self, publisher: zenoh.Publisher) -> None:
        # zenoh's stubs name no types here, and for `matching_status` below a wrong one.
        self._put: Callable[[bytes], object] = publisher.put  # pyright: ignore[reportUnknownMemberType]
        self._encode = msgspec.msgpack.Encoder().encode

    async def bulk(self, count: int) -> None:
        """A burst in each turn of the loop."""
        put, encode = self._put, self._encode
        for first in range(0, count, BURST):
            for account in range(first, min(first + BURST, count)):
                put(encode(CacheInvalidated(account, KIND, KEYS)))
            await asyncio.sleep(0)

    def publish(self, event: CacheInvalidated) -> None:
        """One event."""
        self._put(self._encode(event))


class ZenohSubscriber:
    """A ring, a thread that empties it, and the loop that decodes."""

    # What is dropped nobody tells: when it stays silent for so long, the rest is lost.
    patience = 1.0

    def __init__(self, subscriber: zenoh.Subscriber[zenoh.handlers.Handler[zenoh.Sample]]) -> None:
        self._handler = subscriber.handler
        self._loop = asyncio.get_running_loop()
        self._decode = msgspec.msgpack.Decoder(CacheInvalidated).decode
        self._tally: Tally | None = None
        self._is_timed = False
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._read, name="bench-reader")
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread; the ring must be closed."""
        self._thread.join()

    def listen(self, tally: Tally, delivery: Delivery) -> Coroutine[object, object, None]:
        """Count from now on."""
        self._tally, self._is_timed = tally, delivery == "delay"
        self._over.clear()
        return self._wait()

    async def _wait(self) -> None:
        await self._over.wait()

    def _read(self) -> None:
        import zenoh

        recv, try_recv = self._handler.recv, self._handler.try_recv
        call = self._loop.call_soon_threadsafe
        with suppress(zenoh.ZError):  # the ring is closed
            while True:
                sample: zenoh.Sample | None = recv()
                batch: list[bytes] = []
                while sample is not None:
                    batch.append(sample.payload.to_bytes())
                    sample = try_recv() if len(batch) < MOST else None
                call(self._take, batch)

    def _take(self, batch: list[bytes]) -> None:
        tally, decode = self._tally, self._decode
        if tally is None:
            return
        checksum = 0
        if self._is_timed:
            for payload in batch:
                event = decode(payload)
                tally.delays.append(time.perf_counter_ns() - event.account)
                checksum += event.account
        else:
            for payload in batch:
                checksum += decode(payload).account
        tally.add(len(batch), checksum)
        if tally.is_complete:
            self._over.set()


@asynccontextmanager
async def open_memory() -> AsyncGenerator[Ends]:
    """Both ends of one queue."""
    queue = Queue()
    yield Ends(queue, queue)


@asynccontextmanager
async def open_zenoh(role: str, directory: str) -> AsyncGenerator[Ends]:
    """One session: the subscriber listens on a unix socket in `directory`, the publisher goes there."""
    import zenoh

    socket = f"unixsock-stream/{directory}/raw.sock"
    settings = {
        "mode": "peer",
        "scouting/multicast/enabled": False,
        # As ours: nothing but the socket carries the events.
        "transport/shared_memory/enabled": False,
        "listen/endpoints": [socket] if role == "subscriber" else [],
        "connect/endpoints": [] if role == "subscriber" else [socket],
        # The subscriber may be later than the publisher.
        "connect/exit_on_failure": False,
        "connect/timeout_ms": -1,
        "connect/retry": {"period_init_ms": 50, "period_max_ms": 200, "period_increase_factor": 2},
    }
    config = zenoh.Config()
    for key, value in settings.items():
        config.insert_json5(key, json.dumps(value))  # pyright: ignore[reportUnknownMemberType]
    session = await asyncio.to_thread(zenoh.open, config)
    try:
        if role == "publisher":
            publisher = session.declare_publisher(KEY, congestion_control=zenoh.CongestionControl.DROP)
            await _matched(publisher)
            yield Ends(publisher=ZenohPublisher(publisher))
        else:
            ring = session.declare_subscriber(KEY, zenoh.handlers.RingChannel(RING))
            subscriber = ZenohSubscriber(ring)
            try:
                yield Ends(subscriber=subscriber)
            finally:
                ring.undeclare()  # type: ignore[no-untyped-call]  # zenoh's stubs
                subscriber.join()
    finally:
        session.close()  # type: ignore[no-untyped-call]  # zenoh's stubs


async def _matched(publisher: zenoh.Publisher) -> None:
    deadline = time.monotonic() + CONNECT
    while not getattr(publisher.matching_status, "matching", False):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the raw zenoh publisher found no subscriber within {CONNECT:g} s")
        await asyncio.sleep(0.02)
