"""Brokers are killed under load: every event is repaired, in order, none twice, none lost.

The same cells run more often, and longer outages too, by `make faults`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.testing.brokers.fixtures import BrokerFactory
from tests.faults.cells import BROKERS, Cell, run
from tests.faults.crew import Crew, pause
from tests.faults.history import judge
from tests.faults.outages import kill


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("system", BROKERS)
def test_nothing_is_lost_when_the_broker_is_back_after_a_second(
    system: str, number: int, broker_of: BrokerFactory, tmp_path: Path
) -> None:
    cell = Cell(system, "kill", 1, 3, number)
    result = run(cell, broker_of(cell.kind), tmp_path)
    assert result.problems == (), f"{result}\nhistories and logs: {tmp_path}"


@pytest.mark.timeout(120)
def test_what_the_log_could_not_hold_is_told_exactly(broker_of: BrokerFactory, tmp_path: Path) -> None:
    """Also shows that the judge sees a loss when there is one."""
    server = broker_of("nats")
    with Crew(server.url, tmp_path, limits={"log_events": 300}) as crew:
        crew.go()
        pause(1)
        kill(server, 2)
        pause(3)
        verdict = judge(crew.finish())
    assert verdict.wrong == []
    assert all(pair.told > 200 for pair in verdict.pairs), verdict
    assert any("Gap(gone)" in loss for loss in verdict.losses)
