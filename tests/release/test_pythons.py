"""Every Python from 3.11 on of this machine: the wheel installs, core and a backend pass their suites."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.release.archives import Archives
from tests.release.place import Place
from tests.release.test_extras import PYTEST, conforms, demo

OLDEST = (3, 11)

pytestmark = pytest.mark.timeout(600)


@cache
def pythons() -> dict[str, str]:
    """Version -> interpreter, of those on the path, of pyenv, and of uv."""
    places = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 30)]
    for root in (Path.home() / ".pyenv/versions", Path.home() / ".local/share/uv/python"):
        places += [str(path) for path in sorted(root.glob("*/bin/python3"))]
    found: dict[str, str] = {}
    for place in filter(None, places):
        done = subprocess.run([place, "--version"], capture_output=True, text=True, timeout=30, check=False)
        match = re.fullmatch(r"Python (3)\.(\d+)\.\S+", done.stdout.strip())
        if match and (3, int(match[2])) >= OLDEST:
            found.setdefault(f"3.{match[2]}", place)
    return dict(sorted(found.items(), key=lambda one: int(one[0].partition(".")[2])))


@pytest.mark.parametrize("version", pythons())
def test_the_wheel_works_with_this_python(version: str, archives: Archives, tmp_path: Path) -> None:
    wheel = f"{archives.wheel}[all]"
    place = Place.made(tmp_path, pythons()[version], wheel, *PYTEST, "hypothesis", "trio")
    demo(place)
    conforms(place, "zenoh://")
    # The tests of the core that are of the same moment, against what is installed.
    (tmp_path / "source").mkdir()
    subprocess.run(
        ["tar", "-xf", str(archives.sdist), "-C", str(tmp_path / "source")], check=True, timeout=60
    )
    (source,) = (tmp_path / "source").iterdir()
    for checkout in (source / "bus", source / "backends"):
        shutil.rmtree(checkout)
    (source / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    said = place.run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--noconftest",
        "-c", str(source / "pytest.ini"), str(source / "tests/protocol"),
        # With CI hypothesis has no deadline, which others on this machine could make an example miss.
        env={"PYTHONPATH": str(source), "CI": "true"}, seconds=400,
    )  # fmt: skip
    assert " passed" in said


def test_the_oldest_and_a_newer_python_were_tried() -> None:
    assert "3.11" in pythons()
    assert len(pythons()) > 1, "only Python 3.11 is on this machine"
