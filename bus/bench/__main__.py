"""The command: `python -m bus.bench [SCENARIO ...] [--backend ...] [--compare ...]`.

Progress goes to stderr, the result to stdout: a table, or with --json one line. Exit code 0: measured;
2: wrong usage; 3: the benchmark failed, or its figures cannot be true.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bus.bench import machine, plot, report, yardstick
from bus.bench.alone import alone
from bus.bench.cases import ALONE, APART, BACKENDS, BROKERS, PAIRED, SCENARIOS
from bus.bench.crew import HarnessError
from bus.bench.figures import DRIFT, Result, is_steady, way
from bus.bench.idle import idle
from bus.bench.peer_environment import NoPeers, peers
from bus.bench.progress import Progress
from bus.bench.recovery import recovery
from bus.bench.run import Plan, run, takes_part
from bus.bench.server import SERVED, NoServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What is measured when nothing is said: the two that everybody asks for, on what needs no server.
DEFAULT_SCENARIOS = ("throughput", "latency")
DEFAULT_BACKENDS = ("memory", "zenoh")
OPPONENTS = ("raw", "tcp", "peers")
# Argument -> what it needs besides the bus: the module, and how it is installed.
NEEDS = {
    "zenoh": ("zenoh", "coordinator-bus[zenoh]"), "nats": ("nats", "coordinator-bus[nats]"),
    # The raw client of the benchmark is no dependency of the bus.
    "redis": ("redis", "coordinator-bus[redis]' 'redis>=8.1,<8.2"),
    "valkey": ("redis", "coordinator-bus[redis]' 'redis>=8.1,<8.2"),
    "kafka": ("aiokafka", "coordinator-bus[kafka]"), "uvloop": ("uvloop", "coordinator-bus[uvloop]"),
}  # fmt: skip
WRONG = 3


def positive(text: str) -> int:
    """An argument that is at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is given; at least 1 is needed")
    return number


def length(text: str) -> float:
    """Seconds of a repetition."""
    seconds = float(text)
    if not 0.05 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{seconds:g} is given; 0.05 to 60 seconds make sense")
    return seconds


