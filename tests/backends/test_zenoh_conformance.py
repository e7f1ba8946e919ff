"""The Zenoh backend passes the conformance suite: peer to peer, and as a client of a router that fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bus.testing.conformance import Conformance, Harness
from bus.testing.conformance.faults import Faults
from bus.testing.conformance.frames import Frames
from tests.backends.zenoh_router import Router


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
    def harness(self) -> Iterator[Harness]:
        with Router() as router:
            yield Harness(
                coordinator=lambda: f"zenoh://127.0.0.1:{router.port}?mode=client",
                restart=router.restart,
                kill=router.kill,
                pause=router.pause,
                resume=router.resume,
            )
