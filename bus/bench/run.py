"""What is measured when: crews of all sides, warm-up, turns, a second try when unsteady."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from bus.bench.crew import OURS, UNSEALED, Crew, HarnessError
from bus.bench.figures import Figures, Result, figures, is_steady, ratios, versus
from bus.bench.ours import KEY
from bus.bench.plausible import CROWDED, complaints
from bus.bench.server import SERVED, server_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bus.bench.cases import Case
    from bus.bench.figures import Number, Repetition, Versus

PROBE = 5_000
PROBE_BYTES = 4 << 20
WARM = 0.2
MARGIN = 1.3
"""Planned over wanted length of a repetition: it may turn out faster than the warm-up."""
DOUBLINGS = 4
# Who is slow on purpose: more than an inbox holds, so that something is told.
LEAST_OF_SLOW, MOST_OF_SLOW = 150_000, 400_000


# Seconds: what takes less is mostly a beginning and an end, and waits for both.
SHORT = 0.5


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    pairs: int
    seconds: float
    # Measure a row whose ratios are not steady a second time.
    retries: bool
    cores: int
    # Opponents besides ours; "raw" is one.
    opponents: tuple[str, ...] = ("raw",)
    is_sealed: bool = False
    url: str | None = None
    # Python and environment of the peers, where they take part.
    peers: tuple[str, dict[str, str]] | None = None


def run(
    cases: Sequence[Case], backend: str, loop: str, plan: Plan, progress: Callable[[str], None]
) -> Iterator[Result]:
    """Measure the cases on one backend.

    Raises NoServer, and HarnessError, also for figures that cannot be true.
    """
    mine = [case for case in cases if takes_part(case, backend, plan)]
    with ExitStack() as stack:
        server = stack.enter_context(server_of(backend, plan.url))
        # What a crew is opened for: who takes part, how many processes, which type of event.
        for key, group in groupby(mine, lambda case: (case.others, case.nodes, case.size)):
            others, nodes, size = key
            with ExitStack() as crews:
                # Not where TMPDIR points: the path of a unix socket has about a hundred bytes.
                directory = crews.enter_context(tempfile.TemporaryDirectory(prefix="bus-bench-", dir="/tmp"))
                sides: list[Crew] = []
                for side in (OURS, *opponents(plan, backend, others)):
                    crew = Crew(
                        side, backend, loop, directory, server.url, nodes=nodes, size=size,
                        key=KEY if plan.is_sealed and side == OURS else None,
                        program=plan.peers if side in PEERS.get(backend, ()) else None,
                        server_cpu=server.cpu if server.has_cpu else None,
                    )  # fmt: skip
                    crews.callback(crew.end)
                    sides.append(crew)
                for crew in sides:
                    crew.ready()
                for case in group:
                    yield _Row(sides, backend, case, plan, progress).result(loop)


def takes_part(case: Case, backend: str, plan: Plan) -> bool:
    """Is the case measured on this system? Not when opponents are asked for, and none of them can do it."""
    if backend not in case.backends or (case.is_sealed and not plan.is_sealed):
        return False
    return not plan.opponents or bool(opponents(plan, backend, case.others))


# The peers that can do it, by backend.
PEERS: dict[str, tuple[str, ...]] = {
    "nats": ("faststream",), "redis": ("faststream", "broadcaster"), "valkey": ("faststream", "broadcaster"),
    "kafka": ("faststream",), "memory": ("broadcaster",),
}  # fmt: skip


def opponents(plan: Plan, backend: str, others: tuple[str, ...]) -> list[str]:
    """The sides besides ours in a row that `others` can take part in."""
    found = [side for side in ("raw",) if side in plan.opponents]
    found += [UNSEALED] if plan.is_sealed else []
    for side in others:
        if side == "tcp":
            able = "tcp" in plan.opponents and backend != "memory"
        else:
            able = "peers" in plan.opponents and side in PEERS.get(backend, ())
        found += [side] if able else []
    return found


class _Row:
    """The turns of one case."""

    def __init__(
        self, sides: list[Crew], backend: str, case: Case, plan: Plan, progress: Callable[[str], None]
    ) -> None:
        self._sides = sides
        self._backend = backend
        self._case = case
        self._plan = plan
        self._progress = progress
        self._counts: dict[Crew, int] = {}

    def result(self, loop: str) -> Result:
        self._counts = {crew: self._warm_up(crew) for crew in self._sides}
        turns = self._turns()
        if self._plan.retries and not is_steady(self._ratios(turns) or [1.0]):
            self._progress("not steady: once more")
            turns = self._turns()
        ours, others = turns[0], dict(zip([crew.name for crew in self._sides[1:]], turns[1:], strict=True))
        against: dict[str, Versus] = {name: versus(ours, other) for name, other in others.items()}
        raw = against.pop("raw", None)
        steady = is_steady([one.rate for one in ours]) if raw is None else raw.stable
        return Result(
            scenario=self._case.scenario, backend=self._backend, loop=loop,
            params=self._case.params(self._plan.seconds, self._plan.is_sealed),
            ours=figures(ours), raw=raw.figures if raw else None, ratio=raw.ratio if raw else None,
            spread=raw.spread if raw else None, pairs=len(ours), stable=steady,
            others=against, measured=self._measured(ours, raw.figures if raw else None),
        )  # fmt: skip

    def _measured(self, ours: list[Repetition], raw: Figures | None) -> dict[str, Number]:
        found: dict[str, Number] = {}
        if repaired := sum(one.repaired for one in ours):
            found["repaired"] = repaired
        if self._case.nodes > 1:
            found["unready"] = sum(one.unready for one in ours)
        if not self._case.is_paced:
            # All of it was told, or there would be no result.
            found["accepted"] = sum(one.published for one in ours)
            found["delivered"] = sum(one.received for one in ours)
            found["told"] = sum(one.lost for one in ours)
            if raw is not None:
                found["raw_untold"] = raw.lost
        return found

    def _ratios(self, turns: list[list[Repetition]]) -> list[float]:
        return ratios(zip(turns[0], turns[1], strict=True)) if len(turns) > 1 else []

    def _repeat(self, crew: Crew, count: int) -> Repetition:
        return crew.repetition(self._case.work(count))

    @property
    def _has_given_count(self) -> bool:
        return bool(self._case.per_second or self._case.pause)

    def _long_enough(self, crew: Crew) -> Repetition:
        """One that took at least half of what was planned; the warm-up may have met a busy machine."""
        for _ in range(DOUBLINGS):
            one = self._repeat(crew, self._counts[crew])
            if self._has_given_count or one.seconds >= self._plan.seconds / 2:
                return one
            self._counts[crew] *= 2
        return self._repeat(crew, self._counts[crew])

    def _warm_up(self, crew: Crew) -> int:
        """How many events a repetition takes; the repetitions that show it are thrown away."""
        case, seconds = self._case, self._plan.seconds
        if self._has_given_count:
            if case.pause:
                return max(LEAST_OF_SLOW, int(MOST_OF_SLOW * min(1.0, seconds)))
            count = int(case.per_second * seconds)
            self._repeat(crew, count)
            return count
        count = max(case.burst, min(PROBE, PROBE_BYTES // max(1, case.size)) // case.nodes)
        for length in (min(WARM, seconds), seconds, seconds * MARGIN):
            one = self._repeat(crew, count)
            if not one.received:
                raise HarnessError(f"{crew.name}: none of {count} events came")
            count = max(case.burst, int(one.received / one.wall * length / case.nodes / one.copies))
        return count

    def _turns(self) -> list[list[Repetition]]:
        """The repetitions of each side, in the order of `_sides`."""
        taken: dict[Crew, list[Repetition]] = {crew: [] for crew in self._sides}
        for number in range(self._plan.pairs):
            # Who goes first changes: what drifts during a turn then favours all alike.
            at = number % len(self._sides)
            for crew in (*self._sides[at:], *self._sides[:at]):
                taken[crew].append(self._long_enough(crew))
            turns = [taken[crew][-1:] for crew in self._sides]
            text = f": ratio {self._ratios(turns)[0]:.2f}" if len(turns) > 1 else ""
            self._progress(f"pair {number + 1}{text}")
        for crew in self._sides:
            self._judge(crew, taken[crew])
        return list(taken.values())

    def _judge(self, crew: Crew, repetitions: list[Repetition]) -> None:
        cores = self._plan.cores
        crowd = os.getloadavg()[0] / cores
        # Kafka's fetch waits by itself, who is slow sleeps on purpose, and where others use the cores a
        # server or the other end waits for one unseen.
        may_wait = (
            self._case.pause > 0
            or self._backend == "kafka"
            # Its publisher waits in the library when the reader's ring is full.
            or (self._backend == "zenoh" and crew.name == "raw")
            or (self._backend in SERVED and repetitions[0].cpu_server is None)
            or crowd > CROWDED
            or self._plan.seconds < SHORT
        )
        found = complaints(
            repetitions, cores=cores, seconds=self._plan.seconds, tells_loss=crew.tells_loss,
            per_second=self._case.per_second, may_wait=may_wait, crowd=crowd,
        )  # fmt: skip
        if found:
            raise HarnessError(f"{self._case.scenario} of {crew.name} cannot be true: {'; '.join(found)}")
