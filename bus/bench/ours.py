"""Our side: the bus as an application uses it, with the defaults of `Bus.open`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from bus import Bus, Loss
from bus.bench.load import Counter, Ends, together
from bus.bench.work import BURST, SLOW_EVENTS, CacheInvalidated, Sized, event_of, event_type

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from bus import Event, Subscription
    from bus.bench.load import Tally
    from bus.bench.window import Window
    from bus.bench.work import Work

    Inbox = Subscription[CacheInvalidated | Sized]

READY = 20.0
# 16 processes on two cores find each other more slowly.
READY_MORE = 5.0
KEY = "6f" * 32
"""The cluster key of sealed runs: it protects nothing here, it costs what a real one costs."""


class BusPublisher:
    """Publishes on a bus, with its back-pressure."""

    def __init__(self, bus: Bus) -> None:
        self.publish: Callable[[Event], int] = bus.publish
        self._room = bus.room

    async def bulk(self, work: Work, window: Window) -> None:
        """As fast as `room` and the window allow; without a window nothing holds it back."""
        publish, event = self.publish, event_of(work.size)
        since = 0
        for first in range(0, work.count, work.burst):
            last = min(first + work.burst, work.count)
            for account in range(first, last):
                publish(event(account))
            if work.window and (since := since + work.burst) >= BURST:
                since = 0
                await self._room()
                await window.room(last, work.window)
            await asyncio.sleep(0)


class BusSubscriber:
    """Takes events by `batch()`, by iterating, or by a callback."""

    # Longer than the bus repairs before it tells a Gap: silence beyond that is untold loss.
    patience: float = 15.0

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def listen(self, tally: Tally, work: Work) -> Coroutine[object, object, None]:
        """Subscribe now."""
        kind = event_type(work.size)
        tallies = tally.copies(work.subscribers)
        if work.delivery == "callback":
            receives = [self._called(kind, one, work) for one in tallies]
        else:
            take = (
                _slowly if work.pause
                else _items if work.delivery == "iterator"
                else _delays if work.is_timed
                else _batches
            )  # fmt: skip
            receives = [take(self._bus.subscribe(kind), one, work) for one in tallies]
        return receives[0] if len(receives) == 1 else together(tallies, receives)

    def settle(self) -> None:
        """Whoever reads the bus has counted all that came."""

    def _called(
        self, kind: type[CacheInvalidated] | type[Sized], tally: Tally, work: Work
    ) -> Coroutine[object, object, None]:
        counter = Counter(tally, work.is_timed)
        handle = self._bus.on(kind, counter.got, counter.told)

        async def wait() -> None:
            try:
                await counter.over.wait()
            finally:
                handle.close()

        return wait()


async def _batches(inbox: Inbox, tally: Tally, work: Work) -> None:
    kind = event_type(work.size)
    async with inbox:
        while not tally.is_complete:
            count = checksum = 0
            for item in await inbox.batch():
                # Not "is it a loss": this answer is quicker, and stands in the measured path.
                if isinstance(item, kind):
                    count += 1
                    checksum += item.account
                elif isinstance(item, Loss):
                    tally.tell(item)
            tally.add(count, checksum)


async def _items(inbox: Inbox, tally: Tally, work: Work) -> None:
    counter = Counter(tally, work.is_timed)
    got, kind = counter.got, event_type(work.size)
    async with inbox:
        async for item in inbox:
            if isinstance(item, kind):
                got(item)
            elif isinstance(item, Loss):
                counter.told(item)
            if counter.is_over:
                return


async def _slowly(inbox: Inbox, tally: Tally, work: Work) -> None:
    counter = Counter(tally, work.is_timed)
    number = 0
    async with inbox:
        async for item in inbox:
            if isinstance(item, (CacheInvalidated, Sized)):
                counter.got(item)
            else:
                counter.told(item)
            if counter.is_over:
                return
            number += 1
            if number % SLOW_EVENTS == 0:
                await asyncio.sleep(work.pause)


async def _delays(inbox: Inbox, tally: Tally, _work: Work) -> None:
    async with inbox:
        while not tally.is_complete:
            for item in await inbox.batch():
                if isinstance(item, (CacheInvalidated, Sized)):
                    tally.time(item.account)
                    tally.add(1, item.account)
                else:
                    tally.tell(item)


@asynccontextmanager
async def open_memory(cluster: str, size: int, key: str | None) -> AsyncGenerator[Ends]:
    """Two buses of one process: the events go through the log, a frame, and the decoder."""
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(_bus("memory://", cluster, name, size, key))
            for name in ("publisher", "subscriber")
        ]
        for bus in (first, second):
            await bus.ready(READY, peers=1)
        yield Ends(BusPublisher(first), BusSubscriber(second), second)


@asynccontextmanager
async def open_bus(
    role: str, name: str, url: str, cluster: str, size: int, key: str | None, peers: int
) -> AsyncGenerator[Ends]:
    """One bus of this process, when it hears the others. Role "node" publishes and subscribes."""
    async with _bus(url, cluster, name, size, key) as bus:
        await bus.ready(READY + peers * READY_MORE, peers=peers)
        publisher = None if role == "subscriber" else BusPublisher(bus)
        yield Ends(publisher, None if role == "publisher" else BusSubscriber(bus), bus)


def _bus(url: str, cluster: str, node: str, size: int, key: str | None) -> Bus:
    # One type: an application that knows several pays a little more for each frame.
    return Bus.open(url, node=node, cluster=cluster, events=(event_type(size),), key=key)
