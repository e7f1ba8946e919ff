"""What cannot be true: a harness that measured wrong must not report. Pure; one sentence per complaint.

Each check stands for a way in which a benchmark has fooled somebody: a clock in other units, a sleep in
the measured path, a cached result, events that were counted but were not the right ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.bench.figures import Repetition

TOLERANCE = 1.05
BUSY = 0.6
"""Cores that an unpaced repetition keeps busy, or waits for, at least."""
CROWDED = 1.5
"""So many want each core: who does nothing may wait for one, and what comes may come in a heap."""
SLACK = 0.25
"""Seconds that a busy machine may add to a repetition, in CPU of what is around it or in time."""


def complaints(
    repetitions: Sequence[Repetition], *, cores: int, seconds: float, tells_loss: bool,
    per_second: int = 0, may_wait: bool = False, crowd: float = 1.0,
) -> list[str]:  # fmt: skip
    """Everything that is wrong with the repetitions of one side; `per_second` 0 = unpaced.

    `may_wait`: the processes may wait for a server whose CPU is not known, or are slow on purpose.
    `crowd`: how many want each core; who waits for one is late.
    """
    found: list[str] = []
    for number, one in enumerate(repetitions, 1):
        found += [
            f"repetition {number}: {text}"
            for text in (
                *counted(one, tells_loss),
                # Paced events have their own check, and may come all at once when a core is free again.
                *_timed(one, cores, 0.0 if per_second or crowd > CROWDED else seconds),
                *(
                    _kept_pace(one, per_second, SLACK * max(1.0, crowd))
                    if per_second
                    else []
                    if may_wait
                    else _was_busy(one)
                ),
            )
        ]
    rates = {round(one.rate, 3) for one in repetitions}
    if len(repetitions) > 1 and len(rates) == 1:
        found.append(f"all {len(repetitions)} repetitions have the same rate {rates.pop():g}/s")
    return found


def counted(one: Repetition, tells_loss: bool) -> list[str]:
    """What is wrong with the numbers of events."""
    if one.received > one.expected:
        return [f"{one.received} events received of {one.expected} published: some came twice"]
    if tells_loss and one.received + one.lost != one.expected:
        return [
            f"{one.expected} published, but {one.received} received and {one.lost} told lost: "
            "the rest was lost untold"
        ]
    if one.received == one.expected and one.checksum_received != one.checksum_sent:
        return [
            f"the checksum of what came is {one.checksum_received}, of what was sent "
            f"{one.checksum_sent}: other events came"
        ]
    return []


def _timed(one: Repetition, cores: int, seconds: float) -> list[str]:
    """`seconds` 0: how long it took says nothing."""
    found: list[str] = []
    if one.seconds < seconds / 4:
        found.append(f"took {one.seconds:.3f} s; {seconds:g} s were planned")
    cpu = one.cpu + (one.cpu_server or 0.0)
    if cpu > one.wall * cores * TOLERANCE + SLACK:
        found.append(f"{cpu:.3f} s of CPU in {one.wall:.3f} s on {cores} cores: a clock is wrong")
    if one.p50_us is not None and one.p99_us is not None and not 0 < one.p50_us <= one.p99_us:
        found.append(f"delays of {one.p50_us:g} us (p50) and {one.p99_us:g} us (p99)")
    return found


def _was_busy(one: Repetition) -> list[str]:
    share = (one.cpu + (one.cpu_server or 0.0) + one.waited) / one.wall if one.wall > 0 else 0.0
    if share >= BUSY:
        return []
    return [f"kept {share:.2f} cores busy; below {BUSY} something sleeps"]


def _kept_pace(one: Repetition, per_second: int, slack: float) -> list[str]:
    planned = one.published / per_second
    if abs(one.seconds - planned) <= planned * (TOLERANCE - 1) + slack:
        return []
    return [f"came within {one.seconds:.3f} s instead of {planned:.3f} s"]
