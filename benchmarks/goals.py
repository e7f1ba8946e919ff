"""What the figures should be: a floor that must hold, and a goal. Checked against a report.

A ratio is ours over the other side's, in pairs of one run; `less` marks figures that should be small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from bus.bench.svg import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bus.bench.figures import Result

Verdict = Literal["goal", "floor", "missed", "not measured"]


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one row."""

    what: str
    scenario: str
    backend: str
    floor: float
    goal: float
    params: dict[str, str | int] = {}
    # Of the row: its ratio, the ratio to another opponent, or something that only this scenario measures.
    take: str = "ratio"
    less: bool = False

    def value(self, results: Sequence[Result]) -> float | None:
        """The figure; None when the report has no such row."""
        for result in results:
            usual = {"burst": 100, "delivery": "batch", "subscribers": 1}
            if (
                (result.scenario, result.backend) == (self.scenario, self.backend)
                # What a row does not vary it may leave out; what the goal names it must have.
                and all(
                    result.params.get(name, value) == value
                    for name, value in usual.items()
                    if name not in self.params
                )
                and all(result.params.get(name) == value for name, value in self.params.items())
            ):
                return _TAKE[self.take](result) if self.take in _TAKE else _other(result, self.take)
        return None

    def verdict(self, value: float | None) -> Verdict:
        """What was reached."""
        if value is None:
            return "not measured"
        for name, limit in (("goal", self.goal), ("floor", self.floor)):
            if value <= limit if self.less else value >= limit:
                return "goal" if name == "goal" else "floor"
        return "missed"


def _other(result: Result, name: str) -> float | None:
    versus = result.others.get(name)
    return result.measured.get(name) if versus is None else versus.ratio


_TAKE: dict[str, Callable[[Result], float | None]] = {
    "ratio": lambda result: result.ratio,
    "rate": lambda result: result.ours.rate,
    "lost": lambda result: float(result.ours.lost),
    "p50_ms": lambda result: result.ours.p50_us and result.ours.p50_us / 1e3,
}


def _throughput() -> Iterator[Goal]:
    for backend, floor, goal in (
        ("nats", 4, 6), ("redis", 12, 18), ("valkey", 12, 18), ("zenoh", 1.5, 2), ("kafka", 3, 5),
        ("memory", 2, 2.5),
    ):  # fmt: skip
        yield Goal(
            what="rate beside the raw client", scenario="throughput", backend=backend, floor=floor, goal=goal
        )
    yield Goal(
        what="rate beside 10 queues, 10 subscribers", scenario="throughput", backend="memory",
        floor=5, goal=6.5, params={"subscribers": 10},
    )  # fmt: skip
    for backend, floor in (("nats", 0.65), ("redis", 0.8), ("zenoh", 0.75)):
        yield Goal(
            what="rate beside plain TCP", scenario="throughput", backend=backend, floor=floor, goal=floor,
            take="tcp",
        )  # fmt: skip
    for backend in ("memory", "zenoh", "nats", "redis", "valkey", "kafka"):
        yield Goal(
            what="one event a loop turn, beside the raw client", scenario="throughput", backend=backend,
            floor=1, goal=3, params={"burst": 1},
        )  # fmt: skip
    for backend in ("nats", "redis"):
        yield Goal(
            what="sealed beside unsealed, 64 KiB frames", scenario="throughput", backend=backend,
            floor=0.8, goal=0.8, params={"burst": 1000}, take="unsealed",
        )  # fmt: skip


def _latency() -> Iterator[Goal]:
    for backend, floor, goal in (
        ("nats", 1.15, 1.0), ("redis", 1.15, 1.0), ("valkey", 1.15, 1.0), ("zenoh", 1.4, 1.15),
    ):  # fmt: skip
        yield Goal(
            what="p50 at 1,000/s beside the raw client", scenario="latency", backend=backend,
            floor=floor, goal=goal, less=True,
        )  # fmt: skip
    yield Goal(
        what="the same by callback, as the raw client hands over", scenario="latency", backend="zenoh",
        floor=1.4, goal=1.15, params={"delivery": "callback"}, less=True,
    )  # fmt: skip
    yield Goal(
        what="p50 at 1,000/s, milliseconds", scenario="latency", backend="kafka",
        floor=15, goal=5, take="p50_ms", less=True,
    )  # fmt: skip


def _growth() -> Iterator[Goal]:
    for backend in ("nats", "redis"):
        yield Goal(
            what="8 nodes, deliveries a second", scenario="nodes", backend=backend,
            floor=1.5e6, goal=2.2e6, params={"nodes": 8}, take="rate",
        )  # fmt: skip
        yield Goal(
            what="8 nodes, events lost", scenario="nodes", backend=backend,
            floor=0, goal=0, params={"nodes": 8}, take="lost", less=True,
        )  # fmt: skip
        yield Goal(
            what="16 nodes, times that one was not READY", scenario="nodes", backend=backend,
            floor=0, goal=0, params={"nodes": 16}, take="unready", less=True,
        )  # fmt: skip
    for what, params in (
        ("a million waiting: an event costs times what it does with a thousand", {"waiting": 1_000_000}),
        ("10,000 subscriptions: one more costs times what the first did", {"routes": 10_000}),
    ):
        yield Goal(
            what=what, scenario="growth", backend="memory", floor=1.5, goal=1.2, params={**params},
            take="times", less=True,
        )  # fmt: skip
    for delivery in ("callback", "batch"):
        yield Goal(
            what=f"one more subscriber ({delivery}), microseconds", scenario="growth", backend="memory",
            floor=0.15, goal=0.05, params={"subscribers": 50, "delivery": delivery}, take="extra_us",
            less=True,
        )  # fmt: skip


GOALS = (*_throughput(), *_latency(), *_growth())


def table(results: Sequence[Result]) -> list[str]:
    """Markdown: one line for each goal."""
    lines = ["| figure | system | floor | goal | measured | |", "|---|---|---|---|---|---|"]
    for goal in GOALS:
        value = goal.value(results)
        sign = "≤ " if goal.less else ""
        measured = "" if value is None else short(value)
        lines.append(
            f"| {goal.what} | {goal.backend} | {sign}{short(goal.floor)} | {sign}{short(goal.goal)} "
            f"| {measured} | {goal.verdict(value)} |"
        )
    return lines
