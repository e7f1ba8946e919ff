"""What came out of the cells: one JSON line each in `results.jsonl`; the last one of a cell counts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.faults.figures import Figures

RESULTS = Path(__file__).with_name("results.jsonl")


class Result(Figures, frozen=True, kw_only=True, omit_defaults=True):
    """One run of one cell; it passed when there are no problems."""

    cell: str
    problems: tuple[str, ...] = ()
    # Losses that were told, in words: the first ones.
    losses: tuple[str, ...] = ()
    # "lab", the lab without network namespaces ("plain lab"), or "test".
    by: str = "lab"
    # How long it took, and how busy the machine was.
    seconds: float = 0.0
    busy: float = 0.0
    note: str = ""


def results(path: Path = RESULTS) -> dict[str, Result]:
    """The last result of each cell."""
    if not path.exists():
        return {}
    lines = (msgspec.json.decode(line, type=Result) for line in path.read_bytes().splitlines())
    return {result.cell: result for result in lines}


def passed(path: Path = RESULTS) -> set[str]:
    """The names of the cells that were run and had no problem."""
    return {name for name, result in results(path).items() if not result.problems}


def append(result: Result, path: Path = RESULTS) -> None:
    """One more line."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(result) + b"\n")
