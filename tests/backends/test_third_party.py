"""A backend that we do not know passes the suite: installed beside us, found by its entry point.

The folder `thirdparty` is a distribution. It is installed into a temporary directory (what pip writes is
written here, since a test must not need an index), and its own test runs in another process, outside of
this checkout, where pytest has neither our settings nor our fixtures.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bus.testing.conformance import Conformance

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DISTRIBUTION = HERE / "thirdparty"
SECONDS = 55


def install(target: Path) -> None:
    """Put the package and its metadata into `target`, as `pip install --target` does."""
    described: dict[str, Any] = tomllib.loads((DISTRIBUTION / "pyproject.toml").read_text())
    project = described["project"]
    for package in described["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(DISTRIBUTION / package, target / package)
    name = project["name"].replace("-", "_")
    metadata = target / f"{name}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines: list[str] = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join([*lines, ""]))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of a process that has us and the third party installed."""
    target = tmp_path / "site"
    install(target)
    path = os.pathsep.join(map(str, (target, ROOT, ROOT / "backends")))
    return {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run(environment: dict[str, str], cwd: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment, cwd=cwd, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("theme", Conformance.__bases__, ids=lambda theme: theme.__name__)
def test_a_third_party_backend_passes_the_suite(
    environment: dict[str, str], tmp_path: Path, theme: type
) -> None:
    shutil.copy(DISTRIBUTION / "test_relay.py", tmp_path)
    names = [name for name in vars(theme) if name.startswith("test_")]
    out = run(
        environment, tmp_path,
        "-m", "pytest", "-q", "-rs", "-p", "pytest_asyncio.plugin", "-W", "error",
        "-o", "asyncio_default_fixture_loop_scope=function",
        *(f"test_relay.py::TestRelay::{name}" for name in names),
    )  # fmt: skip
    assert re.search(rf"^{len(names)} passed in", out, re.MULTILINE), f"not everything ran:\n{out}"


def test_an_installed_backend_is_found_by_its_type_and_its_url(
    environment: dict[str, str], tmp_path: Path
) -> None:
    program = (
        "from bus import Bus, registry\n"
        "Bus.open('relay://127.0.0.1:7000')\n"
        "Bus.open({'@type': 'Relay', 'port': 7000})\n"
        "print(registry.known_types())\n"
    )
    assert "'Relay'" in run(environment, tmp_path, "-c", program)
