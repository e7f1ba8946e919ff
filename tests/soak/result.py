"""What one long run found, and the limits that it is judged by: one JSON line in `results.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from tests.faults.figures import broken, idle_cpu
from tests.faults.history import Closed, History, Logged, Sample, judge, recovered
from tests.faults.nemesis import Step

RESULTS = Path(__file__).with_name("results.jsonl")
MIB = 1 << 20

GROWTH = 32.0
IDLE, AWAY = 0.01, 0.03
LINES = 10
RECOVER = 6.0
MINUTE = 60.0


class Run(NamedTuple):
    """When what happened (monotonic): the nemesis' pairs of faults, and the spans without load."""

    pairs: Sequence[tuple[float, float]]
    # Connected, before the nemesis; without a broker; connected again, after it.
    before: tuple[float, float]
    away: tuple[float, float] | None
    after: tuple[float, float]


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`system` for so many seconds under the nemesis of `seed`; passed when there are no problems."""

    system: str
    nodes: int
    seconds: float
    seed: int
    problems: tuple[str, ...] = ()
    published: int = 0
    delivered: int = 0
    repaired: int = 0
    told: int = 0
    resynced: int = 0
    unexplained: int = 0
    faults: int = 0
    # Seconds until fresh events came both ways, after the slowest pair of faults.
    recovered: float | None = None
    # The worst of all nodes: MiB; how many more; share of one CPU; lines in its busiest minute.
    growth: float = 0.0
    descriptors: int = 0
    tasks: int = 0
    threads: int = 0
    idle: float | None = None
    away: float | None = None
    lines: int = 0
    longest_publish: float = 0.0
    # How many processes wanted a CPU over the last minute.
    busy: float = 0.0
    losses: tuple[str, ...] = ()


def judged(empty: Result, histories: Sequence[History], run: Run, share: int = 1) -> Result:
    """The result by the histories; `share`: so many nodes are in each process."""
    verdict = judge(histories)
    slowest, late = _recovery(histories, run.pairs)
    closed = [line for history in histories for line in history.lines if isinstance(line, Closed)]
    found = msgspec.structs.replace(
        empty,
        published=sum(history.published for history in histories),
        delivered=sum(pair.delivered for pair in verdict.pairs),
        repaired=sum(line.repaired for line in closed),
        told=sum(pair.told for pair in verdict.pairs),
        resynced=sum(pair.resynced for pair in verdict.pairs),
        unexplained=verdict.unexplained,
        faults=2 * len(run.pairs),
        recovered=slowest,
        growth=round(max(growth(history, run) for history in histories), 1),
        descriptors=max(more(history, run, "fds") for history in histories),
        tasks=max(more(history, run, "tasks") for history in histories),
        threads=max(more(history, run, "threads") for history in histories),
        idle=_cpu(histories, [run.before, run.after], share),
        away=None if run.away is None else _cpu(histories, [run.away], share),
        lines=ceil(max(busiest_minute(history) for history in histories) / share),
        longest_publish=round(max((line.longest_wall for line in closed), default=0.0), 4),
        losses=verdict.losses[:20],
    )
    problems = [*broken(histories, verdict, frozenset()), *late, *_limits(found)]
    return msgspec.structs.replace(found, problems=(*empty.problems, *problems))


def _limits(found: Result) -> Iterator[str]:
    if found.growth > GROWTH:
        yield f"memory grew by {found.growth} MiB, allowed are {GROWTH:g}"
    for what in ("descriptors", "tasks", "threads"):
        if (count := getattr(found, what)) > 0:
            yield f"{count} more {what} than before the faults"
    if found.idle is not None and found.idle > IDLE:
        yield f"an idle node used {found.idle:.1%} of a CPU, allowed is {IDLE:.0%}"
    if found.away is not None and found.away > AWAY:
        yield f"a disconnected node used {found.away:.1%} of a CPU, allowed are {AWAY:.0%}"
    if found.lines > LINES:
        yield f"{found.lines} lines of the log in one minute, allowed are {LINES}"


def _recovery(
    histories: Sequence[History], pairs: Sequence[tuple[float, float]]
) -> tuple[float | None, list[str]]:
    """The slowest one, and what was too slow though there was time for it."""
    slowest: float | None = None
    late: list[str] = []
    ends = [*(began for began, _ in pairs[1:]), float("inf")]
    for (_, healed), next_began in zip(pairs, ends, strict=True):
        took = recovered(histories, healed)
        if took is not None and healed + took <= next_began:
            slowest = max(slowest or 0.0, round(took, 3))
        if (took is None or took > RECOVER) and next_began - healed > RECOVER:
            late.append(f"recovered {took} s after faults, allowed are {RECOVER:g}")
    return slowest, late


def _samples(history: History, span: tuple[float, float]) -> list[Sample]:
    return [line for line in history.lines if isinstance(line, Sample) and span[0] <= line.at <= span[1]]


def growth(history: History, run: Run) -> float:
    """MiB between the calm before and the calm after."""
    before, after = _samples(history, run.before), _samples(history, run.after)
    if not before or not after:
        return 0.0
    return (median(one.rss for one in after) - median(one.rss for one in before)) / MIB


def more(history: History, run: Run, what: str) -> int:
    """How many more there are in the calm after than in the calm before."""
    before, after = _samples(history, run.before), _samples(history, run.after)
    if not before or not after:
        return 0
    return int(min(getattr(one, what) for one in after) - max(getattr(one, what) for one in before))


def busiest_minute(history: History) -> int:
    """Lines of the log at WARNING and above in any minute."""
    times = [line.at for line in history.lines if isinstance(line, Logged)]
    return max((sum(at <= other < at + MINUTE for other in times) for at in times), default=0)


def _cpu(histories: Sequence[History], spans: Sequence[tuple[float, float]], share: int) -> float | None:
    # Of several looks at a node the best one: beside busy neighbours the same work takes more of a CPU.
    shares = [min(found) for history in histories if (found := list(idle_cpu(history, spans)))]
    return round(max(shares) / share, 4) if shares else None


def pairs_of(moments: Sequence[tuple[float, bool]]) -> list[tuple[float, float]]:
    """From (time, whether one begins) of single faults to the spans in which there was any."""
    spans: list[tuple[float, float]] = []
    active, began = 0, 0.0
    for at, begins in sorted(moments):
        if begins and not active:
            began = at
        active += 1 if begins else -1
        if not active:
            spans.append((began, at))
    return spans


def results(path: Path = RESULTS) -> list[Result]:
    """All lines."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Result) for line in path.read_bytes().splitlines()]


def append(result: Result, path: Path = RESULTS) -> None:
    """One more line."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(result) + b"\n")


def listing(steps: Sequence[Step]) -> str:
    """The schedule, for people."""
    return "\n".join(f"    {step}" for step in steps)
