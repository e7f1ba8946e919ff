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
    # Receiving processes of each event.
    copies: int = 1
    received: int
    lost: int
    checksum_sent: int
    checksum_received: int
    # From the first to the last event received; and with what went before, for CPU shares.
    seconds: float
    wall: float
    cpu_publisher: float
    # None: it is in the other one, as every process does both.
    cpu_subscriber: float | None
    # None: there is none, or it runs elsewhere.
    cpu_server: float | None = None
    # Seconds that threads were ready to run and had no core.
    waited: float
    p50_us: float | None = None
    p99_us: float | None = None
    curve: list[tuple[float, float]] = []
    # Processes of ours whose link was not READY all the time, and events that came by repair.
    unready: int = 0
    repaired: int = 0

    @property
    def expected(self) -> int:
        """Events that should be received, over all processes."""
        return self.published * self.copies

    @property
    def rate(self) -> float:
        """Events received per second, over all processes."""
        return self.received / self.seconds if self.seconds > 0 else 0.0

    @property
    def cpu(self) -> float:
        """CPU seconds of all processes but the server's."""
        return self.cpu_publisher + (self.cpu_subscriber or 0.0)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is reported of one side: medians over its repetitions; `lost` is their sum."""

    rate: float
    # Microseconds of CPU per event; of one process for both when `cpu_us_sub` is None. Where all
    # publish: of all processes, per event received.
    cpu_us_pub: float
    cpu_us_sub: float | None
    cpu_us_server: float | None = None
    lost: int
    # Delays of paced runs, and some of their percentiles.
    p50_us: float | None
    p99_us: float | None
    curve: list[tuple[float, float]] = []


class Versus(msgspec.Struct, frozen=True, kw_only=True):
    """A further opponent, and our ratio to it."""

    figures: Figures
    ratio: float
    spread: tuple[float, float]
    stable: bool


Number = float | int
Params = dict[str, str | int | float]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the report."""

    scenario: str
    backend: str
    loop: str
    params: Params
    ours: Figures
    raw: Figures | None
    # Throughput: our rate over the raw one. Latency: our median delay over the raw one.
    ratio: float | None
    spread: tuple[float, float] | None
    pairs: int
    stable: bool
    # Other opponents, by name ("tcp", "faststream"), and what only this scenario measures.
    others: dict[str, Versus] = {}
    measured: dict[str, Number] = {}


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The value that `percent` of all do not exceed (nearest rank). At least one value."""
    rank = -(-len(ascending) * percent // 100)
    return ascending[max(0, int(rank) - 1)]


def figures(repetitions: Sequence[Repetition]) -> Figures:
    """The medians of one side."""
    last = repetitions[-1]
    return Figures(
        rate=median(one.rate for one in repetitions),
        cpu_us_pub=median(one.cpu_publisher / one.expected * 1e6 for one in repetitions),
        cpu_us_sub=_median(_each(one.cpu_subscriber, one) for one in repetitions),
        cpu_us_server=_median(_each(one.cpu_server, one) for one in repetitions),
        lost=sum(one.lost for one in repetitions),
        p50_us=_median(one.p50_us for one in repetitions),
        p99_us=_median(one.p99_us for one in repetitions),
        curve=[
            (percent, median(one.curve[at][1] for one in repetitions))
            for at, (percent, _) in enumerate(last.curve)
        ],
    )


def ratios(pairs: Iterable[tuple[Repetition, Repetition]]) -> list[float]:
    """Ours over the other, pair by pair: of the median delays where there are any, else of the rates."""
    return [
        ours.p50_us / raw.p50_us if ours.p50_us and raw.p50_us else ours.rate / raw.rate
        for ours, raw in pairs
    ]


def versus(ours: Sequence[Repetition], other: Sequence[Repetition]) -> Versus:
    """The other side and the median of the ratios of neighbours."""
    found = ratios(zip(ours, other, strict=True))
    return Versus(
        figures=figures(other), ratio=median(found), spread=(min(found), max(found)), stable=is_steady(found)
    )


def is_steady(values: Sequence[float], limit: float = STEADY) -> bool:
    """The largest is at most `limit` times the smallest."""
    return max(values) <= limit * min(values)


def way(result: Result) -> str:
    """What distinguishes the row from others of its scenario and backend."""
    params = result.params
    words = [str(params["delivery"])] if "delivery" in params else []
    if "subscribers" in params:
        words.append(f"x{params['subscribers']}")
    if params.get("burst", 100) != 100:
        words.append(f"burst {params['burst']}")
    words += [f"{name} {params[name]}" for name in ("nodes", "bytes", "waiting", "routes") if name in params]
    if params.get("sealed"):
        words.append("sealed")
    return " ".join(words)


def _each(cpu: float | None, one: Repetition) -> float | None:
    return None if cpu is None else cpu / one.expected * 1e6


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
