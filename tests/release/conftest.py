"""`--release`: also what needs an environment for each extra and each Python (minutes, and an index)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.release.archives import ROOT, Archives

# Without the option they are not collected, so that no report counts them as skipped.
LONG = ("test_extras.py", "test_pythons.py", "test_whole.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--release", action="store_true", help="the checks that need environments of their own")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_long = collection_path.name in LONG and not config.getoption("--release", default=False)
    return True if is_long else None


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Wheel and sdist, built once."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return Archives.of(folder)
