"""The long fault runs: `python -m tests.faults [--runs 20] [--again] [--list] [--results FILE] [word ...]`.

Each finished cell is one line of results.jsonl beside this file, and is not run again: stop it when you like
and go on later. Words choose the cells whose names have all of them ("nats kill"). A cell that fails is run
again next time; its histories and logs stay in the folder that is told. Exit code 1 when a chosen one failed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bus.testing.brokers import start_own
from tests.faults.cells import Cell, Result, cells, run

RESULTS = Path(__file__).with_name("results.jsonl")


def passed(results: Path) -> set[str]:
    """The names of the cells that were run and had no problem."""
    if not results.exists():
        return set()
    lines = (msgspec.json.decode(line, type=Result) for line in results.read_bytes().splitlines())
    last = {result.cell: result for result in lines}
    return {name for name, result in last.items() if not result.problems}


def chosen(runs: int, words: Sequence[str]) -> list[Cell]:
    """The cells whose names have all the words."""
    return [cell for cell in cells(runs) if all(word in str(cell).split() for word in words)]


def run_apart(cell: Cell) -> tuple[Result, Path]:
    """One cell with a broker of its own, and the folder with its histories."""
    folder = Path(tempfile.mkdtemp(prefix="bus-faults-"))
    broker = start_own(cell.kind, folder)
    try:
        return run(cell, broker, folder), folder
    finally:
        broker.stop()


def main() -> int:
    """Run what is chosen and not done."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Long fault runs, resumable.")
    parser.add_argument("--runs", type=int, default=20, help="how often the repeated cells (default 20)")
    parser.add_argument(
        "--again", action="store_true", help="run the chosen cells also when they passed before"
    )
    parser.add_argument("--list", action="store_true", help="only tell what is to be done")
    parser.add_argument("--results", type=Path, default=RESULTS, help="another file of results")
    parser.add_argument("words", nargs="*", help="words of the names of the cells to run")
    options = parser.parse_args()
    done = set[str]() if options.again else passed(options.results)
    to_do = [cell for cell in chosen(options.runs, options.words) if str(cell) not in done]
    failed = 0
    for number, cell in enumerate(to_do, start=1):
        if options.list:
            sys.stdout.write(f"{cell}\n")
            continue
        started = time.monotonic()
        result, folder = run_apart(cell)
        with options.results.open("ab") as file:
            file.write(msgspec.json.encode(result) + b"\n")
        took = f"{time.monotonic() - started:.0f} s"
        if result.problems:
            failed += 1
            what = "\n    ".join(["FAILED", *result.problems, f"see {folder}"])
        else:
            shutil.rmtree(folder)
            what = (
                f"{result.delivered} delivered, {result.repaired} repaired, fresh after {result.recovered} s"
            )
        sys.stdout.write(f"[{number}/{len(to_do)}] {cell}: {what} ({took})\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
