"""The short form of the fault matrix that runs with every change, through a proxy and without root.

One set of nodes goes through several faults, one after the other, under load; after each all must have fresh
events of all within 6 s, and at the end every event was delivered in order. The numbers are those of the
matrix. Kills are in test_killed_brokers, `close` in every state is in the conformance suite.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bus.testing.brokers.fixtures import to_be_had
from bus.testing.proxy import Toxics
from tests.faults.crew import pause
from tests.faults.lab import Expected, Lab, Scenario

BEFORE = 0.5
# DEGRADED after 3 s without proof, a new link after 6 s.
NOTICED, REBUILT = 3.5, 6.5


def broken_connections(lab: Lab) -> None:
    """21 reset, 29 cut in the middle of frames, 25 late, 4 and 35 frozen for a while."""
    lab.start(before=BEFORE)
    with lab.fault():
        lab.between.reset()
        lab.recover()
        for limit in (1, 47, 333, 4_099):
            lab.between.set(down=Toxics(limit=limit), up=Toxics(limit=2 * limit))
            pause(0.3)
        lab.between.heal()
        lab.recover()
        late = Toxics(delay=0.1, jitter=0.1)
        lab.between.set(up=late, down=late)
        pause(1)
        lab.between.heal()
        lab.broker.pause()
        try:
            pause(NOTICED)
        finally:
            lab.broker.resume()
    lab.recover()


def silent_connections(lab: Lab) -> None:
    """17, 18 both ways silent, idle at first; 20 what the broker sends does not arrive."""
    lab.start(before=BEFORE)
    with lab.fault():
        lab.cables.drop("in", "out")
        lab.idle(REBUILT - 1)
        pause(1)
        lab.cables.heal()
        lab.recover()
        lab.cables.drop("out")
        pause(NOTICED)
        lab.cables.heal()
    lab.recover()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("act", "system"),
    [
        (broken_connections, "nats"),
        (broken_connections, "redis"),
        (silent_connections, "nats"),
        (silent_connections, "redis"),
        (silent_connections, "kafka"),
    ],
)
def test_nodes_go_through_faults_of_the_network(
    act: Callable[[Lab], None], system: str, tmp_path: Path
) -> None:
    what = Scenario("gauntlet", act, Expected(), None, is_proxied=True, broker=None)
    with to_be_had():
        figures, problems, _ = Lab(system, tmp_path, what, None).run()
    assert problems == [], f"{figures}\nhistories and logs: {tmp_path}"
