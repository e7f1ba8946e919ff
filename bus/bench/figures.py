"""From repetitions to figures: rates, medians, the ratio of neighbours. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STEADY = 1.25
"""Largest ratio of a row over its smallest; beyond it the row is not stable."""
DRIFT = 1.10
"""The same for the yardstick before and after the run."""


class Repetition(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of one side. Times in seconds, CPU of all threads of a process."""

    published: int
    received: int
    lost: int
    checksum_sent: int
    checksum_received: int
    # From the first to the last event received; and with what went before, for CPU shares.
    seconds: float
    wall: float
    cpu_publisher: float
    # None: publisher and subscriber are one process.
    cpu_subscriber: float | None
    # Seconds that threads were ready to run and had no core.
    waited: float
    p50_us: float | None = None
    p99_us: float | None = None

    @property
    def rate(self) -> float:
        """Events received per second."""
        return self.received / self.seconds if self.seconds > 0 else 0.0

    @property
    def cpu(self) -> float:
        """CPU seconds of all processes."""
        return self.cpu_publisher + (self.cpu_subscriber or 0.0)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is reported of one side: medians over its repetitions; `lost` is their sum."""

    rate: float
    # Microseconds of CPU per event; of one process for both when `cpu_us_sub` is None.
    cpu_us_pub: float
    cpu_us_sub: float | None
    lost: int
    # Delays of paced runs.
    p50_us: float | None
    p99_us: float | None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the report."""

    scenario: str
    backend: str
    loop: str
    params: dict[str, str | int | float]
    ours: Figures
    raw: Figures | None
    # Throughput: our rate over the raw one. Latency: our median delay over the raw one.
    ratio: float | None
    spread: tuple[float, float] | None
    pairs: int
    stable: bool


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The value that `percent` of all do not exceed (nearest rank). At least one value."""
    rank = -(-len(ascending) * percent // 100)
    return ascending[max(0, int(rank) - 1)]


def figures(repetitions: Sequence[Repetition]) -> Figures:
    """The medians of one side."""
    return Figures(
        rate=median(one.rate for one in repetitions),
        cpu_us_pub=median(one.cpu_publisher / one.published * 1e6 for one in repetitions),
        cpu_us_sub=_median(
            None if one.cpu_subscriber is None else one.cpu_subscriber / one.published * 1e6
            for one in repetitions
        ),
        lost=sum(one.lost for one in repetitions),
        p50_us=_median(one.p50_us for one in repetitions),
        p99_us=_median(one.p99_us for one in repetitions),
    )


def ratios(pairs: Iterable[tuple[Repetition, Repetition]]) -> list[float]:
    """Ours over raw, pair by pair: of the median delays where there are any, else of the rates."""
    return [
        ours.p50_us / raw.p50_us if ours.p50_us and raw.p50_us else ours.rate / raw.rate
        for ours, raw in pairs
    ]


def is_steady(values: Sequence[float], limit: float = STEADY) -> bool:
    """The largest is at most `limit` times the smallest."""
    return max(values) <= limit * min(values)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def way(result: Result) -> str:
    """How the events were taken, and by how many."""
    return f"{result.params['delivery']} x{result.params['subscribers']}"
