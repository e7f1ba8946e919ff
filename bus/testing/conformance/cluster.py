"""Several buses of one cluster, each with a listener that keeps the books: what came, what was told lost.

Every event of the suite says its sender and its number, which is the number that `publish` returned: so
a listener can be compared with what was published, event by event.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bus import Bus, Event, Gap, Loss, Overflow, Resync
from bus.testing.conformance.station import until

if TYPE_CHECKING:
    from bus.testing.conformance.harness import Coordinator, Harness

# Events at the end of a stream among which a new one is looked for.
WINDOW = 10_000


class Note(Event, tag="bus.testing.note"):
    """The event of the suite."""

    sender: str
    number: int
    body: bytes = b""


@dataclass(frozen=True)
class Account:
    """What one listener knows of one sender's numbers 1 to `published`."""

    delivered: int
    told: int
    unexplained: tuple[int, ...]

    @property
    def is_balanced(self) -> bool:
        """Everything came or was told."""
        return not self.unexplained


class Node:
    """One bus and the listener on it."""

    def __init__(self, name: str, cluster: str, coordinator: Coordinator) -> None:
        self.name = name
        self.cluster = cluster
        self.bus: Bus = Bus.open(coordinator, node=name, cluster=cluster, events=(Note,))
        self.published: int = 0
        self.events: list[Note] = []
        self.losses: list[Loss] = []
        self._came: dict[str, list[int]] = {}
        self._different: dict[str, set[int]] = {}

    async def listen(self) -> None:
        """Keep the books until the bus is closed or the task cancelled."""
        async with self.bus.subscribe(Note, capacity=1_000_000) as inbox:
            async for item in inbox:
                if isinstance(item, Loss):
                    self.losses.append(item)
                else:
                    self.events.append(item)
                    self._came.setdefault(item.sender, []).append(item.number)
                    self._different.setdefault(item.sender, set()).add(item.number)

    def publish(self, count: int = 1, body: bytes = b"") -> None:
        """Publish the next `count` notes."""
        for _ in range(count):
            self.published += 1
            seq = self.bus.publish(Note(self.name, self.published, body))
            assert seq == self.published, f"publish returned {seq} for event {self.published}"

    def numbers(self, sender: Node) -> list[int]:
        """The numbers that came from one sender, in the order in which they came."""
        return self._came.get(sender.name, [])

    def count(self, sender: Node) -> int:
        """How many different numbers came from one sender."""
        return len(self._different.get(sender.name, ()))

    def account(self, sender: Node) -> Account:
        """Compare what came and what was told with what was published."""
        missing = set(range(1, sender.published + 1)) - self._different.get(sender.name, set())
        told: set[int] = set()
        epoch = sender.bus.status().epoch
        for loss in self.losses:
            if isinstance(loss, Gap) and loss.epoch == epoch:
                for first, last in loss.ranges:
                    told.update(missing.intersection(range(first, last + 1)))
            elif isinstance(loss, Resync) and loss.epoch in (None, epoch):
                told.update(number for number in missing if number > (loss.after or 0))
        unexplained = sorted(missing - told)
        dropped = sum(loss.count for loss in self.losses if isinstance(loss, Overflow))
        return Account(self.count(sender), len(told), tuple(unexplained[dropped:]))

    def check_order(self, sender: Node) -> None:
        """Raise AssertionError if something came twice or out of order."""
        came = self.numbers(sender)
        twice = [number for number, times in Counter(came).items() if times > 1]
        assert not twice, f"{self.name} got {twice[:5]} of {sender.name} more than once"
        turned = [(a, b) for a, b in itertools.pairwise(came) if b < a]
        assert not turned, f"{self.name} got events of {sender.name} out of order: {turned[:5]}"


def cluster_name() -> str:
    """A cluster that no other scenario uses."""
    return f"conformance-{secrets.token_hex(6)}"


@asynccontextmanager
async def node(
    harness: Harness, name: str, cluster: str, coordinator: Coordinator | None = None
) -> AsyncGenerator[Node, None]:
    """One open node; it need not be ready."""
    one = Node(name, cluster, harness.coordinator() if coordinator is None else coordinator)
    async with one.bus:
        listener = asyncio.create_task(one.listen(), name=f"conformance.{name}")
        # The listener subscribes before anything can come.
        await asyncio.sleep(0)
        try:
            yield one
        finally:
            await one.bus.aclose()
            await asyncio.wait({listener}, timeout=1.0)
            listener.cancel()
            await asyncio.wait({listener}, timeout=1.0)


@asynccontextmanager
async def nodes(
    harness: Harness, count: int, cluster: str | None = None, prefix: str = "node"
) -> AsyncGenerator[list[Node], None]:
    """`count` nodes of one cluster that all hear each other."""
    name = cluster_name() if cluster is None else cluster
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(node(harness, f"{prefix}-{number}", name))
            for number in range(1, count + 1)
        ]
        await all_ready(harness, made)
        yield made


async def all_ready(harness: Harness, made: Sequence[Node]) -> None:
    """Every node is proven and lists every other one."""
    for one in made:
        await one.bus.ready(timeout=harness.open_timeout, peers=len(made) - 1)


async def all_heard(harness: Harness, made: Sequence[Node], seconds: float | None = None) -> None:
    """Every node got everything of every other one, in order and once; nothing was lost."""
    pairs = [(to, sender) for to in made for sender in made if to is not sender]
    await until(
        lambda: all(to.count(sender) >= sender.published for to, sender in pairs),
        harness.patience if seconds is None else seconds,
        lambda: "; ".join(
            f"{to.name} got {to.count(sender)} of {sender.published} of {sender.name}" for to, sender in pairs
        ),
    )
    for to, sender in pairs:
        to.check_order(sender)
        assert not to.losses, f"{to.name} was told {to.losses[:3]} on a healthy system"


async def all_balanced(made: Sequence[Node], seconds: float) -> None:
    """Every node got, or was told lost, everything of every other one; in order and nothing twice."""
    pairs = [(to, sender) for to in made for sender in made if to is not sender]
    await until(
        lambda: all(to.account(sender).is_balanced for to, sender in pairs),
        seconds,
        lambda: "neither delivered nor told: " + "; ".join(
            f"{to.name} misses {list(to.account(sender).unexplained[:5])}"
            f" ({len(to.account(sender).unexplained)} of {sender.published}) of {sender.name}"
            for to, sender in pairs
            if not to.account(sender).is_balanced
        ),
    )  # fmt: skip
    for to, sender in pairs:
        to.check_order(sender)


async def fresh_both_ways(made: Sequence[Node], seconds: float) -> None:
    """An event that is published from now on reaches every node from every other one in time."""
    first = {one: one.published + 1 for one in made}
    pairs = [(to, sender) for to in made for sender in made if to is not sender]
    for one in made:
        one.publish()

    def deaf() -> list[str]:
        return [
            f"{to.name} hears no new event of {sender.name} ({to.bus.status().links})"
            for to, sender in pairs
            if not any(number >= first[sender] for number in to.numbers(sender)[-WINDOW:])
        ]

    await until(lambda: not deaf(), seconds, lambda: f"after {seconds:g} s " + "; ".join(deaf()))


def refused(bus: Bus) -> Counter[str]:
    """How many incoming frames the bus did not take, by reason; there is no public view of it yet."""
    return bus._node.engine.refused  # pyright: ignore[reportPrivateUsage]  # see the docstring
