"""Nodes that run in a thread of their own, so that a command can look at them from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import TypeVar

from bus import Bus, Event, Status

T = TypeVar("T")
PATIENCE = 15.0


class Nodes:
    """The buses, and how to talk to them from another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, buses: list[Bus]) -> None:
        self._loop = loop
        self._buses = buses

    def __getitem__(self, at: int) -> Bus:
        return self._buses[at]

    def status(self, at: int) -> Status:
        """Of one of them."""
        return self.call(self._buses[at].status)

    def call(self, what: Callable[[], T]) -> T:
        """In their thread."""

        async def called() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(PATIENCE)

    def is_ready(self, at: int) -> bool:
        """Whether `Bus.ready` comes back at once."""

        async def asked() -> bool:
            try:
                await self._buses[at].ready(0.1)
            except TimeoutError:
                return False
            return True

        return asyncio.run_coroutine_threadsafe(asked(), self._loop).result(PATIENCE)


@contextmanager
def running(
    *places: tuple[str, object], events: Sequence[Sequence[type[Event]]] = (), peers: int | None = None
) -> Generator[Nodes]:
    """One bus for each (name, coordinator), one after the other; all hear each other at first."""
    made: list[Nodes] = []
    started, end = threading.Event(), threading.Event()
    trouble: list[BaseException] = []

    async def live() -> None:
        async with AsyncExitStack() as stack:
            buses: list[Bus] = []
            for at, (name, place) in enumerate(places):
                known = events[at] if at < len(events) else ()
                bus = Bus.open(place, node=name, cluster="doctor", events=known)
                buses.append(await stack.enter_async_context(bus))
                # The first is surely the oldest.
                await asyncio.sleep(0.02)
            wanted = len(places) - 1 if peers is None else peers
            async with asyncio.timeout(PATIENCE):
                while not all(len(heard(bus)) >= wanted for bus in buses):
                    await asyncio.sleep(0.02)
            made.append(Nodes(asyncio.get_running_loop(), buses))
            started.set()
            while not end.is_set():
                await asyncio.sleep(0.02)

    def heard(bus: Bus) -> list[object]:
        return [peer for peer in bus.status().peers if peer.latency_ms is not None]

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:  # noqa: BLE001  # handed to the test
            trouble.append(error)
        started.set()

    thread = threading.Thread(target=run, name="nodes")
    thread.start()
    try:
        started.wait(PATIENCE * 2)
        if trouble:
            raise trouble[0]
        yield made[0]
    finally:
        end.set()
        thread.join(PATIENCE)
