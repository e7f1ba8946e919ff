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
        place = cls(folder / "venv/bin/python", folder)
        venv, pip = [python, "-m", "venv", str(folder / "venv")], [str(place.python), "-m", "pip"]
        if python == this_python():
            # A pip of its own takes longer to install than all that it is for. Only another Python needs
            # its own, since ours may be too old for it.
            venv, pip = [*venv, "--without-pip"], [sys.executable, "-m", "pip", "--python", str(place.python)]
        place._ran(venv, None, 120)
        # What is not compiled now is compiled when it is imported, and most of it never is.
        options = ["--quiet", "--disable-pip-version-check", "--no-compile"]
        place._ran([*pip, "install", *options, *requirements], None, 300)
        return place

    def has(self, module: str) -> bool:
        """It could be imported there."""
        program = f"import importlib.util; print(importlib.util.find_spec({module!r}) is not None)"
        return self.run("-c", program).strip() == "True"

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
