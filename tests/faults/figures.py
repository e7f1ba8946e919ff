"""What the histories of a run say in numbers, and what breaks the invariants whatever the fault was.

The invariants have the numbers of the fault lab's notes:

    I1 no own event          I2 in order, none twice     I3, I4 every event delivered or told
    I5 publish never waits   I6 bounded memory           I7 fresh events within 6 s of the end of the fault
    I8 close within 2 s, nothing left                    I9 few lines in the log
    I10 little CPU           I11 READY is true
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec

from tests.faults.history import (
    Closed,
    Delivered,
    Gapped,
    History,
    Line,
    Logged,
    Published,
    Sample,
    State,
    Verdict,
    recovered,
)

L = TypeVar("L", bound=Line)

MIB = 1 << 20
GROWTH = 32.0
CLOSE = 2.0
# Seconds of the publishing thread: `publish` itself does no more than this, however busy the machine is.
PUBLISH_CPU = 0.05
LINES_A_MINUTE = 10
# READY and deaf for longer than this is a lie; a second more than the core allows itself.
DEAF = 7.0


class Window(msgspec.Struct, frozen=True):
    """When the fault began, and when its last cause was gone (monotonic); `quiet`: spans without load."""

    began: float
    healed: float
    quiet: tuple[tuple[float, float], ...] = ()


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Counts are events over all ordered pairs of nodes; times are seconds; the worst of all nodes."""

    published: int = 0
    delivered: int = 0
    repaired: int = 0
    told: int = 0
    resynced: int = 0
    unexplained: int = 0
    # Until every node that noticed said so; until every node had a fresh event of every other.
    detected: float | None = None
    recovered: float | None = None
    publish_cpu: float | None = None
    publish_wall: float | None = None
    publish_usual: float | None = None
    close: float | None = None
    # MiB of memory gained; share of one CPU while disconnected and idle; lines a minute in the fault.
    growth: float | None = None
    cpu: float | None = None
    lines: float | None = None
    # The same without those that tell a change of state.
    other_lines: float | None = None
    # How often a node lost READY.
    rebuilds: int = 0


def figures(histories: Sequence[History], window: Window, verdict: Verdict, gone: frozenset[int]) -> Figures:
    """All figures of one run."""
    here = [history for history in histories if history.epoch not in gone]
    closed = [line for history in histories for line in _lines(history, Closed)]
    after = recovered(histories, window.healed, gone)
    noticed = [at for at in (left_ready(history, window.began) for history in here) if at is not None]
    return Figures(
        published=sum(history.published for history in histories),
        delivered=sum(pair.delivered for pair in verdict.pairs),
        repaired=sum(line.repaired for line in closed),
        told=sum(pair.told for pair in verdict.pairs),
        resynced=sum(pair.resynced for pair in verdict.pairs),
        unexplained=verdict.unexplained,
        detected=round(max(noticed) - window.began, 2) if noticed else None,
        recovered=None if after is None else round(after, 3),
        publish_cpu=_rounded([line.longest_cpu for line in closed]),
        publish_wall=_rounded([line.longest_wall for line in closed]),
        publish_usual=_rounded([line.usual_wall for line in closed]),
        close=_rounded([line.close for line in closed]),
        growth=_rounded([growth(history) for history in here]),
        cpu=_rounded([share for history in here for share in idle_cpu(history, window.quiet)]),
        lines=_rounded([warnings_a_minute(history, window) for history in here]),
        other_lines=_rounded([warnings_a_minute(history, window, but=" -> ") for history in here]),
        rebuilds=max((rebuilds(history) for history in here), default=0),
    )


def broken(
    histories: Sequence[History], verdict: Verdict, gone: frozenset[int], meant: str = "\0"
) -> list[str]:
    """The invariants that hold in every cell: I1 to I6, I8, I11, no error in the log but what is meant."""
    return [
        *verdict.wrong,
        *(f"{history.node}: {what}" for history in histories for what in _broken(history, gone, meant)),
        *deaf(histories, gone),
    ]


