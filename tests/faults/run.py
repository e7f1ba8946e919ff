"""One cell in a process of its own: `python -m tests.faults.run "17 nats" FOLDER [BASE]`.

BASE is that of the `Wires` in whose inside we are; without it the plain lab is used. Writes `result.json`
into the folder; the histories and logs stay there as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec

from bus.testing.brokers import Unavailable
from tests.faults import matrix
from tests.faults.lab import Lab, machine_load
from tests.faults.matrix import LabCell, ProvenCell
from tests.faults.results import Result
from tests.faults.scenarios import SCENARIOS
from tests.faults.wires import Wires, missing

ROOT = Path(__file__).parents[2]
NODES = "abcde"
# What a result is "by" when there is something missing here; it is not kept.
NOT_RUN = "nothing"
# Seconds that a cell may take in all.
PATIENCE = 400.0
_COUNTS = ("repaired", "told", "unexplained")
_TIMES = ("detected", "recovered", "publish_cpu", "publish_wall", "close")


def in_lab(name: str, scenario: str, folder: Path, base: str | None) -> Result:
    """Run a scenario here."""
    started = time.monotonic()
    lab = Lab(name.split()[1], folder, SCENARIOS[scenario], base)
    found, problems, losses = lab.run()
    return Result(
        **msgspec.structs.asdict(found), cell=name, problems=tuple(problems), losses=losses[:20],
        by="lab" if base else "plain lab", seconds=round(time.monotonic() - started, 1), busy=machine_load(),
    )  # fmt: skip


def apart(name: str, cell: LabCell, folder: Path) -> Result:
    """Run a scenario in a process of its own, in a network of its own where that can be had."""
    if missing():
        return _apart(name, folder, [], [])
    with Wires(NODES) as wires:
        return _apart(name, folder, wires.inside, [wires.base])


def _apart(name: str, folder: Path, prefix: list[str], more: list[str]) -> Result:
    argv = [*prefix, sys.executable, "-m", "tests.faults.run", name, str(folder), *more]
    with (folder / "run.log").open("wb") as log:
        try:
            code = subprocess.run(
                argv, cwd=ROOT, env=_environment(), stdout=log, stderr=log, timeout=PATIENCE, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    file = folder / "result.json"
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Result)
    end = (folder / "run.log").read_text(errors="replace")[-2000:]
    return Result(cell=name, problems=(f"it ended with {code}: {end}",), busy=machine_load())


def proven(name: str, cell: ProvenCell, folder: Path) -> Result:
    """Run its tests; what they note by `record_property` are the figures."""
    started = time.monotonic()
    report = folder / "junit.xml"
    argv = [
        sys.executable, "-m", "pytest", *cell.nodes, "-q", "-p", "no:cacheprovider",
        "-o", "junit_family=xunit1", f"--junitxml={report}", f"--basetemp={folder / 'tests'}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            argv, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        said, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired:
        said, code = f"no end after {PATIENCE:g} s", -1
    took = round(time.monotonic() - started, 1)
    if code != 0 or not report.exists():
        return Result(cell=name, by="test", problems=(said[-2000:],), seconds=took, busy=machine_load())
    return reported(name, report.read_text(), took)


def reported(name: str, report: str, took: float) -> Result:
    """What a report of pytest says."""
    root = ElementTree.fromstring(report)
    cases = list(root.iter("testcase"))
    skipped = [f"{case.get('name')} was skipped" for case in cases if case.find("skipped") is not None]
    noted: dict[str, str] = {
        one.get("name", ""): one.get("value", "") for case in cases for one in case.iter("property")
    }
    figures = {key: int(noted[key]) for key in _COUNTS if key in noted} | {
        key: round(float(noted[key]), 5) for key in _TIMES if key in noted
    }
    problems = skipped or ([] if cases else ["no test was found"])
    told = {"cell": name, "by": "test", "problems": problems, "seconds": took, "busy": machine_load()}
    return msgspec.convert({**told, "note": noted.get("note", ""), **figures}, Result)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backends")))}


def main() -> int:
    """Run the one cell that is named."""
    name, folder, *base = sys.argv[1:]
    cell = {found: what for found, _, what in matrix.cells()}[name]
    assert isinstance(cell, LabCell), f"{name} is no cell of the lab"
    try:
        result = in_lab(name, cell.scenario, Path(folder), base[0] if base else None)
    except Unavailable as error:
        result = Result(cell=name, by=NOT_RUN, problems=(str(error),))
    (Path(folder) / "result.json").write_bytes(msgspec.json.encode(result))
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
