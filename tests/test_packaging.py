"""pyproject.toml, the table of backends and the folders say the same."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import bus
from bus.registry import BUILTIN

ROOT = Path(__file__).parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
FOLDERS = sorted(path.parent.name for path in (ROOT / "backends").glob("*/__init__.py"))


def test_version_of_the_package_is_that_of_the_distribution() -> None:
    assert bus.__version__ == PROJECT["version"]


def test_changelog_has_the_version() -> None:
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_entry_points_are_the_table_of_the_registry() -> None:
    assert PROJECT["entry-points"]["bus.backends"] == BUILTIN


def test_every_backend_folder_is_in_the_table() -> None:
    assert sorted({place.partition(":")[0] for place in BUILTIN.values()}) == FOLDERS


def test_the_wheel_has_the_bus_and_every_backend() -> None:
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert wheel == ["bus", *(f"backends/{name}" for name in FOLDERS)]


@pytest.mark.parametrize("place", BUILTIN.values())
def test_backend_class_of_the_table_exists(place: str) -> None:
    module, _, name = place.partition(":")
    assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize("package", ["bus", *(f"backends/{name}" for name in FOLDERS)])
def test_package_is_typed_for_its_users(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_all_is_every_extra_for_users() -> None:
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    names = ",".join(name for name in extras if name not in {"all", "dev", "docs", "testing"})
    assert extras["all"] == [f"coordinator-bus[{names}]"]


def test_every_requirement_has_both_bounds() -> None:
    wanted = [*PROJECT["dependencies"]]
    for extra, requirements in PROJECT["optional-dependencies"].items():
        wanted += requirements if extra not in {"all", "dev"} else []
    assert [text for text in wanted if ">=" not in text or "<" not in text] == []


def test_command_line_is_where_the_script_looks() -> None:
    module, _, name = PROJECT["scripts"]["bus"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_python_dash_m_bus_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "bus", "--help"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert "demo" in done.stdout
