"""Scenarios of one process of ours, started for it alone: `memory` and `growth`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from bus.bench.crew import HarnessError, environment
from bus.bench.figures import Figures, Result
from bus.bench.growth import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = {"memory": "footprint", "growth": "growth"}
PATIENCE = 300.0


def alone(scenario: str, loop: str, scale: float) -> Iterator[Result]:
    """Its rows. Raises HarnessError."""
    command = [sys.executable, "-P", "-m", f"bus.bench.{MODULES[scenario]}", str(min(1.0, scale))]
    try:
        done = subprocess.run(
            command, env=environment(), stdout=subprocess.PIPE, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"{scenario} did not end within {PATIENCE:g} s") from error
    if done.returncode:
        raise HarnessError(f"{scenario} has died; its last words stand above")
    for row in msgspec.json.decode(done.stdout, type=list[Row]):
        cpu = next((value for name, value in row.measured.items() if name.endswith("_us")), 0.0)
        yield Result(
            scenario=scenario, backend="memory", loop=loop, params=row.params,
            # No rate: what it costs or keeps is in `measured`.
            ours=Figures(rate=0.0, cpu_us_pub=cpu, cpu_us_sub=None, lost=0, p50_us=None, p99_us=None),
            raw=None, ratio=None, spread=None, pairs=1, stable=True,
            measured={name: round(value, 4) for name, value in row.measured.items()},
        )  # fmt: skip
