"""The Zenoh backend passes the conformance suite: peer to peer, and as a client of a router that fails."""

from __future__ import annotations

import pytest

from bus.testing.brokers import Broker, steps
from bus.testing.conformance import Conformance, Harness
from bus.testing.conformance.faults import Faults
from bus.testing.conformance.frames import Frames


class TestZenoh(Conformance):
    @pytest.fixture
    def harness(self) -> Harness:
        return Harness(
            coordinator=lambda: "zenoh://",
            unreachable="zenoh://127.0.0.1:1?mode=client",
            invalid=("zenoh://user@", {"@type": "Zenoh", "config": "{mode: 'nonsense'}"}),
        )


class TestZenohThroughRouter(Faults, Frames):
    @pytest.fixture
    def harness(self, zenoh_router: Broker) -> Harness:
        return Harness(coordinator=lambda: zenoh_router.url, **steps(zenoh_router))
