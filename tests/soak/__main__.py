"""Long runs under a seeded nemesis: `python -m tests.soak [--minutes 10] [--seed N] [--list] [system ...]`.

Each finished run is one line of results.jsonl beside this file, and a system that passed for as long is not
run again: stop it when you like and go on later. The seed is printed; the same seed does the same things at
the same moments. A run that fails keeps its histories, logs and schedule in the folder that is told. Exit
code 1 when one failed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from bus.testing.brokers import Unavailable
from tests.soak import served
from tests.soak.result import RESULTS, Result, append, results

ROOT = Path(__file__).parents[2]
# What can be run: system, and how many nodes.
RUNS: dict[str, tuple[str, int]] = {
    **{
        system: (system, 3)
        for system in (
            "memory", "nats", "redis", "valkey", "redis-cluster", "redis-sentinel", "kafka", "zenoh",
        )
    },
    "nats-16": ("nats", 16),
}  # fmt: skip


def in_memory(seconds: float, seed: int, folder: Path, nodes: int) -> Result:
    """In a process of its own, whose memory and descriptors are those of the buses alone."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.memory", str(seconds), str(seed), str(folder), str(nodes)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + 300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backends")))},
    )  # fmt: skip
    (folder / "memory.log").write_text(done.stderr)
    if done.returncode:
        words = f"it ended with {done.returncode}: {done.stderr[-1000:]}"
        return Result(system="memory", nodes=nodes, seconds=seconds, seed=seed, problems=(words,))
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Result)


def soak(name: str, minutes: float, seed: int, path: Path) -> bool:
    """One run; True when it passed."""
    system, nodes = RUNS[name]
    folder = Path(tempfile.mkdtemp(prefix="bus-soak-"))
    sys.stdout.write(f"{name}: {minutes:g} min, seed {seed}, histories in {folder}\n")
    sys.stdout.flush()
    started = time.monotonic()
    run = in_memory if system == "memory" else None
    try:
        if run is not None:
            result = run(60 * minutes, seed, folder, nodes)
        else:
            result = served.run(system, 60 * minutes, seed, folder, nodes)
    except Unavailable as error:
        result = Result(system=system, nodes=nodes, seconds=60 * minutes, seed=seed, problems=(str(error),))
    append(result, path)
    if result.problems:
        words = "\n    ".join(["FAILED", *result.problems, f"see {folder}"])
    else:
        shutil.rmtree(folder)
        words = (
            f"{result.faults} faults, {result.delivered} delivered, {result.repaired} repaired, "
            f"{result.told} told, 0 unexplained, {result.growth:+.1f} MiB, idle {result.idle:.2%}"
        )
    sys.stdout.write(f"{name}: {words} ({time.monotonic() - started:.0f} s)\n")
    sys.stdout.flush()
    return not result.problems


def passed(minutes: float, path: Path) -> set[str]:
    """Whose last run was at least as long, and good."""
    last = {(one.system, one.nodes): one for one in results(path)}
    return {
        name for name, run in RUNS.items()
        if (found := last.get(run)) and not found.problems and found.seconds >= 60 * minutes
    }  # fmt: skip


def main() -> int:
    """Run what is chosen and not done."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Long runs, resumable.")
    parser.add_argument("--minutes", type=float, default=10, help="under the nemesis, each (default 10)")
    parser.add_argument("--seed", type=int, help="of the nemesis (default: another one each time)")
    parser.add_argument("--again", action="store_true", help="also those that passed before")
    parser.add_argument("--list", action="store_true", help="only tell what is to be done")
    parser.add_argument("--results", type=Path, default=RESULTS, help="another file of results")
    parser.add_argument("systems", nargs="*", help=f"of {', '.join(RUNS)} (default: all)")
    options = parser.parse_args()
    if unknown := [name for name in options.systems if name not in RUNS]:
        parser.error(f"{', '.join(unknown)}: there are {', '.join(RUNS)}")
    done = set[str]() if options.again else passed(options.minutes, options.results)
    to_do = [name for name in options.systems or RUNS if name not in done]
    if options.list:
        sys.stdout.writelines(f"{name}\n" for name in to_do)
        return 0
    seeds = [random.randrange(1 << 32) if options.seed is None else options.seed for _ in to_do]
    good = [
        soak(name, options.minutes, seed, options.results) for name, seed in zip(to_do, seeds, strict=True)
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
