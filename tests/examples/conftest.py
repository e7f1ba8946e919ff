"""A folder for the sockets of `zenoh://`: a short path, since the name of a unix socket is short."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.program import environment


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bus-x-") as name:
        yield Path(name)


@pytest.fixture
def env(folder: Path) -> dict[str, str]:
    return environment(folder)
