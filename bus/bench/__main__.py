"""The command: `python -m bus.bench [throughput|latency|all] ...`.

Progress goes to stderr, the result to stdout: a table, or with --json one line. Exit code 0: measured;
2: wrong usage; 3: the benchmark failed, or its figures cannot be true.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from bus.bench import machine, report, run, yardstick
from bus.bench.crew import HarnessError
from bus.bench.figures import DRIFT, Result, is_steady, way
from bus.bench.server import NoServer

if TYPE_CHECKING:
    from collections.abc import Sequence

# What is measured when nothing is said: what needs no server.
DEFAULT = ("memory", "zenoh")
# Argument -> what it needs besides the bus; the extra that installs it has the argument's name.
NEEDS = {"zenoh": "zenoh", "nats": "nats", "redis": "redis", "kafka": "aiokafka", "uvloop": "uvloop"}
WRONG = 3


def positive(text: str) -> int:
    """An argument that is at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is given; at least 1 is needed")
    return number


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(
        prog="python -m bus.bench",
        description="Throughput and latency of the bus beside the raw client, in the same run.",
        epilog="How to read the result: benchmarks/README.md",
    )
    made.add_argument("scenario", nargs="?", choices=(*run.CASES, "all"), default="all")
    made.add_argument("--backend", choices=run.BACKENDS, help=f"default: {' and '.join(DEFAULT)}")
    made.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    made.add_argument("--pairs", type=positive, help="measurements of each side; default 5")
    made.add_argument("--quick", action="store_true", help="short and rough: to see that it runs")
    made.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    asked = parser().parse_args(arguments)
    backends: tuple[str, ...] = (asked.backend,) if asked.backend else DEFAULT
    for name in (*backends, asked.loop):
        if name in NEEDS and find_spec(NEEDS[name]) is None:
            parser().error(
                f"{NEEDS[name]} is not installed: pip install 'coordinator-bus[{name}]', "
                "or choose another one"
            )
    scenarios = tuple(run.CASES) if asked.scenario == "all" else (asked.scenario,)
    plan = run.Plan(
        pairs=asked.pairs or (2 if asked.quick else 5),
        seconds=0.1 if asked.quick else 1.0,
        retries=not asked.quick,
        cores=machine.cores(),
    )
    try:
        about, results = measure(scenarios, backends, asked.loop, plan)
    except NoServer as error:
        parser().error(str(error))
    except HarnessError as error:
        say(f"no result: {error}")
        return WRONG
    print((report.as_json if asked.json else report.as_text)(about, results))
    return 0


def measure(
    scenarios: Sequence[str], backends: Sequence[str], loop: str, plan: run.Plan
) -> tuple[dict[str, object], list[Result]]:
    """Everything that was asked for, between two looks at the yardstick."""
    about = machine.describe()
    about["load_before"], ticks = machine.load(), machine.ticks()
    events = int(300_000 * min(1.0, plan.seconds))
    before = yardstick.measure(events)
    say(f"yardstick: {before:,.0f} events/s over plain TCP")
    results: list[Result] = []
    cases = [case for scenario in scenarios for case in run.CASES[scenario]]
    for backend in backends:
        say(f"{backend} on {loop}")
        for result in run.run(cases, backend, loop, plan, lambda text: say(f"  {text}")):
            say(f"  {result.scenario} {way(result)}: ratio {result.ratio:.2f}")
            results.append(result)
    after = yardstick.measure(events)
    about["load_after"] = machine.load()
    about["stolen_percent"] = machine.stolen(ticks, machine.ticks())
    about["yardstick"] = [round(before), round(after)]
    if not is_steady((before, after), DRIFT):
        say(
            f"not stable: the yardstick went from {before:,.0f} to {after:,.0f} events/s; "
            "something else used the machine, measure again when it is idle"
        )
        results = [msgspec.structs.replace(result, stable=False) for result in results]
    return about, results


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
