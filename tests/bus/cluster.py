"""What the tests of the public API share: event types, buses that know each other, reading in bounds.

Everything is written with anyio, so that one scenario runs on asyncio, uvloop and trio.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any, TypeVar

import anyio

from bus import Bus, Event, Limits, Loss, Subscription
from bus.testing.leaks import no_leaks
from bus.testing.simloop import run_sim

PATIENCE = 5.0

E = TypeVar("E", bound=Event)

_clusters = count()


class Note(Event, tag="test.note"):
    number: int


class Word(Event, tag="test.word"):
    text: str


class Count(Event, tag=77):
    number: int


class Blob(Event, tag="test.blob"):
    body: bytes


class Anything(Event, tag="test.anything"):
    value: Any


def cluster_name() -> str:
    """A cluster of its own: the Memory backend joins all buses of this process by it."""
    return f"test-{next(_clusters)}"


@asynccontextmanager
async def buses(
    *names: str, cluster: str | None = None, limits: Limits | None = None
) -> AsyncGenerator[list[Bus], None]:
    """Open buses on Memory that hear each other, in the order of their names."""
    cluster = cluster or cluster_name()
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(Bus.open("memory://", node=name, cluster=cluster, limits=limits))
            for name in names
        ]
        for bus in made:
            await bus.ready(PATIENCE, peers=len(names) - 1)
        yield made


async def take(inbox: Subscription[E], count: int) -> list[E | Loss]:
    """The next `count` items."""
    with anyio.fail_after(PATIENCE):
        return [await anext(inbox) for _ in range(count)]


async def rest(inbox: Subscription[E]) -> list[E | Loss]:
    """Everything until the iteration ends."""
    with anyio.fail_after(PATIENCE):
        return [item async for item in inbox]


async def until(is_true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Poll until it is so; TimeoutError when it never is."""
    with anyio.fail_after(seconds):
        while not is_true():
            await anyio.sleep(0.005)


def notes(first: int, last: int) -> list[Note]:
    """Note(first) ... Note(last)."""
    return [Note(number) for number in range(first, last + 1)]


def simulated(main: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run the test on a virtual clock: minutes take milliseconds."""

    async def checked() -> None:
        async with no_leaks():
            await main()

    def test() -> None:
        run_sim(checked, limit=600)

    test.__name__ = main.__name__
    return test


def cluster_of(bus: Bus) -> str:
    """The cluster in which a bus is."""
    return bus.status().links[0].channel.removeprefix("bus.")


def open_beside(bus: Bus, node: str) -> Bus:
    """One more bus in the cluster of another one."""
    return Bus.open("memory://", node=node, cluster=cluster_of(bus))


def epoch(bus: Bus) -> int:
    """The epoch of a bus."""
    return bus.status().epoch
