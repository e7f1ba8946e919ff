"""The Memory backend passes the conformance suite; the hub of the process stands in for a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bus.testing.conformance import Conformance, Harness
from tests.backends.memory_server import MemoryServer


# A process is always reachable for itself, and needs no password.
@pytest.mark.loops
class TestMemory(Conformance, without=("unreachable", "wrong_credentials")):
    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        with MemoryServer() as server:
            yield Harness(
                coordinator=lambda: "memory://",
                invalid=("memory://host", {"@type": "Memory", "host": "x"}),
                restart=server.restart,
                kill=server.kill,
                pause=server.pause,
                resume=server.resume,
            )
