"""Does the cost of an event grow with what there is? A process of its own: `python -m bus.bench.growth 1`.

CPU of this thread for each event with 1,000 to 1,000,000 events waiting in the log and in an inbox, for each
further subscriber of a process, and for a subscription with 1 to 10,000 others. Prints rows as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from bus import Bus, Limits
from bus.bench.figures import Params  # msgspec reads it at run time
from bus.bench.work import CacheInvalidated, event_of
from bus.protocol.inbox import Inbox
from bus.protocol.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = (1_000, 10_000, 100_000, 1_000_000)
ROUTES = (1, 100, 10_000)
SUBSCRIBERS = (1, 10, 50)
ROUNDS = 5
EVENTS = 10_000
BURST = 100
FRAME = 65_536
ROOMY = Limits(log_bytes=1 << 30, log_events=1 << 22, log_age=3600.0)


class Row(msgspec.Struct, frozen=True):
    """What was varied, and microseconds of CPU."""

    params: Params
    measured: dict[str, float]


def cost(events: int, do: Callable[[], object]) -> float:
    """Microseconds of CPU of this thread per event; the best of some rounds, since others can only add."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        do()
        best = min(best, time.thread_time() - began)
    return best / events * 1e6


def _times(costs: dict[str, float], before: list[Row]) -> float:
    """How many times as much as in the first row, at most."""
    return max(value / before[0].measured[name] for name, value in costs.items()) if before else 1.0


async def waiting(scale: float) -> list[Row]:
    """Publishing, sending and reading while many events wait."""
    rows: list[Row] = []
    for number in WAITING:
        count = max(1_000, int(number * scale))
        costs = {"publish_us": await _publish(count), "send_us": _send(count), "read_us": _read(count)}
        rows.append(Row({"waiting": count}, costs | {"times": _times(costs, rows)}))
    return rows


async def _publish(count: int) -> float:
    event = event_of(0)
    async with Bus.open({"@type": "Disabled"}, node="growth", limits=ROOMY) as bus:
        publish = bus.publish
        for account in range(count):
            publish(event(account))
        one = event(0)

        def some() -> None:
            for _ in range(EVENTS):
                publish(one)

        return cost(EVENTS, some)


def _send(count: int) -> float:
    body = msgspec.msgpack.encode(event_of(0)(1_000_000))
    log = Log(1, ROOMY, FRAME)
    for _ in range(count + ROUNDS * EVENTS):
        log.append(body)
    cursor = 1

    def some() -> None:
        nonlocal cursor
        until = cursor + EVENTS
        while cursor < until and (entry := log.take(cursor, FRAME, 1.0)) is not None:
            cursor = entry.last + 1

    return cost(EVENTS, some)


def _read(count: int) -> float:
    inbox: Inbox[CacheInvalidated] = Inbox(1 << 30, 1 << 40)
    batch = [CacheInvalidated(account, "", ()) for account in range(BURST)]
    for _ in range(0, count + ROUNDS * EVENTS, BURST):
        inbox.offer(batch, BURST)

    def some() -> None:
        for _ in range(EVENTS):
            inbox.take()

    return cost(EVENTS, some)


async def routes(scale: float) -> list[Row]:
    """One more subscription, and its end, beside many."""
    rows: list[Row] = []
    async with Bus.open("memory://", node="growth", cluster="growth") as bus:
        others = [bus.subscribe(CacheInvalidated)]
        for number in ROUTES:
            count = max(1, int(number * scale))
            while len(others) < count:
                others.append(bus.subscribe(CacheInvalidated))

            def some() -> None:
                for _ in range(BURST):
                    bus.subscribe(CacheInvalidated).close()

            costs = {"subscribe_us": cost(BURST, some)}
            rows.append(Row({"routes": len(others)}, costs | {"times": _times(costs, rows)}))
        for other in others:
            other.close()
    return rows


async def subscribers(scale: float) -> list[Row]:
    """An event for one more subscriber of the process."""
    count = max(BURST, int(EVENTS * scale))
    rows: list[Row] = []
    for delivery in ("callback", "batch"):
        costs: list[float] = []
        for number in SUBSCRIBERS:
            costs.append(await _fan(number, count, is_callback=delivery == "callback"))
            extra = (costs[-1] - costs[0]) / max(1, number - 1)
            rows.append(
                Row({"delivery": delivery, "subscribers": number}, {"all_us": costs[-1], "extra_us": extra})
            )
    return rows


async def _fan(number: int, count: int, *, is_callback: bool) -> float:
    event = event_of(0)
    async with (
        Bus.open("memory://", node="a", cluster="growth") as a,
        Bus.open("memory://", node="b", cluster="growth", events=(CacheInvalidated,)) as b,
    ):
        await a.ready(peers=1)
        await b.ready(peers=1)
        calls = 0

        def got(_event: CacheInvalidated) -> None:
            nonlocal calls
            calls += 1

        inboxes = [] if is_callback else [b.subscribe(CacheInvalidated) for _ in range(number)]
        for _ in range(number if is_callback else 0):
            b.on(CacheInvalidated, got)
        best = float("inf")
        for _ in range(ROUNDS):
            calls, began = 0, time.thread_time()
            for first in range(0, count, BURST):
                for account in range(first, first + BURST):
                    a.publish(event(account))
                await asyncio.sleep(0)
                while is_callback and calls < number * (first + BURST):  # noqa: ASYNC110  # turns are what it costs
                    await asyncio.sleep(0)
                for inbox in inboxes:
                    seen = 0
                    while seen < BURST:
                        seen += len(await inbox.batch())
            best = min(best, time.thread_time() - began)
        return best / count * 1e6


async def main(scale: float) -> list[Row]:
    """All rows; `scale` below 1 makes everything smaller."""
    # What waits is on purpose: the collector would look through it again and again, whoever owns it.
    gc.freeze()
    return [*await waiting(scale), *await routes(scale), *await subscribers(scale)]


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(main(float(sys.argv[1])))).decode())
