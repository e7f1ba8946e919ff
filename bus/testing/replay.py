"""Replay random seeds of the simulation: `python -m bus.testing.replay SEED [SEED ...]`.

Prints the schedule, what every node was told of losses and membership, and what went wrong, if anything.
The exit code is 1 when a promise was broken. A seed means the same as long as nothing is changed in
`bus.protocol` and `bus.testing`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from bus.testing.schedule import Schedule
from bus.testing.truth import Violation


def replay(seed: int) -> tuple[list[str], bool]:
    """The report of one seed, line by line, and whether all promises were kept."""
    schedule = Schedule(seed)
    net = schedule.network()
    try:
        schedule.play(net)
        verdict = f"all promises kept; settled after {net.now:.1f} s"
    except Violation as violation:
        verdict = f"BROKEN PROMISE: {violation}"
    lines = str(schedule).splitlines()
    for node in net.nodes.values():
        lines.append(f"{node.name} was told:")
        lines += [f"  {item}" for item in (*node.changes, *node.losses())]
    return [*lines, verdict], not verdict.startswith("BROKEN")


def main(arguments: Sequence[str]) -> int:
    """Replay all of them; returns the exit code."""
    if not arguments or not all(argument.isdecimal() for argument in arguments):
        sys.stderr.write("usage: python -m bus.testing.replay SEED [SEED ...]   (seeds are whole numbers)\n")
        return 2
    reports = [replay(int(argument)) for argument in arguments]
    sys.stdout.writelines(_lines(reports))
    return 0 if all(kept for _, kept in reports) else 1


def _lines(reports: list[tuple[list[str], bool]]) -> Iterator[str]:
    for lines, _ in reports:
        yield from (f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
