"""Every rule earns its place: taken out of the core, a directed scenario notices."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, core_of, source


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_rule_that_is_taken_out_is_missed(mutant: Mutant) -> None:
    found = source(mutant.file).count(mutant.old)
    assert found == 1, f"{mutant.old!r} is {found} times in {mutant.file}.py: bring the table up to date"
    core = core_of(mutant)
    try:
        mutant.scenario(core)
    except Exception:  # noqa: BLE001 (a broken core may fail in any way)
        return
    pytest.fail(f"{mutant.scenario.__name__} does not notice that {mutant.old!r} became {mutant.new!r}")


def test_each_of_the_rules_has_a_scenario() -> None:
    # Rule 17 is the lifecycle's alone: tests/protocol/test_lifecycle.py.
    assert {mutant.rule for mutant in MUTANTS} >= set(range(1, 20)) - {17}
