"""What is measured when: crews of both sides, warm-up, pairs in turn, a second try when unsteady."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from bus.bench.crew import Crew, HarnessError
from bus.bench.figures import Result, figures, is_steady, ratios
from bus.bench.load import BURST, FAN, KEYS, KIND, CacheInvalidated, Delivery
from bus.bench.plausible import complaints
from bus.bench.server import SERVED, server_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bus.bench.figures import Repetition

PROBE = 5_000
WARM = 0.2
MARGIN = 1.3
"""Planned over wanted length of a repetition: it may turn out faster than the warm-up."""
DOUBLINGS = 4
PER_SECOND = 1_000
BACKENDS = ("memory", "zenoh", *SERVED)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    pairs: int
    seconds: float
    # Measure a row whose ratios are not steady a second time.
    retries: bool
    cores: int


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One row; `per_second` 0 = as fast as it goes."""

    scenario: str
    delivery: Delivery
    per_second: int = 0
    backends: tuple[str, ...] = BACKENDS

    def params(self, seconds: float) -> dict[str, str | int | float]:
        """As reported."""
        size = len(msgspec.msgpack.encode(CacheInvalidated(1_000_000, KIND, KEYS)))
        pace: dict[str, str | int | float] = (
            {"per_second": self.per_second} if self.per_second else {"burst": BURST}
        )
        delivery = "callback" if self.delivery == "callback" else "batch"
        subscribers = FAN if self.delivery == "fan" else 1
        return {
            **pace,
            "delivery": delivery,
            "subscribers": subscribers,
            "event_bytes": size,
            "seconds": seconds,
        }


CASES = {
    "throughput": (
        Case(scenario="throughput", delivery="batch"),
        Case(scenario="throughput", delivery="callback"),
        Case(scenario="throughput", delivery="fan", backends=("memory",)),
    ),
    "latency": (Case(scenario="latency", delivery="delay", per_second=PER_SECOND),),
}


def run(
    cases: Sequence[Case], backend: str, loop: str, plan: Plan, progress: Callable[[str], None]
) -> Iterator[Result]:
    """Measure the cases on one backend.

    Raises NoServer, and HarnessError, also for figures that cannot be true.
    """
    with ExitStack() as stack:
        url = stack.enter_context(server_of(backend))
        # Not where TMPDIR points: the path of a unix socket has about a hundred bytes.
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bus-bench-", dir="/tmp"))
        crews: list[Crew] = []
        for is_ours in (True, False):
            crews.append(Crew(backend, is_ours, loop, directory, url))
            stack.callback(crews[-1].end)
        for crew in crews:
            crew.ready()
        for case in cases:
            if backend not in case.backends:
                continue
            yield _Row(crews[0], crews[1], backend, case, plan, progress).result(loop)


class _Row:
    """The pairs of one case."""

    def __init__(
        self, ours: Crew, raw: Crew, backend: str, case: Case, plan: Plan, progress: Callable[[str], None]
    ) -> None:
        self._ours = ours
        self._raw = raw
        self._backend = backend
        self._case = case
        self._plan = plan
        self._progress = progress
        self._counts: dict[Crew, int] = {}

    def result(self, loop: str) -> Result:
        self._counts = {crew: self._warm_up(crew) for crew in (self._ours, self._raw)}
        pairs = self._pairs()
        if self._plan.retries and not is_steady(ratios(pairs)):
            self._progress("not steady: once more")
            pairs = self._pairs()
        found = ratios(pairs)
        return Result(
            scenario=self._case.scenario, backend=self._backend, loop=loop,
            params=self._case.params(self._plan.seconds),
            ours=figures([ours for ours, _ in pairs]), raw=figures([raw for _, raw in pairs]),
            ratio=median(found), spread=(min(found), max(found)), pairs=len(pairs),
            stable=is_steady(found),
        )  # fmt: skip

    def _repeat(self, crew: Crew, count: int) -> Repetition:
        return crew.repetition(count, self._case.delivery, self._case.per_second)

    def _long_enough(self, crew: Crew) -> Repetition:
        """One that took at least half of what was planned; the warm-up may have met a busy machine."""
        for _ in range(DOUBLINGS):
            one = self._repeat(crew, self._counts[crew])
            if self._case.per_second or one.seconds >= self._plan.seconds / 2:
                return one
            self._counts[crew] *= 2
        return self._repeat(crew, self._counts[crew])

    def _warm_up(self, crew: Crew) -> int:
        """How many events a repetition takes; the repetitions that show it are thrown away."""
        case, seconds = self._case, self._plan.seconds
        if case.per_second:
            count = int(case.per_second * seconds)
            self._repeat(crew, count)
            return count
        count = PROBE
        for length in (min(WARM, seconds), seconds, seconds * MARGIN):
            one = self._repeat(crew, count)
            if not one.received:
                raise HarnessError(f"{crew.name}: none of {count} events came")
            count = int(one.received / one.wall * length)
        return count

    def _pairs(self) -> list[tuple[Repetition, Repetition]]:
        pairs: list[tuple[Repetition, Repetition]] = []
        for number in range(self._plan.pairs):
            # Who goes first changes: what drifts during a pair then favours both alike.
            first, second = (self._ours, self._raw) if number % 2 == 0 else (self._raw, self._ours)
            taken = {crew: self._long_enough(crew) for crew in (first, second)}
            pairs.append((taken[self._ours], taken[self._raw]))
            self._progress(f"pair {number + 1}: ratio {ratios(pairs[-1:])[0]:.2f}")
        self._judge(self._ours, [ours for ours, _ in pairs])
        self._judge(self._raw, [raw for _, raw in pairs])
        return pairs

    def _judge(self, crew: Crew, repetitions: list[Repetition]) -> None:
        found = complaints(
            repetitions, cores=self._plan.cores, seconds=self._plan.seconds,
            tells_loss=crew is self._ours, per_second=self._case.per_second,
            is_served=self._backend in SERVED,
        )  # fmt: skip
        if found:
            raise HarnessError(f"{self._case.scenario} of {crew.name} cannot be true: {'; '.join(found)}")
