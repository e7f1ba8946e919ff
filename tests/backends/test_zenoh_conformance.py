"""The Zenoh backend passes the conformance suite: peer to peer, and as a client of a router that fails."""

from __future__ import annotations

import pytest

from bus.testing.brokers import Broker, steps
from bus.testing.conformance import Conformance, Harness
from bus.testing.conformance.faults import Faults
from bus.testing.conformance.frames import Frames


# No peer is a server that could fail, and Zenoh tells nobody why he is refused: no AuthError can come of it.
class TestZenoh(Conformance, without=("wrong_credentials", "restart", "kill", "pause", "resume")):
    @pytest.fixture
    def harness(self) -> Harness:
        return Harness(
            coordinator=lambda: "zenoh://",
            unreachable="zenoh://127.0.0.1:1?mode=client",
            invalid=("zenoh://user@", {"@type": "Zenoh", "config": "{mode: 'nonsense'}"}),
        )


# Nobody at the address is nobody, whether there is a router elsewhere or not: TestZenoh has tried it.
class TestZenohThroughRouter(Faults, Frames, without=("unreachable", "wrong_credentials")):
    @pytest.fixture
    def harness(self, zenoh_router: Broker) -> Harness:
        return Harness(coordinator=lambda: zenoh_router.url, **steps(zenoh_router))
