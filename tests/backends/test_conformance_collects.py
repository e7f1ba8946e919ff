"""What the suite leaves out: nothing unless a class says what its harness lacks, and then exactly that."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bus.testing.conformance import Conformance, Harness, scenarios
from bus.testing.conformance.faults import Faults
from bus.testing.conformance.frames import Frames
from bus.testing.conformance.harness import needs_of

ROOT = Path(__file__).parent.parent.parent
OF_A_SERVER = {
    "test_a_restarted_server_costs_no_untold_event", "test_a_dead_server_is_noticed",
    "test_a_link_whose_server_died_says_so", "test_a_frozen_server_degrades_the_link",
    "test_close_is_quick_while_the_server_is_frozen",
}  # fmt: skip
OF_NOBODY = {"test_an_unreachable_server_is_tried_again", "test_a_failed_connect_is_classified"}
OF_A_PASSWORD = {"test_wrong_credentials_are_fatal"}

# Every class of our own that leaves out a scenario, with what it leaves out.
LESS = {
    "TestMemory": OF_NOBODY | OF_A_PASSWORD,
    "TestZenoh": OF_A_SERVER | OF_A_PASSWORD,
    "TestZenohThroughRouter": OF_NOBODY | OF_A_PASSWORD,
}

PROJECT = """
from bus.testing.conformance import Conformance

class TestWithout(Conformance, without=("restart", "kill", "pause", "resume")):
    pass

class TestWith(Conformance):
    pass
"""


async def done() -> None:
    """A step that does nothing."""


COMPLETE = Harness(
    coordinator=lambda: "memory://",
    unreachable="memory://", wrong_credentials="memory://", invalid=("memory://host",),
    restart=done, kill=done, pause=done, resume=done,
)  # fmt: skip
NEEDED = sorted((name, field) for name in scenarios() for field in needs_of(getattr(Conformance, name)))


def left_out(cls: type) -> set[str]:
    """Scenarios that the class has from its bases, and that are no tests in it."""
    inherited = {name for base in cls.__mro__ for name in vars(base) if name.startswith("test_")}
    return {name for name in inherited if not callable(getattr(cls, name))}


def test_our_classes_leave_out_what_is_listed_and_nothing_else() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.backends.{path.stem}")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if name.startswith("Test") and issubclass(cls, Frames | Faults):
                found[name] = left_out(cls)
    assert {name: names for name, names in found.items() if names} == LESS
    assert found.keys() > {"TestNats", "TestKafka", "TestRedis", "TestRedisCluster", "TestRedisSentinel"}


def test_a_class_with_a_server_collects_all_beside_one_without(tmp_path: Path) -> None:
    (tmp_path / "test_project.py").write_text(PROJECT)
    words = ["-q", "--collect-only", "-p", "no:anyio", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--rootdir", str(tmp_path), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'backends'}"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    tests = [line.split("::")[1:] for line in done.stdout.splitlines() if "::" in line]
    assert {name for cls, name in tests if cls == "TestWith"} == set(scenarios()), done.stdout
    assert {name for cls, name in tests if cls == "TestWithout"} == set(scenarios()) - OF_A_SERVER


@pytest.mark.parametrize(("name", "field"), NEEDED)
def test_what_a_scenario_is_marked_with_it_skips_without(name: str, field: str) -> None:
    nothing: dict[str, Any] = {field: () if field == "invalid" else None}
    lacking = dataclasses.replace(COMPLETE, **nothing)
    with pytest.raises(pytest.skip.Exception, match=f"the harness has no `{field}`"):
        asyncio.run(getattr(Conformance(), name)(lacking))


@pytest.mark.parametrize("name", scenarios())
def test_a_scenario_that_may_skip_is_marked(name: str) -> None:
    scenario = getattr(Conformance, name)
    asks = ("harness.step(", "harness.configuration(", "harness.nonsense(")
    assert any(word in inspect.getsource(scenario) for word in asks) == bool(needs_of(scenario))


def test_what_no_harness_can_lack_is_refused() -> None:
    with pytest.raises(TypeError, match=r"without=\['kil'\]: a harness may lack restart, kill, pause"):
        type("Test", (Conformance,), {}, without=("kil",))
