"""The public API on trio: every scenario that runs on asyncio and uvloop, once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from inspect import iscoroutinefunction
from itertools import product
from types import ModuleType
from typing import Any

import anyio
import pytest

from bus import Bus
from tests.bus import (
    test_closing,
    test_isolation,
    test_losses,
    test_opening,
    test_publishing,
    test_reconfigure,
    test_subscribing,
    test_waiting,
)
from tests.bus.cluster import Note
from tests.bus.test_supervisor import SITUATIONS

MODULES = (
    test_closing,
    test_isolation,
    test_losses,
    test_opening,
    test_publishing,
    test_reconfigure,
    test_subscribing,
    test_waiting,
)
# Trio cancels by scopes only; these are about the other way.
NOT_ON_TRIO = {"test_a_task_that_is_cancelled_the_asyncio_way_closes_its_bus"}

Scenario = Callable[..., Coroutine[Any, Any, None]]


def marks_of(test: Scenario, module: ModuleType) -> list[pytest.Mark]:
    """The marks of a test, its module's included."""
    whole: list[pytest.MarkDecorator] = [vars(module)["pytestmark"]] if "pytestmark" in vars(module) else []
    own: list[pytest.Mark] = getattr(test, "pytestmark", [])
    return [*(decorator.mark for decorator in whole), *own]


def scenarios(module: ModuleType) -> Iterator[Any]:
    """Each test of a module that is marked `loops`, with its parameters, as a pytest parameter."""
    for name, test in vars(module).items():
        if not name.startswith("test_") or name in NOT_ON_TRIO or not iscoroutinefunction(test):
            continue
        marks = marks_of(test, module)
        if "loops" in {mark.name for mark in marks}:
            given = [
                [_arguments(mark.args[0], values) for values in mark.args[1]]
                for mark in marks
                if mark.name == "parametrize"
            ]
            for number, chosen in enumerate(product(*given)):
                arguments = {key: value for one in chosen for key, value in one.items()}
                yield pytest.param(test, arguments, id=f"{name}-{number}" if given else name)


def _arguments(names: str | tuple[str, ...], values: Any) -> dict[str, object]:
    keys = [key.strip() for key in names.split(",")] if isinstance(names, str) else list(names)
    return {keys[0]: values} if len(keys) == 1 else dict(zip(keys, values, strict=True))


@pytest.mark.parametrize(
    ("scenario", "arguments"), [param for module in MODULES for param in scenarios(module)]
)
def test_on_trio(scenario: Scenario, arguments: dict[str, object], request: pytest.FixtureRequest) -> None:
    if "caplog" in scenario.__code__.co_varnames[: scenario.__code__.co_argcount]:
        arguments = {**arguments, "caplog": request.getfixturevalue("caplog")}

    async def main() -> None:
        await scenario(**arguments)

    anyio.run(main, backend="trio")


def test_the_scenarios_are_found() -> None:
    found = [param.id for module in MODULES for param in scenarios(module)]
    assert len(found) > 90
    assert "test_publish_returns_the_sequence_number" in found


@pytest.mark.parametrize("situation", sorted(SITUATIONS.keys() - {"close raises a stray cancel"}))
def test_closing_takes_two_seconds_at_most(situation: str) -> None:
    async def main() -> None:
        with SITUATIONS[situation]() as system:
            async with Bus.open(system.coordinator, node="a") as a:
                a.publish(Note(1))
                await anyio.sleep(0.1)
                before = time.monotonic()
            took = time.monotonic() - before
            assert took < 2.3, f"it took {took:.2f} s"

    anyio.run(main, backend="trio")
