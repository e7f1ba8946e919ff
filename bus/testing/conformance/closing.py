"""How a bus ends: within two seconds in every state, leaving nothing, however it is told to."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import anyio

from bus.testing.conformance.cluster import (
    Node,
    all_balanced,
    all_heard,
    all_ready,
    cluster_name,
    node,
    nodes,
)
from bus.testing.conformance.footprint import nothing_left
from bus.testing.conformance.station import until

if TYPE_CHECKING:
    from bus.testing.conformance.harness import Harness

# The contract is 2 s; the rest is for the machine that measures.
CLOSE = 2.0 + 0.25
OPENINGS = 20


async def closes(one: Node, when: str) -> None:
    """Close a node and measure. Raises AssertionError when it takes too long."""
    started = time.monotonic()
    await one.bus.aclose()
    took = time.monotonic() - started
    assert took <= CLOSE, f"aclose() {when} took {took:.2f} s; 2 s are allowed"
    state = one.bus.status().state
    assert state in ("CLOSED", "FATAL"), f"after aclose() {when} the state is {state}"


class Closing:
    """Scenarios about the end of a bus."""

    async def test_close_is_quick_while_connecting(self, harness: Harness) -> None:
        """At once after opening, and a little later."""
        for delay in (0.0, 0.001, 0.01, 0.05):
            async with node(harness, "hasty", cluster_name()) as one:
                await asyncio.sleep(delay)
                await closes(one, f"{delay:g} s after opening")

    async def test_close_is_quick_under_load(self, harness: Harness) -> None:
        """In the middle of a burst; whatever it sent or not, the others can account for it."""
        async with nodes(harness, 2) as (one, other):
            one.publish(5_000, b"x" * 1_000)
            await until(lambda: other.count(one), harness.patience, "nothing of a burst arrived")
            await closes(one, "under load")
            await all_balanced([other, one], 3 * harness.patience)

    async def test_close_may_be_called_twice_and_at_once(self, harness: Harness) -> None:
        """By several tasks at the same time, and again afterwards."""
        async with nodes(harness, 2) as (one, _):
            one.publish(100)
            await asyncio.gather(*(closes(one, "three times at once") for _ in range(3)))
            await closes(one, "again")

    async def test_close_works_in_a_cancelled_scope(self, harness: Harness) -> None:
        """A cancelled task that leaves `async with Bus.open(...)` still says goodbye and closes."""
        async with nodes(harness, 2) as (one, other):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await closes(one, "in a cancelled scope")
            await until(
                lambda: [peer.state for peer in other.bus.status().peers] == ["ENDED"],
                harness.patience,
                "it closed without saying goodbye",
            )
            opened = asyncio.Event()

            async def live() -> None:
                async with node(harness, "cancelled", other.cluster):
                    opened.set()
                    await anyio.sleep_forever()

            task = asyncio.create_task(live())
            await opened.wait()
            started = time.monotonic()
            task.cancel()
            await asyncio.wait({task}, timeout=2 * CLOSE)
            took = time.monotonic() - started
            assert task.done() and took <= CLOSE, f"a cancelled task closed its bus in {took:.2f} s"

    async def test_twenty_openings_leave_nothing(self, harness: Harness) -> None:
        """No task, thread, process or descriptor, whether it was used or closed at once."""
        async with nodes(harness, 2):
            pass  # what the library starts once per process has started
        async with nothing_left(harness.patience):
            for number in range(OPENINGS):
                async with node(harness, "one", cluster_name()) as one:
                    if number % 5 == 0:
                        async with node(harness, "two", one.cluster) as two:
                            await all_ready(harness, [one, two])
                            one.publish(10)
                            await all_heard(harness, [one, two])
