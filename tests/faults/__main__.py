"""The fault campaign: `python -m tests.faults [--again] [--list] [--workers N] [word ...]`.

It runs the cells of the matrix, and a broker's death twenty times on each system. Each finished cell is one
line of results.jsonl beside this file, and is not run again: stop it when you like and go on later. Words
choose the cells whose names have all of them ("17 nats", "kill kafka"). A cell that fails is run again next
time; its histories and logs stay in the folder that is told. Exit code 1 when a chosen one failed.

`--document` writes docs/faults.md from what is there.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from bus.testing.brokers import start_own
from tests.faults import document, matrix
from tests.faults.cells import Cell, cells, run
from tests.faults.matrix import LabCell, ProvenCell
from tests.faults.results import RESULTS, Result, append, passed
from tests.faults.run import NOT_RUN, apart, proven
from tests.faults.wires import missing


class Job(NamedTuple):
    """One cell, and how it is run in a folder."""

    name: str
    work: Callable[[Path], Result]


def jobs(runs: int) -> Iterator[Job]:
    """Everything that can be run: the matrix, then the repeated cells."""
    for name, _, cell in matrix.cells():
        match cell:
            case LabCell():
                yield Job(name, lambda folder, name=name, cell=cell: apart(name, cell, folder))  # type: ignore[misc]
            case ProvenCell():
                yield Job(name, lambda folder, name=name, cell=cell: proven(name, cell, folder))  # type: ignore[misc]
            case _:
                pass
    for again in cells(runs):
        yield Job(str(again), lambda folder, again=again: _repeat(again, folder))  # type: ignore[misc]


def chosen(runs: int, words: Sequence[str]) -> list[Job]:
    """The cells whose names have all the words; a number is that of a case."""
    return [job for job in jobs(runs) if all(_has(job.name, word) for word in words)]


def _has(name: str, word: str) -> bool:
    parts = name.split()
    return parts[0] == word if word.isdigit() else word in parts


def _repeat(cell: Cell, folder: Path) -> Result:
    broker = start_own(cell.kind, folder)
    try:
        return run(cell, broker, folder)
    finally:
        broker.stop()


def _run(job: Job, results: Path) -> bool:
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="bus-faults-"))
    result = job.work(folder)
    if result.by == NOT_RUN:
        shutil.rmtree(folder)
        sys.stdout.write(f"{job.name}: NOT RUN, {result.problems[0]}\n")
        return True
    append(result, results)
    if result.problems:
        what = "\n    ".join(["FAILED", *result.problems, f"see {folder}"])
    else:
        shutil.rmtree(folder)
        what = f"{result.delivered} delivered, {result.repaired} repaired, back after {result.recovered} s"
    sys.stdout.write(f"{job.name}: {what} ({time.monotonic() - started:.0f} s)\n")
    sys.stdout.flush()
    return not result.problems


def main() -> int:
    """Run what is chosen and not done."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Fault campaign, resumable.")
    parser.add_argument("--runs", type=int, default=20, help="how often the repeated cells (default 20)")
    parser.add_argument("--workers", type=int, default=1, help="cells at a time (default 1)")
    parser.add_argument("--again", action="store_true", help="also those that passed before")
    parser.add_argument("--list", action="store_true", help="only tell what is to be done")
    parser.add_argument("--document", action="store_true", help="only write docs/faults.md")
    parser.add_argument("--results", type=Path, default=RESULTS, help="another file of results")
    parser.add_argument("words", nargs="*", help="words of the names of the cells to run")
    options = parser.parse_args()
    if options.document:
        document.write(options.results)
        return 0
    done = set[str]() if options.again else passed(options.results)
    to_do = [job for job in chosen(options.runs, options.words) if job.name not in done]
    if options.list:
        sys.stdout.writelines(f"{job.name}\n" for job in to_do)
        return 0
    if lack := missing():
        sys.stderr.write(f"WITHOUT NETWORK NAMESPACES, which need {lack}: cells that need them are not run\n")
    with ThreadPoolExecutor(options.workers) as pool:
        good = list(pool.map(_run, to_do, [options.results] * len(to_do)))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
