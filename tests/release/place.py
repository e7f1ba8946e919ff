"""A clean environment with the wheel in it, and programs run there: no checkout, no variable of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A virtual environment and a folder to work in."""

    python: Path
    folder: Path

    @classmethod
    def made(cls, folder: Path, python: str, *requirements: str) -> Place:
        """Make one with a Python, and install. The index is the one that pip is set up for."""
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True, env=_clean(), timeout=120)
        place = cls(folder / "venv/bin/python", folder)
        place.install(*requirements)
        return place

    def install(self, *requirements: str) -> None:
        """More of it."""
        self.run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements, seconds=300)

    def run(self, *words: str, env: Mapping[str, str] | None = None, seconds: float = 120) -> str:
        """Its Python with these arguments, which must succeed; its stdout."""
        return self._ran([str(self.python), *words], env, seconds)

    def bus(self, *words: str, env: Mapping[str, str] | None = None, seconds: float = 120) -> str:
        """The command as pip has installed it."""
        return self._ran([str(self.python.with_name("bus")), *words], env, seconds)

    def _ran(self, words: list[str], env: Mapping[str, str] | None, seconds: float) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=_clean() | dict(env or {}), capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def this_python() -> str:
    """The interpreter that runs the tests, without its environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _clean() -> dict[str, str]:
    ours = ("PYTHON", "BUS_", "VIRTUAL_ENV", "PYENV_VERSION", "COVERAGE")
    return {name: text for name, text in os.environ.items() if not name.startswith(ours)}