def _broken(history: History, gone: frozenset[int], meant: str) -> Iterator[str]:
    if any(line.epoch == history.epoch for line in _lines(history, Delivered)):
        yield "was given its own events (I1)"
    if (more := growth(history)) > GROWTH:
        yield f"grew by {more:.0f} MiB, allowed are {GROWTH:g} (I6)"
    for line in _lines(history, Logged):
        if meant in line.text:
            continue
        if line.level in ("ERROR", "CRITICAL") or line.trace or "never retrieved" in line.text:
            yield f"an error in its log: {line.text}"
        elif "ResourceWarning" in line.text:
            yield f"left something open (I8): {line.text}"
    ends = _lines(history, Closed)
    if not ends and history.epoch not in gone:
        yield "did not end by itself (I8)"
    for end in ends:
        if end.longest_cpu > PUBLISH_CPU:
            yield f"a publish took {end.longest_cpu:.3f} s of CPU (I5)"
        if end.close > CLOSE:
            yield f"closed in {end.close:.2f} s, allowed are {CLOSE:g} (I8)"
        if end.left:
            yield f"left behind (I8): {', '.join(end.left)}"


def deaf(histories: Sequence[History], gone: frozenset[int]) -> Iterator[str]:
    """Who was READY without a break while others published for `DEAF` seconds, and heard nothing (I11)."""
    here = [history for history in histories if history.epoch not in gone]
    for history in here:
        others = [other for other in here if other is not history]
        # That events are gone only their sender says: who is told so hears it.
        heard = sorted(
            line.at for line in history.lines
            if isinstance(line, Delivered) or (isinstance(line, Gapped) and line.reason == "gone")
        )  # fmt: skip
        for start, end in _silences(heard, history):
            busy = [
                other for other in others
                if _counts(other, Published, start, end) and _is_ready_through(other, start, end)
            ]  # fmt: skip
            if busy and _is_ready_through(history, start, end):
                yield f"{history.node} was READY and heard nothing for {end - start:.1f} s (I11)"


def _silences(heard: list[float], history: History) -> Iterator[tuple[float, float]]:
    # Whoever does not run hears nothing: its samples tell when it ran.
    ran = [line.at for line in _lines(history, Sample)]
    for start, end in pairwise(heard):
        steps = [start, *(at for at in ran if start < at < end), end]
        if end - start > DEAF and max(b - a for a, b in pairwise(steps)) < DEAF / 2:
            yield start, end


def _counts(history: History, kind: type[Line], start: float, end: float) -> bool:
    """Whether such lines are there all the time."""
    times = [line.at for line in _lines(history, kind) if start <= line.at <= end]
    return len(times) > DEAF and times[-1] - times[0] > DEAF - 1


def _is_ready_through(history: History, start: float, end: float) -> bool:
    before = "CONNECTING"
    for line in _lines(history, State):
        if line.at <= start:
            before = line.state
        elif line.at < end and line.state != "READY":
            return False
    return before == "READY"


def left_ready(history: History, moment: float) -> float | None:
    """When its link was first not READY after a moment."""
    return next(
        (line.at for line in _lines(history, State) if line.state != "READY" and line.at >= moment), None
    )


def rebuilds(history: History) -> int:
    """How often it was READY and had to connect anew."""
    states = [line.state for line in _lines(history, State)]
    return sum(
        after in ("BACKOFF", "CONNECTING") and before in ("READY", "DEGRADED")
        for before, after in pairwise(states)
    )


def growth(history: History) -> float:
    """MiB that its memory gained after its first seconds."""
    sizes = [line.rss for line in _lines(history, Sample)]
    return (max(sizes[2:]) - sizes[2]) / MIB if len(sizes) > 3 else 0.0


def idle_cpu(history: History, spans: Sequence[tuple[float, float]]) -> Iterator[float]:
    """The share of a CPU that it used in each span."""
    for start, end in spans:
        inside = [line for line in _lines(history, Sample) if start <= line.at <= end]
        if len(inside) > 4:
            yield (inside[-1].cpu - inside[0].cpu) / (inside[-1].at - inside[0].at)


def warnings_a_minute(history: History, window: Window, *, but: str = "\0") -> float:
    """Lines at WARNING and above in the fault for each begun minute of it, without those that have `but`."""
    count = sum(
        window.began <= line.at <= window.healed and but not in line.text for line in _lines(history, Logged)
    )
    return count / max(1.0, (window.healed - window.began) / 60)


def _lines(history: History, kind: type[L]) -> list[L]:
    return [line for line in history.lines if isinstance(line, kind)]


def _rounded(values: Sequence[float]) -> float | None:
    return round(max(values), 5) if values else None
