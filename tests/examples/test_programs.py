"""The other examples: settings, handlers on virtual time, a backend of one's own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus import Bus
from bus.testing import Losses
from bus.testing.brokers import Process
from bus.testing.conformance import Conformance
from examples import settings_reload
from tests.examples.program import EXAMPLES, ROOT, program, run, until


def test_whoever_changes_a_setting_tells_the_others(folder: Path, env: dict[str, str]) -> None:
    file = folder / "settings.toml"
    file.write_text('level = "info"\n')
    words = program("settings_reload", str(file))
    follower = Process("follower", words, folder, env=env)
    follower.start(lambda: "start: {'level': 'info'}" in follower.logs())
    try:
        run([*words, "level=debug"], env)
        until(lambda: "level has changed: {'level': 'debug'}" in follower.logs(), "the change is seen")
        run([*words, "colour=green"], env)
        until(lambda: "'colour': 'green'" in follower.logs(), "the second change is seen")
    finally:
        follower.stop()


def lose_a_gap(losses: Losses, bus: Bus) -> None:
    losses.gap(bus, 1, 3)


def lose_an_overflow(losses: Losses, bus: Bus) -> None:
    losses.overflow(bus, 5)


def lose_a_node(losses: Losses, bus: Bus) -> None:
    losses.resync(bus, node="b")


@pytest.mark.parametrize(
    ("lose", "says"),
    [
        (lose_a_gap, "3 changes were missed"),
        (lose_an_overflow, "5 changes were missed"),
        (lose_a_node, "b may have changed anything"),
    ],
)
async def test_settings_are_read_again_after_each_kind_of_loss(
    lose: Callable[[Losses, Bus], None], says: str, bus_losses: Losses, tmp_path: Path
) -> None:

    file = tmp_path / "settings.toml"
    seen: list[tuple[str, dict[str, object]]] = []
    async with Bus.open("memory://", cluster="settings") as bus:
        following = asyncio.create_task(
            settings_reload.follow(bus, file, lambda why, values: seen.append((why, values)))
        )
        async with asyncio.timeout(10):
            while not seen:
                await asyncio.sleep(0.01)
            # Nobody tells of this change: whoever made it is dead.
            settings_reload.change(file, "level", "debug")
            lose(bus_losses, bus)
            while len(seen) < 2:
                await asyncio.sleep(0.01)
    assert seen == [("start", {}), (says, {"level": "debug"})]
    await following


def test_handlers_are_tested_on_virtual_time(env: dict[str, str]) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/test_handlers.py"]
    assert "6 passed" in run(words, env)


def install(distribution: Path, site: Path) -> None:
    """Its modules and its entry points, as pip writes them, without an index."""
    described: dict[str, Any] = tomllib.loads((distribution / "pyproject.toml").read_text())
    project = described["project"]
    metadata = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    for module in described["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        shutil.copy(distribution / module, site)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines: list[str] = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join([*lines, ""]))


@pytest.mark.parametrize("theme", Conformance.__bases__, ids=lambda theme: theme.__name__)
def test_a_backend_of_ones_own_passes_the_suite(theme: type, env: dict[str, str], tmp_path: Path) -> None:
    example = EXAMPLES / "folder_backend"
    site = tmp_path / "site"
    install(example, site)
    shutil.copy(example / "test_folder.py", tmp_path)
    path = os.pathsep.join(map(str, (site, ROOT, ROOT / "backends")))
    names = [name for name in vars(theme) if name.startswith("test_")]
    words = [
        sys.executable, "-m", "pytest", "-q", "-p", "pytest_asyncio.plugin", "-W", "error",
        "-o", "asyncio_default_fixture_loop_scope=function",
        *(f"test_folder.py::TestFolder::{name}" for name in names),
    ]  # fmt: skip
    said = run(words, env | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, tmp_path)
    passed, skipped = (re.search(rf"(\d+) {word}", said) for word in ("passed", "skipped"))
    # There is no server that could be killed or refuse somebody.
    assert (int(passed[1]) if passed else 0) + (int(skipped[1]) if skipped else 0) == len(names)
    assert passed
