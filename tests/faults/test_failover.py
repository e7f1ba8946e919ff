"""A Redis master dies under load, of a cluster or behind sentinels: nothing is lost and all go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.testing.brokers.fixtures import BrokerFactory
from tests.faults.cells import MASTERS, Cell, run


@pytest.mark.timeout(150)
@pytest.mark.parametrize("system", MASTERS)
def test_nothing_is_lost_when_another_master_takes_over(
    system: str, broker_of: BrokerFactory, tmp_path: Path
) -> None:
    cell = Cell(system, "failover", 3, 3, 1)
    result = run(cell, broker_of(cell.kind), tmp_path)
    assert result.problems == (), f"{result}\nhistories and logs: {tmp_path}"
