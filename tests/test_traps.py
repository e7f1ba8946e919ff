"""The table of traps is whole and up to date; that each guard is missed shows `python -m tests.traps`."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.traps import ROOT, TRAPS, Guard

GUARDS = [
    pytest.param(guard, id=f"T{trap.number}-{guard.file}-{number}")
    for trap in TRAPS
    for number, guard in enumerate(trap.guards, 1)
]


@cache
def names(path: str) -> frozenset[str]:
    """The tests of a file, with their classes."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            prefix + one.name for one in inside if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        }
    return frozenset(found)


def test_each_of_the_twenty_five_traps_has_a_guard() -> None:
    assert [trap.number for trap in TRAPS] == list(range(1, 26))
    assert all(trap.guards for trap in TRAPS)


@pytest.mark.parametrize("guard", GUARDS)
def test_the_guard_is_where_the_table_says(guard: Guard) -> None:
    found = (ROOT / guard.file).read_text().count(guard.old)
    assert found == 1, f"{guard.old!r} is {found} times in {guard.file}: bring tests/traps.py up to date"
    assert guard.new != guard.old


@pytest.mark.parametrize("guard", GUARDS)
def test_the_tests_that_would_miss_it_are_there(guard: Guard) -> None:
    assert guard.nodes
    for node in guard.nodes:
        path, _, name = node.partition("::")
        assert name.partition("[")[0] in names(path), f"there is no {node}"
