"""One cell of the fault runs: a fault on a system under load, and what the histories say afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bus.testing.brokers import Broker
from tests.faults.crew import Crew, pause
from tests.faults.history import Closed, History, State, judge, recovered
from tests.faults.outages import FAULTS
from tests.faults.results import Result

# What is added to the URL of the broker.
OPTIONS = {"redis-cluster": "?readFromReplicas=false", "redis-cluster-sharded": "?shardedPubSub=true"}
BROKERS = ("nats", "redis", "valkey", "kafka", "zenoh")
MASTERS = ("redis-cluster", "redis-cluster-sharded", "redis-sentinel")
RATE = 500
RECOVER = 6.0
BEFORE, AFTER = 2.0, 4.0
# Of the load that was asked for: with less, the machine was too slow to show anything.
LEAST = 0.3


class Cell(NamedTuple):
    """`fault` happens to `system` for `seconds` while `nodes` nodes publish; the `run`-th time."""

    system: str
    fault: str
    seconds: float
    nodes: int
    run: int

    def __str__(self) -> str:
        return f"{self.system} {self.fault} {self.seconds:g}s {self.nodes} nodes #{self.run}"

    @property
    def kind(self) -> str:
        """The kind of broker."""
        return self.system.removesuffix("-sharded")


def cells(runs: int) -> Iterator[Cell]:
    """All cells, those that are to be repeated `runs` times."""
    for run in range(1, runs + 1):
        yield from (Cell(system, "kill", 1, 3, run) for system in BROKERS)
    yield from (Cell(system, "kill", 3, 5, 1) for system in BROKERS)
    yield from (Cell(system, "kill", 30, 3, 1) for system in BROKERS)
    # Shorter and longer than it takes to make a link anew.
    yield from (Cell(system, "freeze", seconds, 3, 1) for seconds in (5, 10) for system in BROKERS)
    yield from (Cell(system, "failover", 3, 3, 1) for system in MASTERS)


def run(cell: Cell, broker: Broker, folder: Path) -> Result:
    """Run one cell; its histories and logs are in `folder` afterwards."""
    try:
        with Crew(broker.url + OPTIONS.get(cell.system, ""), folder, count=cell.nodes, rate=RATE) as crew:
            crew.go()
            pause(BEFORE)
            began, healed = FAULTS[cell.fault](broker, cell.seconds)
            pause(AFTER)
            histories = crew.finish()
    finally:
        (folder / "broker.log").write_text(broker.logs())
    return judged(cell, histories, began, healed)


def judged(cell: Cell, histories: list[History], began: float, healed: float) -> Result:
    """The result by the histories alone."""
    verdict = judge(histories)
    after = recovered(histories, healed)
    problems = verdict.lost
    if after is None or after > RECOVER:
        problems.append(f"recovered after {after} s, allowed are {RECOVER:g} s")
    wanted = RATE * (BEFORE + healed - began + AFTER)
    problems += [
        f"{history.node} published {history.published} events, {wanted:.0f} were wanted"
        for history in histories
        if history.published < LEAST * wanted
    ]
    # A cluster has other masters: those who are with them notice nothing.
    enough = any if cell.fault == "failover" else all
    if not enough(_noticed(history, began) for history in histories):
        problems.append("nodes were READY all the time: did the fault happen?")
    closed = [line for history in histories for line in history.lines if isinstance(line, Closed)]
    return Result(
        cell=str(cell),
        problems=tuple(problems),
        published=sum(history.published for history in histories),
        delivered=sum(pair.delivered for pair in verdict.pairs),
        repaired=sum(line.repaired for line in closed),
        told=sum(pair.told for pair in verdict.pairs),
        resynced=sum(pair.resynced for pair in verdict.pairs),
        unexplained=verdict.unexplained,
        recovered=None if after is None else round(after, 3),
        publish_wall=round(max((line.longest_wall for line in closed), default=0.0), 4),
        losses=verdict.losses[:20],
    )


def _noticed(history: History, began: float) -> bool:
    return any(
        isinstance(line, State) and line.state != "READY" and line.at >= began for line in history.lines
    )
