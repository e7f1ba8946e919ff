"""The directed scenarios with the true core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import isfunction, signature
from types import ModuleType

import pytest

from bus.testing.network import Core
from tests.simulation import (
    broker_scenarios,
    clock_scenarios,
    node_scenarios,
    repair_scenarios,
    seal_scenarios,
    type_scenarios,
)

MODULES = (
    repair_scenarios, clock_scenarios, node_scenarios, broker_scenarios, seal_scenarios, type_scenarios,
)  # fmt: skip


def scenarios(*modules: ModuleType) -> Iterator[Callable[[Core], None]]:
    """All functions of a core that are defined there."""
    for module in modules:
        for function in vars(module).values():
            is_ours = isfunction(function) and function.__module__ == module.__name__
            if is_ours and list(signature(function).parameters) == ["core"]:
                yield function


@pytest.mark.parametrize(
    "scenario",
    list(scenarios(*MODULES)),
    ids=lambda scenario: scenario.__name__,
)
def test_scenario(scenario: Callable[[Core], None]) -> None:
    scenario(Core())
