"""What is in wheel and sdist: all of the runtime and nothing else; all that its tests need."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.release.archives import ROOT, Archives

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = (
    "bus",
    *sorted(f"backends/{path.parent.name}" for path in (ROOT / "backends").glob("*/__init__.py")),
)
# What running and checking leaves in a folder.
NOISE = {"__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache", ".hypothesis"}


def files_of(package: str) -> set[str]:
    """Names in the wheel of what the package has in the checkout."""
    root = ROOT / package
    found = (path for path in root.rglob("*") if path.is_file() and not NOISE.intersection(path.parts))
    return {path.relative_to(root.parent).as_posix() for path in found}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_has_every_file_of_the_package(package: str, archives: Archives) -> None:
    assert files_of(package) - archives.in_wheel() == set()


def test_the_wheel_has_nothing_else(archives: Archives) -> None:
    tops = {name.partition("/")[0] for name in archives.in_wheel()}
    expected = {Path(package).name for package in PACKAGES}
    assert tops == expected | {f"coordinator_bus-{PROJECT['version']}.dist-info"}


@pytest.mark.parametrize("package", PACKAGES)
def test_users_of_the_wheel_get_types(package: str, archives: Archives) -> None:
    assert f"{Path(package).name}/py.typed" in archives.in_wheel()


def test_the_wheel_says_what_pyproject_says(archives: Archives) -> None:
    metadata = archives.metadata()
    assert metadata["Name"] == PROJECT["name"]
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert str(metadata.get_payload()).strip() == (ROOT / "README.md").read_text().strip()
    # Without an extra only what the core needs is installed.
    core = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert sorted(text.partition("<")[0].partition(">")[0] for text in core) == ["anyio", "msgspec"]


def test_the_wheel_is_for_every_machine(archives: Archives) -> None:
    assert archives.wheel.name == f"coordinator_bus-{PROJECT['version']}-py3-none-any.whl"


def test_the_wheel_has_the_licence_and_the_entry_points(archives: Archives) -> None:
    assert archives.read(".dist-info/licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    points = archives.read(".dist-info/entry_points.txt")
    assert "bus = bus.cli:main" in points
    assert all(
        f"{name} = {place}" in points for name, place in PROJECT["entry-points"]["bus.backends"].items()
    )


def test_the_sdist_has_what_tests_and_documents_need(archives: Archives) -> None:
    there = archives.in_sdist()
    wanted = (
        "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "pyproject.toml", "Dockerfile",
        "docker-compose.yml", "docs/cli.md", "tests/conftest.py", "demos/verify.py", "examples/README.md",
        "deploy/node/nats.toml", "bus/py.typed", "backends/bus_nats/py.typed",
    )  # fmt: skip
    assert [name for name in wanted if name not in there] == []
    assert [name for name in there if name.endswith((".pyc", ".whl")) or "__pycache__" in name] == []


def test_a_wheel_of_the_sdist_is_the_same_wheel(archives: Archives, tmp_path: Path) -> None:
    # Not by tarfile: its `filter` came with 3.11.4, and without one 3.12 warns.
    subprocess.run(["tar", "-xf", str(archives.sdist), "-C", str(tmp_path)], check=True, timeout=60)
    (folder,) = tmp_path.iterdir()
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=60)
    (again,) = tmp_path.glob("*.whl")
    assert again.read_bytes() == archives.wheel.read_bytes()


def test_no_name_of_a_file_is_only_another_one_in_capitals(archives: Archives) -> None:
    names = archives.in_sdist()
    assert len({name.lower() for name in names}) == len(names)
