"""Which test shows what a field of the configuration does; `docs/fields.md` is made from it.

In `tests/backends/test_<system>_fields.py`:

    @effect("Nats", "pingInterval", "a quiet connection is pinged at this interval")
    async def test_pings_reach_the_server_at_the_interval() -> None: ...

    no_effect("RedisCluster", "maxRetries", "commands are not retried: only the supervisor tries again")

Several may be stacked on one test, and one may name several variants: `effect(("Redis", "RedisCluster"), …)`.
Fields have their JSON names; what a variant without fields does is its field "@type". To collect them the
modules are imported; nothing is run. `python -m tests.fields` writes the page, and test_fields.py fails when
the table is not complete.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from bus.config import VARIANTS, Coordinator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fields.md"
# A client library that makes more fields than this ineffective is the wrong library.
MOST_WITHOUT_EFFECT = 8
WHOLE = "@type"

Test = TypeVar("Test", bound=Callable[..., object])


class Row(NamedTuple):
    """One field and the test that shows its effect; without a test the text says why it has none."""

    variant: str
    field: str
    text: str
    module: str = ""
    test: str = ""

    @property
    def place(self) -> str:
        """The test's file, from the root of the repository."""
        return f"{self.module.replace('.', '/')}.py"


class Rows:
    """What the imported modules said."""

    def __init__(self) -> None:
        self.all: list[Row] = []

    def effect(self, variants: str | tuple[str, ...], field: str, text: str) -> Callable[[Test], Test]:
        """Decorator: this test fails when the field does not do what the text says."""

        def note(test: Test) -> Test:
            names = (variants,) if isinstance(variants, str) else variants
            self.all += [Row(name, field, text, test.__module__, test.__qualname__) for name in names]
            return test

        return note

    def no_effect(self, variants: str | tuple[str, ...], field: str, reason: str) -> None:
        """The client library makes the field ineffective; the reason stands in the documentation."""
        names = (variants,) if isinstance(variants, str) else variants
        self.all += [Row(name, field, reason) for name in names]


_rows = Rows()
effect = _rows.effect
no_effect = _rows.no_effect


def collected() -> list[Row]:
    """The rows of every module with field tests."""
    for path in sorted((ROOT / "tests" / "backends").glob("test_*_fields.py")):
        importlib.import_module(f"tests.backends.{path.stem}")
    return list(_rows.all)


def fields(variant: type[Coordinator]) -> dict[str, str]:
    """JSON name -> default as it stands in JSON, in the order of the seed."""
    found: dict[str, str] = {}
    for field in msgspec.structs.fields(variant):
        default: object = field.default
        # Durations and URIs know how they look to people.
        is_required = default is msgspec.NODEFAULT
        found[field.encode_name] = (
            "(required)" if is_required else msgspec.json.encode(default, enc_hook=str).decode()
        )
    return found or {WHOLE: "(no fields)"}


def problems(rows: Sequence[Row], variants: Iterable[type[Coordinator]] = VARIANTS) -> list[str]:
    """What keeps the table from being complete and true, one line each."""
    found: list[str] = []
    known = {(name_of(variant), name) for variant in variants for name in fields(variant)}
    has_effect = {row[:2] for row in rows if row.test}
    has_none = {row[:2] for row in rows if not row.test}
    found += [f"{variant}.{name} has no row" for variant, name in sorted(known - has_effect - has_none)]
    found += [f"{v}.{name} is no field" for v, name in sorted((has_effect | has_none) - known)]
    found += [f"{v}.{name} has an effect, and has none" for v, name in sorted(has_effect & has_none)]
    found += [
        f"{row.variant}.{row.field}: {row.test or 'no effect'}: empty text" for row in rows if not row.text
    ]
    found += [
        f"{row.place}::{row.test} is no test of that module" for row in rows if row.test and not _exists(row)
    ]
    if len(has_none) > MOST_WITHOUT_EFFECT:
        found.append(f"{len(has_none)} fields have no effect, at most {MOST_WITHOUT_EFFECT} may")
    return found


def page(rows: Sequence[Row], variants: Iterable[type[Coordinator]] = VARIANTS) -> str:
    """The text of docs/fields.md."""
    parts = [_TOP]
    for variant in variants:
        name = name_of(variant)
        lines = [
            f"\n## {name}\n\n{' '.join((variant.__doc__ or '').split())}\n",
            "| field | default | effect | shown by |",
            "|---|---|---|---|",
        ]
        for field, default in fields(variant).items():
            mine = [row for row in rows if row[:2] == (name, field)]
            lines.append(f"| `{field}` | {_code(default)} | {_effects(mine)} | {_tests(mine)} |")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


_TOP = """\
# What each field does

One table for each variant of the Coordinator object. Every field has a test against a real server, or a proxy
in front of one, that fails when the field does not do what stands here. A field that the client library makes
ineffective says so, and why. This page is generated: `python -m tests.fields`.
"""


def name_of(variant: type[Coordinator]) -> str:
    """The "@type" of a variant class."""
    return str(variant.__struct_config__.tag)


def _effects(rows: Sequence[Row]) -> str:
    texts = [row.text if row.test else f"**no effect**: {row.text}" for row in rows]
    return "; ".join(_cell(text) for text in dict.fromkeys(texts)) or "**not shown yet**"


def _tests(rows: Sequence[Row]) -> str:
    links = [f"[{row.test.replace('_', ' ')}](../{row.place})" for row in rows if row.test]
    return ", ".join(links) or "-"


def _code(text: str) -> str:
    return text if text.startswith("(") else f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _exists(row: Row) -> bool:
    """The name still leads to a test: not to a function inside another one, nor to one that was replaced."""
    if not row.test.rpartition(".")[2].startswith("test_"):
        return False
    try:
        return callable(attrgetter(row.test)(importlib.import_module(row.module)))
    except (AttributeError, ImportError):
        return False
