"""Brokers stay away for a while, or freeze, under load: every event is repaired, and nothing is told lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.testing.brokers.fixtures import BrokerFactory
from tests.faults.cells import BROKERS, Cell, run

CELLS = [
    Cell("nats", "kill", 3, 5, 1),
    *(Cell(system, "freeze", 5, 3, 1) for system in BROKERS),
    Cell("nats", "kill", 30, 3, 1),
]


@pytest.mark.timeout(150)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_nothing_is_lost(cell: Cell, broker_of: BrokerFactory, tmp_path: Path) -> None:
    result = run(cell, broker_of(cell.kind), tmp_path)
    assert result.problems == (), f"{result}\nhistories and logs: {tmp_path}"
