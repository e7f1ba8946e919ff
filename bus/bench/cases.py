"""Which rows a scenario has: what is varied, on which systems, and who takes part. Data, no measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bus.bench.server import SERVED
from bus.bench.work import BURST, Delivery, Work, encoded_size, event_of

if TYPE_CHECKING:
    from bus.bench.figures import Params

BACKENDS = ("memory", "zenoh", *SERVED)
APART = ("zenoh", *SERVED)
"""Publisher and subscriber are processes of their own."""
BROKERS = SERVED
"""There is a server that can be restarted."""

PER_SECOND = 1_000
WINDOW = 50_000
AHEAD = 16 << 20
"""Bytes that a publisher may be ahead, where the window would be more."""
NODES = (2, 4, 8, 16)
SIZES = (16, 128, 1_024, 8_192, 65_536)
FANS = (1, 10, 50)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One row, in pairs of our side and others; `per_second` 0 = as fast as it goes."""

    scenario: str
    delivery: Delivery = "batch"
    subscribers: int = 1
    fan: bool = False
    burst: int = BURST
    per_second: int = 0
    nodes: int = 1
    size: int = 0
    pause: float = 0.0
    is_paced: bool = True
    # Only where our side seals its frames.
    is_sealed: bool = False
    backends: tuple[str, ...] = BACKENDS
    # Sides besides ours and raw that can do this.
    others: tuple[str, ...] = ()

    def work(self, count: int) -> Work:
        """One repetition of `count` events of each publisher."""
        window = min(WINDOW, max(2 * self.burst, AHEAD // max(128, self.size))) if self.is_paced else 0
        return Work(
            count=count, delivery=self.delivery, subscribers=self.subscribers, fan=self.fan,
            burst=self.burst, per_second=self.per_second, size=self.size, window=window, pause=self.pause,
        )  # fmt: skip

    def params(self, seconds: float, is_sealed: bool) -> Params:
        """As reported."""
        pace: Params = {"per_second": self.per_second} if self.per_second else {"burst": self.burst}
        more: Params = {"nodes": self.nodes} if self.nodes > 1 else {}
        if self.size:
            more["bytes"] = self.size
        if self.pause:
            more["pause"] = self.pause
        if is_sealed:
            more["sealed"] = 1
        return {
            **pace, "delivery": self.delivery, "subscribers": self.subscribers, **more,
            "event_bytes": encoded_size(event_of(self.size)(1_000_000)), "seconds": seconds,
        }  # fmt: skip


def _throughput() -> list[Case]:
    name = "throughput"
    return [
        Case(scenario=name, others=("tcp", "faststream", "broadcaster")),
        Case(scenario=name, delivery="callback"),
        Case(scenario=name, subscribers=10, backends=("memory",)),
        *(Case(scenario=name, burst=burst) for burst in (10, 1)),
        # Frames of 64 KiB: what sealing them costs.
        Case(scenario=name, burst=1_000, is_sealed=True),
    ]


PAIRED: dict[str, list[Case]] = {
    "throughput": _throughput(),
    "latency": [
        Case(scenario="latency", per_second=PER_SECOND, others=("tcp", "faststream", "broadcaster")),
        # As the raw clients hand events over: whoever waits for a batch goes on one turn of the loop later.
        Case(scenario="latency", per_second=PER_SECOND, delivery="callback"),
    ],
    "fanout": [
        Case(scenario="fanout", fan=True, delivery=delivery, subscribers=subscribers)
        for delivery in ("callback", "batch", "iterator")
        for subscribers in FANS
    ],
    "nodes": [Case(scenario="nodes", nodes=nodes, backends=APART) for nodes in NODES],
    "size": [
        # A burst of large events is as long as one of 64 KiB frames.
        Case(scenario="size", size=size, burst=max(4, min(BURST, 400_000 // size)), backends=BACKENDS)
        for size in SIZES
    ],
    "slow-consumer": [
        # A hundred thousand events a second at most, whoever publishes: several times as many.
        Case(scenario="slow-consumer", delivery="iterator", pause=0.01, is_paced=False),
    ],
}
"""Scenario -> its rows, each measured as pairs of our side and its opponents."""

ALONE = ("recovery", "memory", "idle", "growth")
"""Scenarios of our side with a course of their own: `recovery`, `footprint`."""

SCENARIOS = (*PAIRED, *ALONE)
