"""The Zenoh backend passes the conformance suite, peer to peer on this machine, without a server."""

from __future__ import annotations

import pytest

from bus.testing.conformance import Conformance, Harness


class TestZenoh(Conformance):
    @pytest.fixture
    def harness(self) -> Harness:
        return Harness(
            coordinator=lambda: "zenoh://",
            unreachable="zenoh://127.0.0.1:1?mode=client",
            invalid=("zenoh://user@", {"@type": "Zenoh", "config": "{mode: 'nonsense'}"}),
        )
