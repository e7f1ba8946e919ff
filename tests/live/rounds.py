"""Round and round: Redis -> NATS -> Zenoh -> Kafka -> Redis, while three nodes publish."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from bus.testing.brokers import Broker
from tests.faults.history import Verdict, judge
from tests.live.cluster import LiveCluster, patch_of, pause

RATE = 200
TOUR = ("redis", "nats", "zenoh", "kafka")


class Tour(NamedTuple):
    """What came of it."""

    verdict: Verdict
    # Seconds of each move.
    took: tuple[float, ...]
    problems: tuple[str, ...]


def travel(brokers: dict[str, Broker], folder: Path, rounds: int) -> Tour:
    """`rounds` times through all systems; all nodes at once in one move, one after the other in the next.

    In the next round it is the other way round.
    """
    patches = {kind: patch_of(brokers[kind].url) for kind in TOUR}
    took: list[float] = []
    problems: list[str] = []
    with LiveCluster(patches["redis"], folder, rate=RATE) as cluster:
        cluster.go()
        for number in range(rounds):
            for place, kind in enumerate((*TOUR[1:], TOUR[0])):
                began = time.monotonic()
                answers = cluster.move(patches[kind], after=0.7 * ((number + place) % 2))
                took.append(time.monotonic() - began)
                problems += [
                    f"round {number + 1}, to {kind}, {name}: {said}" for name, said in answers.items() if said
                ]
                links = [node.links() for node in cluster.nodes]
                if links != [[patches[kind]["@type"]]] * 3:
                    problems.append(f"round {number + 1}: after the move to {kind} the links are {links}")
                pause(0.5)
        verdict = judge(cluster.finish())
    problems += verdict.lost
    problems += [
        f"{pair.sender} -> {pair.receiver}: {pair.delivered} of {pair.published}"
        for pair in verdict.pairs
        if not pair.delivered == pair.published > RATE * sum(took) / 2
    ]
    return Tour(verdict, tuple(took), tuple(problems))
