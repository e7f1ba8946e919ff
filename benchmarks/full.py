"""The full grid: `python -m benchmarks.full [WORD ...]`, or `make bench-full ARGS="nats latency"`.

Goes on where it was stopped: a cell whose result is in `benchmarks/results/` is not measured again, unless
--again. At the end all results are joined in `results.json`, drawn as SVG, and compared with the goals.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import goals
from benchmarks.compare import Report, name_of, read
from bus.bench import plot, report
from bus.bench.report import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.bench.figures import Result

HERE = Path(__file__).parent
RESULTS = HERE / "results"
# Where the documentation shows them, too.
CHARTS = HERE.parent / "docs" / "images" / "benchmarks"
SERVED = ("nats", "redis", "valkey", "kafka")


class Cell(msgspec.Struct, frozen=True):
    """One run of the benchmark: its name, which is that of its file, and its arguments."""

    name: str
    arguments: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where its result is."""
        return RESULTS / f"{self.name}.json"


def cell(scenario: str, backend: str, *more: str) -> Cell:
    """A cell, named after what distinguishes it."""
    words = [word.lstrip("-").replace(",", "-") for word in more if not word.replace(".", "").isdigit()]
    marks = [word for word in words if word in ("sealed", "uvloop", "peers")]
    return Cell("-".join([scenario, backend, *marks]), (scenario, "--backend", backend, *more))


# All of it takes about a quarter of an hour on two cores that do nothing else.
USUAL = ("--seconds", "0.7")
FEW = ("--seconds", "0.5", "--pairs", "3")
GRID = (
    cell("throughput", "memory", *USUAL),
    *(
        cell("throughput", backend, "--compare", "raw,tcp", *USUAL)
        for backend in ("zenoh", "nats", "redis", "valkey")
    ),
    cell("throughput", "kafka", *USUAL),
    *(cell("latency", backend) for backend in ("memory", "zenoh", "nats", "redis", "valkey", "kafka")),
    *(cell("nodes", backend, *FEW) for backend in ("zenoh", "nats", "redis")),
    cell("fanout", "memory", *FEW),
    *(cell("size", backend, *FEW) for backend in ("nats", "redis")),
    *(cell("recovery", backend, "--pairs", "2") for backend in SERVED),
    *(cell("slow-consumer", backend, *FEW) for backend in ("memory", "nats")),
    *(cell("idle", backend, "--seconds", "0.6") for backend in ("zenoh", "nats", "redis")),
    cell("memory", "memory"),
    cell("growth", "memory"),
    *(cell("throughput", backend, "--sealed", "--compare", "raw", *FEW) for backend in ("nats", "redis")),
    *(cell("throughput", backend, "--compare", "peers", *FEW) for backend in ("nats", "redis", "kafka")),
)
"""What is measured, in this order. More with --more."""

MORE = (
    *(cell("throughput", backend, "--loop", "uvloop") for backend in ("memory", "zenoh", "nats", "redis")),
    *(cell("latency", backend, "--loop", "uvloop") for backend in ("memory", "zenoh", "nats", "redis")),
    *(cell("fanout", backend, *FEW) for backend in ("zenoh", "nats", "redis")),
    *(cell("size", backend, *FEW) for backend in ("memory", "zenoh", "kafka")),
)
"""What takes as long again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, then join; the exit code is 1 when a cell failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full", description=__doc__)
    parser.add_argument("words", nargs="*", help="only cells whose names have all of these words")
    parser.add_argument("--again", action="store_true", help="also what was measured before")
    parser.add_argument("--more", action="store_true", help="the longer grid: uvloop, more systems")
    parser.add_argument("--list", action="store_true", help="only say what would be measured")
    parser.add_argument(
        "--join", action="store_true", help="measure nothing, only join and draw what there is"
    )
    asked = parser.parse_args(arguments)
    wanted = [
        one for one in (*GRID, *(MORE if asked.more else ()))
        if all(word in one.name.split("-") for word in asked.words) and (asked.again or not one.path.exists())
    ]  # fmt: skip
    if asked.list:
        for one in wanted:
            print(one.name, *one.arguments)
        return 0
    failed = (
        []
        if asked.join
        else [one.name for number, one in enumerate(wanted, 1) if not run(one, number, len(wanted))]
    )
    join()
    if failed:
        print(f"failed: {', '.join(failed)}; the others are kept, run it again for these", file=sys.stderr)
    return int(bool(failed))


def run(one: Cell, number: int, count: int) -> bool:
    """Measure one cell and keep its result; False when there is none."""
    began = time.monotonic()
    print(f"[{number}/{count}] {one.name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "bus.bench", *one.arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{one.name}: exit code {done.returncode}", file=sys.stderr)
        return False
    RESULTS.mkdir(parents=True, exist_ok=True)
    # Written aside and moved: an interrupted run must not leave half a result.
    (half := one.path.with_suffix(".new")).write_text(done.stdout.splitlines()[-1] + "\n")
    half.rename(one.path)
    print(f"[{number}/{count}] {one.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return True


def join() -> None:
    """All results as one report, its charts, and the table of the goals."""
    known = [one for one in (*GRID, *MORE) if one.path.exists()]
    if not known:
        print("there are no results yet", file=sys.stderr)
        return
    reports: list[Report] = [read(one.path) for one in known]
    machine: dict[str, Any] = reports[-1].machine
    results = merged([result for one in reports for result in one.results])
    text = report.as_json({**machine, "runs": [one.name for one in known]}, results)
    # Indented: a change of one figure is a change of one line.
    (HERE / "results.json").write_text(msgspec.json.format(text, indent=1) + "\n")
    plain = [result for result in results if result.loop == "asyncio" and not result.params.get("sealed")]
    plot.write(CHARTS, machine, plain)
    (HERE / "RESULTS.md").write_text(markdown(Report(VERSION, machine, results)))


def merged(results: Sequence[Result]) -> list[Result]:
    """One row for each name: a later one of the same name only adds its opponents to the first."""
    found: dict[str, Result] = {}
    for result in results:
        if (first := found.get(name_of(result))) is not None:
            result = msgspec.structs.replace(first, others={**first.others, **result.others})
        found[name_of(result)] = result
    return list(found.values())


def markdown(joined: Report) -> str:
    """The tables: goals, and every row."""
    lines = ["# Results", "", *("    " + line for line in report.header(joined.machine)), ""]
    lines += [
        f"CPU {joined.machine.get('cpu', 'unknown')}, steal {joined.machine.get('stolen_percent', 0)} %.",
        "",
    ]
    shaky = sum(not one.stable for one in joined.results)
    if shaky:
        lines += [
            f"**{shaky} of {len(joined.results)} rows are not stable**: something else used the machine.",
            "Do not quote them; measure again when it is idle (`make bench-full ARGS=--again`).",
            "",
        ]
    lines += [
        "Written by `make bench-full`; how to read it: [README.md](README.md).",
        "",
        "## Floors and goals",
        "",
    ]
    lines += [*goals.table(joined.results), "", "## Every row", "", "```"]
    lines += [report.as_text(joined.machine, joined.results), "```", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
