"""docs/new-backend.md says what the code says: scenarios, fields of Harness and Features, the example."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from bus.backend import Features
from bus.testing.conformance import Conformance, Harness, scenarios

HERE = Path(__file__).parent
TEXT = (HERE.parents[1] / "docs" / "new-backend.md").read_text()


def table(theme: type) -> str:
    """The table of one theme as it must stand in the document."""
    names = [name for name in vars(theme) if name.startswith("test_")]
    proves = scenarios()
    rows = [f"| `{name}` | {proves[name]} |" for name in names]
    return "\n".join(["| scenario | proves |", "|---|---|", *rows])


@pytest.mark.parametrize("theme", Conformance.__bases__, ids=lambda theme: theme.__name__)
def test_the_document_lists_the_scenarios(theme: type) -> None:
    found = re.search(rf"<!-- scenarios: {theme.__name__} -->\n\n((?:\|.*\n)*)", TEXT)
    assert found is not None
    assert found[1].strip() == table(theme)


@pytest.mark.parametrize("name", [field.name for field in fields(Harness)])
def test_the_document_explains_the_field_of_the_harness(name: str) -> None:
    assert re.search(rf"^\|.*`{name}`.*\| .+ \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("name", Features.__struct_fields__)
def test_the_document_explains_the_feature(name: str) -> None:
    assert re.search(rf"^\|.*`{name}`.*\| .+ \|$", TEXT, re.MULTILINE)


def test_every_scenario_says_what_it_proves_in_one_line() -> None:
    for name, text in scenarios().items():
        assert inspect.iscoroutinefunction(getattr(Conformance, name)), name
        assert text.endswith(".") and "|" not in text, f"{name}: {text!r}"


def test_no_scenario_hides_another() -> None:
    names = [name for theme in Conformance.__bases__ for name in vars(theme) if "test_" in name]
    assert len(names) == len(set(names)) == len(scenarios())


def code(source: str) -> list[str]:
    """The statements of a module without its docstring, as text without comments."""
    body = ast.parse(source).body
    starts = 1 if isinstance(body[0], ast.Expr) else 0
    return [
        ast.unparse(statement)
        for statement in body[starts:]
        if not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__")
    ]


def test_the_example_is_the_third_party_backend_that_passes_the_suite() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    shipped = (HERE / "thirdparty" / "bus_relay" / "__init__.py").read_text()
    assert code(blocks[0]) + code(blocks[1]) == code(shipped)