def names(allowed: Sequence[str], text: str) -> tuple[str, ...]:
    """One or several of `allowed`, joined by commas."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    wrong = [name for name in found if name not in allowed]
    if wrong or not found:
        named = ", ".join(wrong) or repr(text)
        raise argparse.ArgumentTypeError(f"{named} is not known; there are {', '.join(allowed)}")
    return found


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(
        prog="python -m bus.bench",
        description="Throughput, latency and costs of the bus beside the raw client, in the same run.",
        epilog="How to read the result: benchmarks/README.md",
    )
    made.add_argument(
        "scenario", nargs="*", metavar="scenario",
        help=f"{', '.join(SCENARIOS)}, or all; default: {' and '.join(DEFAULT_SCENARIOS)}",
    )  # fmt: skip
    made.add_argument(
        "--backend", type=lambda text: names(BACKENDS, text), default=DEFAULT_BACKENDS,
        help=f"{', '.join(BACKENDS)}; several with commas; default: {' and '.join(DEFAULT_BACKENDS)}",
    )  # fmt: skip
    made.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    made.add_argument(
        "--compare", type=lambda text: names(OPPONENTS, text), default=("raw",),
        help="raw: the client library used the obvious way (the default); peers: FastStream and broadcaster, "
        "in an environment of their own that is made when it is needed; tcp: our frames over plain TCP",
    )  # fmt: skip
    made.add_argument("--pairs", type=positive, help="measurements of each side; default 5")
    made.add_argument("--seconds", type=length, help="length of each of them; default 1")
    made.add_argument("--quick", action="store_true", help="short and rough: to see that it runs")
    made.add_argument("--sealed", action="store_true", help="our side with a cluster key: sealed frames")
    made.add_argument("--url", help="a server that runs, instead of one started for the run")
    made.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    made.add_argument("--plot", metavar="DIR", type=Path, help="write charts as SVG into this folder")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    asked = parser().parse_args(arguments)
    try:
        scenarios = names((*SCENARIOS, "all"), ",".join(asked.scenario or DEFAULT_SCENARIOS))
    except argparse.ArgumentTypeError as error:
        parser().error(f"scenario: {error}")
    scenarios = SCENARIOS if "all" in scenarios else scenarios
    _check(asked)
    steps = [(scenario, backend) for backend in asked.backend for scenario in scenarios]
    try:
        plan = Plan(
            pairs=asked.pairs or (2 if asked.quick else 5),
            seconds=asked.seconds or (0.1 if asked.quick else 1.0),
            retries=not asked.quick,
            cores=machine.cores(),
            opponents=asked.compare,
            is_sealed=asked.sealed,
            url=asked.url,
            peers=peers(say) if "peers" in asked.compare else None,
        )
    except NoPeers as error:
        parser().error(str(error))
    progress = Progress(sum(rows(*step, plan) for step in steps))
    try:
        about, results = measure(steps, asked.loop, plan, progress)
    except NoServer as error:
        parser().error(str(error))
    except HarnessError as error:
        progress.tell(f"no result: {error}")
        return WRONG
    finally:
        progress.end()
    if asked.plot is not None:
        for path in plot.write(asked.plot, about, results):
            print(path, file=sys.stderr)
    print((report.as_json if asked.json else report.as_text)(about, results))
    return 0


def say(text: str) -> None:
    """A line of progress, before there is any."""
    print(text, file=sys.stderr, flush=True)


def _check(asked: argparse.Namespace) -> None:
    """What is missing, said before anything is measured."""
    for name in (*asked.backend, asked.loop):
        module, package = NEEDS.get(name, ("bus", ""))
        if find_spec(module) is None:
            parser().error(f"{module} is not installed: pip install '{package}', or choose another one")
    if asked.url and (len(asked.backend) != 1 or asked.backend[0] not in SERVED):
        parser().error(f"--url needs one --backend that has a server: {', '.join(SERVED)}")
    if asked.sealed and find_spec("cryptography") is None:
        parser().error("cryptography is not installed: pip install cryptography")


def rows(scenario: str, backend: str, plan: Plan) -> int:
    """How many rows there will be; 0: this system cannot do that."""
    if scenario in PAIRED:
        return sum(takes_part(case, backend, plan) for case in PAIRED[scenario])
    if scenario == "recovery":
        return int(backend in BROKERS)
    if scenario == "idle":
        return 1 + (backend in APART)
    return 10 * (backend == "memory")  # of one process: the same on every system


def measure(
    steps: Sequence[tuple[str, str]], loop: str, plan: Plan, progress: Progress
) -> tuple[dict[str, object], list[Result]]:
    """Everything that was asked for, between two looks at the yardstick."""
    about = machine.describe()
    about["load_before"], ticks = machine.load(), machine.ticks()
    events = int(300_000 * min(1.0, plan.seconds))
    before = yardstick.measure(events)
    progress.tell(f"yardstick: {before:,.0f} events/s over plain TCP")
    results: list[Result] = []
    for scenario, backend in steps:
        if not rows(scenario, backend, plan):
            progress.tell(f"{scenario} {backend}: nothing to measure, {_why(scenario)}")
            continue
        progress.say(f"{scenario} {backend} on {loop}")
        for result in _results(scenario, backend, loop, plan, progress):
            ratio = "" if result.ratio is None else f": ratio {result.ratio:.2f}"
            progress.row(f"{scenario} {backend} {way(result)}{ratio}")
            results.append(result)
    after = yardstick.measure(events)
    about["load_after"] = machine.load()
    about["stolen_percent"] = machine.stolen(ticks, machine.ticks())
    about["yardstick"] = [round(before), round(after)]
    if not is_steady((before, after), DRIFT):
        progress.tell(
            f"not stable: the yardstick went from {before:,.0f} to {after:,.0f} events/s; "
            "something else used the machine, measure again when it is idle"
        )
        results = [msgspec.structs.replace(result, stable=False) for result in results]
    return about, results


def _results(scenario: str, backend: str, loop: str, plan: Plan, progress: Progress) -> Iterator[Result]:
    def inside(text: str) -> None:
        progress.say(f"  {text}")

    if scenario in PAIRED:
        return run(PAIRED[scenario], backend, loop, plan, inside)
    if scenario == "recovery":
        return recovery(backend, loop, plan, min(3, plan.pairs), inside)
    if scenario == "idle":
        return idle(backend, loop, plan)
    assert scenario in ALONE
    return alone(scenario, loop, plan.seconds)


def _why(scenario: str) -> str:
    if scenario == "recovery":
        return f"there is no server to restart (it is for {', '.join(BROKERS)})"
    if scenario == "nodes":
        return "its buses share one process"
    if scenario in PAIRED:
        return "none of the opponents that were asked for can do that here"
    return "it is of one process and the same everywhere: --backend memory"


if __name__ == "__main__":
    sys.exit(main())
