"""The pytest plugin, as a project uses it; and losses in order with events."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bus import Gap, Loss, Overflow, Resync
from bus.testing import Losses, inject
from tests.bus.cluster import Note, buses, notes, take

ROOT = Path(__file__).parent.parent.parent

PROJECT = """
from bus import Bus, Event, Loss

class Renamed(Event, tag="user.renamed"):
    user: int

async def test_a_loss_arrives(bus_losses):
    async with Bus.open("memory://", node="a") as bus, bus.subscribe(Renamed) as inbox:
        told = [bus_losses.gap(bus, 3, 5), bus_losses.overflow(bus, 2), bus_losses.resync(bus)]
        assert isinstance(told[0], Loss)
        assert set(await inbox.batch()) == set(told)
"""


def test_a_project_gets_the_fixture_by_one_line(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["bus.testing.plugin"]\n')
    (tmp_path / "test_project.py").write_text(PROJECT)
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:anyio", "-p", "no:cacheprovider",
            "-o", "asyncio_mode=auto",
            "-o", "asyncio_default_fixture_loop_scope=function", "-W", "error",
            "--rootdir", str(tmp_path), str(tmp_path),
        ],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'backends'}"},
        capture_output=True,
        text=True,
        timeout=30,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_is_not_loaded_unasked() -> None:
    assert not [point for point in entry_points(group="pytest11") if point.value.startswith("bus")]


@pytest.mark.loops
async def test_losses_stand_between_the_events_where_they_were_told() -> None:
    seen: list[Note | Loss] = []
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        b.on(Note, seen.append, on_loss=seen.append)
        losses = Losses()
        a.publish(Note(1))
        await a.flush()
        gap = losses.gap(b, 2, 4, node="a", reason="timeout")
        a.publish(Note(2))
        await a.flush()
        overflow = losses.overflow(b, 3)
        resync = losses.resync(b, node="a", epoch=5, after=9)
        a.publish(Note(3))
        expected = [Note(1), gap, Note(2), overflow, resync, Note(3)]
        assert await take(inbox, 6) == expected
        assert seen == expected
        assert gap == Gap("a", 1, ((2, 4),), "timeout")
        assert overflow == Overflow(3)
        assert resync == Resync("a", 5, 9, "injected")


@pytest.mark.loops
async def test_a_loss_reaches_every_subscriber_of_that_bus_only() -> None:
    async with (
        buses("a", "b") as (a, b),
        a.subscribe(Note) as other,
        b.subscribe(Note) as one,
        b.subscribe(Note) as two,
    ):
        inject(b, Resync(None, None, None, "test"))
        for inbox in (one, two):
            assert await take(inbox, 1) == [Resync(None, None, None, "test")]
        for note in notes(1, 2):
            b.publish(note)
        assert await take(other, 2) == notes(1, 2)
