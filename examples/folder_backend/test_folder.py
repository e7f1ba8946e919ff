"""The shipped suite against the folder: `pytest examples/folder_backend`, when it is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from bus.testing.conformance import Conformance, Harness


class TestFolder(Conformance):
    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        # The path of a socket is short, that of pytest's own folders is not.
        with tempfile.TemporaryDirectory(prefix="bus-") as folder:
            yield Harness(
                coordinator=lambda: {"@type": "Folder", "path": folder},
                # A file, and no folder can be made below it.
                unreachable={"@type": "Folder", "path": "/dev/null/x"},
                invalid=({"@type": "Folder"}, {"@type": "Folder", "path": "/x" * 40}),
            )
