"""The folder that an offline play is built from: the files of the demo, and wheels instead of an index."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from bus.testing.brokers import Unavailable
from tests.containers.stand_ins import PYTHON

ROOT = Path(__file__).parent.parent.parent
FILES = (
    "docker-compose.yml", "Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE",
    "bus", "backends", "demos", "deploy",
)  # fmt: skip


def lay(folder: Path) -> Path:
    """Copy the files there and fetch the wheels; the folder. Raises Unavailable."""
    folder.mkdir()
    for name in FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    if sys.version_info[:2] != (3, 11):
        raise Unavailable(
            f"the stand-in for {PYTHON} takes wheels of Python 3.11, this is {sys.version.partition(' ')[0]}"
        )
    wheels = folder / "deploy" / "wheels"
    build = _requirements(folder / "pyproject.toml")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", wheels, f"{folder}[all]", *build],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Unavailable(f"no wheels for the image of the node: {done.stderr[-1000:]}")
    # The image builds its own from the sources, as it does with an index.
    for own in wheels.glob("coordinator_bus-*.whl"):
        own.unlink()
    return folder


def images_of(folder: Path, profiles: Iterable[str]) -> set[str]:
    """Images to have before the file can be used with these profiles; not the one that it builds."""
    services: dict[str, Any] = yaml.safe_load((folder / "docker-compose.yml").read_text())["services"]
    wanted = set(profiles)
    return {PYTHON} | {
        service["image"]
        for service in services.values()
        if wanted.intersection(service.get("profiles", ())) and "build" not in service
    }


def _requirements(pyproject: Path) -> list[str]:
    import tomllib

    found: list[str] = tomllib.loads(pyproject.read_text())["build-system"]["requires"]
    return found
