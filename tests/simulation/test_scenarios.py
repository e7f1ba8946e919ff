"""The directed scenarios with the true core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import isfunction, signature
from types import ModuleType

import pytest

from bus.testing.network import Core
from tests.simulation import log_scenarios, node_scenarios


def scenarios(*modules: ModuleType) -> Iterator[Callable[[Core], None]]:
    """All functions of a core that are defined there."""
    for module in modules:
        for function in vars(module).values():
            if isfunction(function) and function.__module__ == module.__name__:
                if list(signature(function).parameters) == ["core"]:
                    yield function


@pytest.mark.parametrize(
    "scenario", list(scenarios(log_scenarios, node_scenarios)), ids=lambda scenario: scenario.__name__
)
def test_scenario(scenario: Callable[[Core], None]) -> None:
    scenario(Core())
