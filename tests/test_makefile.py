"""The environment that `make` makes: one that somebody else has made is never emptied."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parent.parent / "Makefile"

# Stands for Python: `-m venv DIR` makes the least that counts, all else is good.
PYTHON = """\
#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    [ $# = 3 ] || exit 9
    mkdir -p "$3/bin" "$3/lib" && cp "$0" "$3/bin/python" && echo fresh > "$3/pyvenv.cfg"
fi
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Starts in no time and installs nothing."""
    path = tmp_path / "python"
    path.write_text(PYTHON)
    path.chmod(0o700)
    return path


def make(python: Path, environment: Path) -> subprocess.CompletedProcess[str]:
    words = ["make", "-s", "-f", str(MAKEFILE), f"PYTHON={python}", f"VENV={environment}"]
    given = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        [*words, f"{environment}/made"], capture_output=True, text=True, timeout=20, env=given
    )


@pytest.mark.parametrize("is_there", [False, True], ids=["none", "empty"])
def test_where_nothing_is_an_environment_is_made(python: Path, tmp_path: Path, *, is_there: bool) -> None:
    environment = tmp_path / "deep" / "venv"
    if is_there:
        environment.mkdir(parents=True)
    done = make(python, environment)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(environment)) == ["bin", "lib", "made", "pyvenv.cfg"]


def test_one_that_was_begun_and_not_finished_is_made_anew(python: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    (environment / "lib").mkdir(parents=True)
    (environment / "lib" / "half").touch()
    (environment / "making").touch()
    assert make(python, environment).returncode == 0
    assert sorted(os.listdir(environment)) == ["bin", "lib", "made", "pyvenv.cfg"]
    assert os.listdir(environment / "lib") == []


def test_one_that_somebody_else_has_made_is_taken_as_it_is(python: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    for name in ("bin", "lib"):
        (environment / name).mkdir(parents=True)
        (environment / name / "theirs").touch()
    shutil.copy(python, environment / "bin" / "python")
    (environment / "pyvenv.cfg").write_text("theirs")
    assert make(python, environment).returncode == 0
    assert (environment / "pyvenv.cfg").read_text() == "theirs"
    assert (environment / "bin" / "theirs").exists()
    assert (environment / "lib" / "theirs").exists()


def test_a_directory_that_is_no_environment_is_refused(python: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / "bin").mkdir(parents=True)
    done = make(python, tmp_path / "home")
    assert done.returncode == 2
    assert "is no environment of Python: name another one with VENV=" in done.stderr
    assert os.listdir(tmp_path / "home") == ["bin"]
