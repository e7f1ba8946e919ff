"""Our side: the bus as an application uses it, with the defaults of `Bus.open`."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from bus import Bus
from bus.bench.load import BURST, FAN, KEYS, KIND, CacheInvalidated, Ends, gather

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from bus import Loss, Subscription
    from bus.bench.load import Delivery, Tally

READY = 20.0


class BusPublisher:
    """Publishes on a bus, with its back-pressure."""

    def __init__(self, bus: Bus) -> None:
        self.publish = bus.publish
        self._room = bus.room

    async def bulk(self, count: int) -> None:
        """As fast as `room` allows."""
        publish, room = self.publish, self._room
        for first in range(0, count, BURST):
            for account in range(first, min(first + BURST, count)):
                publish(CacheInvalidated(account, KIND, KEYS))
            await room()
            await asyncio.sleep(0)


class BusSubscriber:
    """Takes events by `batch()` or by a callback."""

    # Longer than the bus repairs before it tells a Gap: silence beyond that is untold loss.
    patience = 15.0

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def listen(self, tally: Tally, delivery: Delivery) -> Coroutine[object, object, None]:
        """Subscribe now."""
        if delivery == "callback":
            return self._callback(tally)
        if delivery == "fan":
            inboxes = [self._bus.subscribe(CacheInvalidated) for _ in range(FAN)]
            return gather(tally, lambda one: _batches(inboxes.pop(), one))
        inbox = self._bus.subscribe(CacheInvalidated)
        return (_batches if delivery == "batch" else _delays)(inbox, tally)

    def _callback(self, tally: Tally) -> Coroutine[object, object, None]:
        count = checksum = 0
        expected = tally.expected
        over = asyncio.Event()

        def got(event: CacheInvalidated) -> None:
            nonlocal count, checksum
            count += 1
            checksum += event.account
            if count == 1 or count == expected:
                enter()

        def enter() -> None:
            nonlocal count, checksum, expected
            tally.add(count, checksum)
            expected -= count
            count = checksum = 0
            if tally.is_complete:
                over.set()

        def on_loss(loss: Loss) -> None:
            nonlocal expected
            before = tally.lost
            tally.tell(loss)
            expected -= tally.lost - before
            if count >= expected:
                enter()

        handle = self._bus.on(CacheInvalidated, got, on_loss)

        async def wait() -> None:
            try:
                await over.wait()
            finally:
                handle.close()

        return wait()


async def _batches(inbox: Subscription[CacheInvalidated], tally: Tally) -> None:
    async with inbox:
        while not tally.is_complete:
            count = checksum = 0
            for item in await inbox.batch():
                if isinstance(item, CacheInvalidated):
                    count += 1
                    checksum += item.account
                else:
                    tally.tell(item)
            tally.add(count, checksum)


async def _delays(inbox: Subscription[CacheInvalidated], tally: Tally) -> None:
    async with inbox:
        while not tally.is_complete:
            for item in await inbox.batch():
                if isinstance(item, CacheInvalidated):
                    tally.delays.append(time.perf_counter_ns() - item.account)
                    tally.add(1, item.account)
                else:
                    tally.tell(item)


@asynccontextmanager
async def open_memory() -> AsyncGenerator[Ends]:
    """Two buses of one process: the events go through the log, a frame, and the decoder."""
    async with AsyncExitStack() as stack:
        buses = [
            await stack.enter_async_context(
                Bus.open("memory://", node=name, cluster="bench", events=(CacheInvalidated,))
            )
            for name in ("publisher", "subscriber")
        ]
        for bus in buses:
            await bus.ready(READY, peers=1)
        yield Ends(BusPublisher(buses[0]), BusSubscriber(buses[1]))


@asynccontextmanager
async def open_bus(role: str, url: str) -> AsyncGenerator[Ends]:
    """One bus of this process, when it hears the other one."""
    async with Bus.open(url, node=role, cluster="bench", events=(CacheInvalidated,)) as bus:
        await bus.ready(READY, peers=1)
        yield (
            Ends(publisher=BusPublisher(bus)) if role == "publisher" else Ends(subscriber=BusSubscriber(bus))
        )
