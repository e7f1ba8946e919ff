"""Every field of every variant has a test that shows its effect, and docs/fields.md says so."""

from __future__ import annotations

import pytest

from bus.config import Coordinator
from tests.fields.effects import MOST_WITHOUT_EFFECT, PAGE, Row, Rows, collected, fields, page, problems


class Quill(Coordinator, frozen=True, kw_only=True):
    """A system of this test."""

    addresses: tuple[str, ...] = ("a|b",)
    max_waits: int


class Blank(Coordinator, frozen=True, kw_only=True):
    """Has no fields."""


SYSTEMS = (Quill, Blank)
REAL = "test_every_field_of_every_variant_has_a_row"


def test_every_field_of_every_variant_has_a_row() -> None:
    assert problems(collected()) == []


def test_the_page_is_what_is_generated() -> None:
    assert PAGE.read_text() == page(collected()), "run: python -m tests.fields"


def complete() -> list[Row]:
    """The rows of the systems of this test."""
    rows = Rows()

    def test() -> None: ...

    test.__qualname__ = REAL
    rows.effect("Quill", "addresses", "the server | that is asked")(test)
    rows.no_effect("Quill", "maxWaits", "the library has\nno such thing")
    rows.effect("Blank", "@type", "nothing happens")(test)
    return rows.all


def test_a_complete_table_has_no_problem() -> None:
    assert problems(complete(), SYSTEMS) == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (complete()[1:], "Quill.addresses has no row"),
        (complete()[:2], "Blank.@type has no row"),
        ([*complete(), Row("Quill", "max_waits", "x")], "Quill.max_waits is no field"),
        ([*complete(), Row("Quil", "addresses", "x")], "Quil.addresses is no field"),
        ([*complete(), Row("Quill", "addresses", "x")], "Quill.addresses has an effect, and has none"),
        ([*complete(), complete()[0]._replace(text="")], "empty text"),
        ([*complete(), complete()[0]._replace(test="test_gone")], "test_gone is no test"),
        ([*complete(), complete()[0]._replace(module="tests.gone")], "tests/gone.py::"),
        ([*complete(), complete()[0]._replace(test="complete")], "complete is no test"),
    ],
    ids=lambda value: value if isinstance(value, str) else "rows",
)
def test_what_is_missing_or_wrong_is_told(rows: list[Row], said: str) -> None:
    assert [said in problem for problem in problems(rows, SYSTEMS)] == [True]


def test_few_fields_may_have_no_effect() -> None:
    wide = type("Wide", (Coordinator,), {"__annotations__": {f"f{n}": int for n in range(9)}}, kw_only=True)
    rows = [Row("Wide", f"f{n}", "why") for n in range(9)]
    assert f"9 fields have no effect, at most {MOST_WITHOUT_EFFECT} may" in problems(rows, (wide,))


def test_one_decorator_may_name_several_variants() -> None:
    rows = Rows()

    @rows.effect(("Quill", "Blank"), "@type", "text")
    async def test_of_several() -> None: ...

    assert [row.variant for row in rows.all] == ["Quill", "Blank"]
    assert {row.module for row in rows.all} == {__name__}
    assert rows.all[0].test.endswith("test_of_several")


def test_fields_have_their_json_names_and_defaults() -> None:
    assert fields(Quill) == {"addresses": '["a|b"]', "maxWaits": "(required)"}


def test_the_page_has_a_table_with_links_and_no_empty_cell() -> None:
    text = page(complete(), SYSTEMS)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    link = f"[{REAL.replace('_', ' ')}](../tests/fields/test_fields.py)"
    assert rows == [
        f'| `addresses` | `["a\\|b"]` | the server \\| that is asked | {link} |',
        "| `maxWaits` | (required) | **no effect**: the library has no such thing | - |",
        f"| `@type` | (no fields) | nothing happens | {link} |",
    ]
