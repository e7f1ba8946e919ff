"""docs/faults.md, made from the matrix and the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.faults import matrix
from tests.faults.matrix import Cell, LabCell, NotRun, ProvenCell, Reason
from tests.faults.results import RESULTS, Result, results

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
_NAMES = {
    "memory": "Memory",
    "nats": "NATS",
    "kafka": "Kafka",
    "redis": "Redis",
    "redis-cluster": "Redis Cluster",
    "redis-sentinel": "Redis Sentinel",
    "zenoh": "Zenoh",
}
_HEAD = (
    "case", "backend", "detected after", "recovered after", "repaired", "told", "unexplained",
    "longest publish, CPU", "wall", "close()", "how",
)  # fmt: skip
_INTRODUCTION = """\
# Faults

<!-- Written by `python -m tests.faults --document` from tests/faults/matrix and results.jsonl. -->

What was done to the bus, and what came of it: 80 cases, one row for each case and backend, and below some a
second table, of the same fault in another shape. `make faults` runs what has no result yet, one cell after
the other, and can be stopped at any time; `make faults ARGS="17 nats"` runs the cells whose names have these
words.

**How a cell is run.** In the lab, three node processes publish 500 events a second each, hear each other,
and write what they published, received and were told into files. The broker and each node have a network
namespace of their own, and the fault is real: signals for processes, dropped packets, a link that is down,
a shaped queue; a proxy where bytes have to be late, sliced or cut. Afterwards a judge who knows no bus
reads the files: no own event, everything in order and once, every event delivered or told, `publish` never
waits, memory bounded, `close()` within 2 s and nothing left, READY never shown by a node that is deaf. A
cell that breaks one of these, or what its case demands beyond them, has failed. Other cells are tests of
the suite.

**How to read a row.** *Detected*: seconds until the last node that noticed left READY; "-": nobody had to.
*Recovered*: seconds after the end of the fault until every node had an event of every other that was
published after it. *Repaired*, *told*, *unexplained*: events that came by a repeat, that a `Gap` or
`Resync` told lost, and that are missing without a word, over all pairs of nodes. *Longest publish*: the
longest of all calls of `publish`, by the clock of its thread and by the one on the wall (of a machine that
did other things as well); what 999 of 1,000 calls stayed under stands in the last column. *close()*:
seconds of the slowest one. "-" in a row that is a test: it does not measure that.

A cell that was not run says why. There are four reasons: it needs root, it needs a missing kernel feature,
its mechanism is absent in this backend, or the same mechanism is shown in another cell.
"""


def text(path: Path = RESULTS) -> str:
    """The document."""
    found = results(path)
    parts = [_INTRODUCTION, *_summary(found)]
    for number, case in matrix.cases().items():
        parts.append(f"\n## {number}. {case.title}\n\nAcceptable: {case.accepted}.\n\n")
        parts += _table(number, "", case.cells, found)
        for one in case.variants:
            parts.append(f"\n`{one.word}`: {one.title}. Acceptable: {one.accepted}.\n\n")
            parts += _table(number, f" {one.word}", one.cells, found)
    return "".join(parts)


def write(path: Path = RESULTS) -> None:
    """Write the document."""
    DOCUMENT.write_text(text(path))


def _summary(found: dict[str, Result]) -> Iterator[str]:
    names = [(name, cell) for name, _, cell in matrix.cells()]
    ran = [found[name] for name, cell in names if not isinstance(cell, NotRun) and name in found]
    unexplained = sum(result.unexplained for result in ran)
    lab = [result for result in ran if result.by != "test"]
    yield (
        f"\n{len(names)} cells: {len(ran)} ran ({len(lab)} in the lab, {len(ran) - len(lab)} as tests), "
        f"{sum(isinstance(cell, NotRun) for _, cell in names)} were not run for one of the reasons. "
        f"{sum(result.delivered for result in lab):,} events were delivered in the lab, "
        f"{sum(result.repaired for result in lab):,} of them by repair; unexplained: {unexplained}.\n"
    )
    again = [result for name, result in found.items() if name not in dict(names) and not result.problems]
    if again:
        yield (
            f"\nBeside the matrix, brokers died, froze and failed over {len(again)} times, "
            "the shortest death twenty times on each system: "
            f"{sum(result.delivered for result in again):,} events delivered, "
            f"{sum(result.repaired for result in again):,} of them by repair, "
            f"{sum(result.told for result in again)} told lost, "
            f"{sum(result.unexplained for result in again)} unexplained.\n"
        )


def _table(number: int, word: str, cells: Mapping[str, Cell], found: dict[str, Result]) -> Iterator[str]:
    yield f"| {' | '.join(_HEAD)} |\n|{' --- |' * len(_HEAD)}\n"
    for letter, system in matrix.SYSTEMS.items():
        if letter in cells:
            yield _row(number, word, system, cells[letter], found)


def _row(number: int, word: str, system: str, cell: Cell, found: dict[str, Result]) -> str:
    name = f"{number} {system}{word}"
    match cell:
        case NotRun():
            how = _reason(cell)
            shown = ["-"] * 8
        case LabCell() | ProvenCell():
            result = found.get(name)
            shown = ["-"] * 8 if result is None else _figures(result)
            how = "has not run yet" if result is None else _how(cell, result)
    cells = [f"{number}{word}", _NAMES[system], *shown, how]
    return f"| {' | '.join(cells)} |\n"


def _reason(cell: NotRun) -> str:
    if cell.reason is Reason.SAME:
        number, _, system = cell.detail.partition(" ")
        return f"{cell.reason.value} {number} {_NAMES[system]}"
    return f"{cell.reason.value}: {cell.detail}" if cell.detail else cell.reason.value


def _how(cell: LabCell | ProvenCell, result: Result) -> str:
    if result.problems:
        return f"FAILED: {' '.join(result.problems[0].split())[:100]}".replace("|", "/")
    if isinstance(cell, LabCell):
        usual = _milliseconds(result.publish_usual)
        return f"{result.by} `{cell.scenario}`, publish p99.9 {usual}"
    names = dict.fromkeys(node.partition("::")[0].removeprefix("tests/") for node in cell.nodes)
    note = f"; {result.note}" if result.note else ""
    return f"test in {', '.join(f'`{name}`' for name in names)}{note}".replace("|", "/")


def _figures(result: Result) -> list[str]:
    # A test that measures nothing shows by its passing that nothing is missing.
    is_counted = result.by != "test" or result.repaired or result.told
    return [
        _seconds(result.detected),
        _seconds(result.recovered),
        str(result.repaired) if is_counted else "-",
        str(result.told + result.resynced) if is_counted else "-",
        str(result.unexplained),
        _milliseconds(result.publish_cpu),
        _milliseconds(result.publish_wall),
        _seconds(result.close),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.1f} ms"
