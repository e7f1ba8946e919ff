"""`bus run --app module:function`: an application runs with the bus of the node, which ends when it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bus.testing.brokers import Process
from tests.cli.kit import BUS, Ran, in_process, until

APPLICATION = '''"""An application."""
import asyncio
from pathlib import Path

HERE = Path(__file__).parent


def no_coroutine(bus):
    """Not async."""


async def returns(bus):
    (HERE / "said").write_text(bus.status().node)


async def raises(bus):
    raise RuntimeError("out of work")


async def goes_on(bus):
    (HERE / "said").write_text("runs")
    try:
        await asyncio.Event().wait()
    finally:
        # It is cancelled while its bus is still open.
        (HERE / "said").write_text(f"published {bus.publish(__import__('bus').Message('a', 'b'))}")
'''


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "mine.py").write_text(APPLICATION)
    path = [str(tmp_path), *filter(None, sys.path)]
    return {"PYTHONPATH": ":".join(path), "HOME": str(tmp_path), "BUS_LISTEN": "off"}


def run(environment: dict[str, str], app: str) -> Ran:
    return in_process("run", "--url", "memory://", "--node", "n", "--app", app, env=environment)


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("mine", "it is no module:function"),
        ("nowhere:main", "No module named 'nowhere'"),
        ("mine:nothing", "mine has no async function nothing"),
        ("mine:no_coroutine", "mine has no async function no_coroutine"),
    ],
)
def test_an_application_that_is_none_is_told_before_anything_starts(
    app: str, says: str, environment: dict[str, str]
) -> None:
    ran = run(environment, app)
    assert ran.code == 2
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_a_node_ends_with_an_application_that_fails(environment: dict[str, str]) -> None:
    ran = run(environment, "mine:raises")
    assert ran.code == 1
    assert "mine:raises: RuntimeError: out of work" in ran.err


@pytest.mark.parametrize(
    ("function", "first", "last"),
    [("returns", "n", "n"), ("goes_on", "runs", "published 1")],
)
def test_a_node_goes_on_until_it_is_told_to_end(
    function: str, first: str, last: str, environment: dict[str, str], tmp_path: Path
) -> None:
    said = tmp_path / "said"
    words = ["run", "--url", "memory://", "--node", "n", "--app", f"mine:{function}"]
    node = Process("node", [*BUS, *words], tmp_path, env=environment)
    node.start(lambda: said.exists() and said.read_text() == first)
    try:
        until(lambda: "is ready" in node.logs())
    finally:
        node.stop()
    assert said.read_text() == last
