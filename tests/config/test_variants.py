"""Every field of every variant: its default, what it takes, what it refuses (table.py)."""

from __future__ import annotations

import msgspec.inspect
import pytest

from bus.config import VARIANTS, Coordinator, decode, encode, type_of
from bus.errors import ConfigError
from tests.config.problems import codes
from tests.config.table import LEAST, REQUIRED, TABLE, an_object


def described(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)[:40]


ROWS = [(variant, name) for variant, fields in TABLE.items() for name in fields]


def test_table_knows_every_variant_and_every_field() -> None:
    assert set(TABLE) == set(VARIANTS)
    for variant, fields in TABLE.items():
        whole = encode(decode({"@type": variant.__name__, **LEAST.get(variant, {})}))
        assert list(whole) == ["@type", *fields]


@pytest.mark.parametrize("variant", TABLE, ids=described)
def test_class_name_is_the_type(variant: type[Coordinator]) -> None:
    made = decode({"@type": variant.__name__, **LEAST.get(variant, {})})
    assert type(made) is variant
    assert type_of(made) == variant.__name__


@pytest.mark.parametrize(("variant", "name"), ROWS, ids=described)
def test_field_has_its_default(variant: type[Coordinator], name: str) -> None:
    default = TABLE[variant][name].default
    if default is not REQUIRED:
        made = decode({"@type": variant.__name__, **LEAST.get(variant, {})})
        assert encode(made)[name] == default
        return
    rest = {key: value for key, value in LEAST[variant].items() if key != name}
    assert codes({"@type": variant.__name__, **rest}) == [(name, "required")]


@pytest.mark.parametrize(
    ("variant", "name", "given", "encoded"),
    [(variant, name, *pair) for variant, name in ROWS for pair in TABLE[variant][name].good],
    ids=described,
)
def test_good_value_is_taken(variant: type[Coordinator], name: str, given: object, encoded: object) -> None:
    made = decode(an_object(variant, name, given))
    assert encode(made, reveal=True)[name] == encoded


@pytest.mark.parametrize(
    ("variant", "name", "given", "code", "below"),
    [(variant, name, *row) for variant, name in ROWS for row in TABLE[variant][name].bad],
    ids=lambda value: described(value) if not isinstance(value, int) else "number",
)
def test_bad_value_is_refused_at_its_path(
    variant: type[Coordinator], name: str, given: object, code: str, below: str
) -> None:
    assert (name + below, code) in codes(an_object(variant, name, given))


@pytest.mark.parametrize("variant", TABLE, ids=described)
def test_all_bad_fields_are_told_at_once(variant: type[Coordinator]) -> None:
    """One bad value in each field: each of them is in the report, none hides another."""
    source: dict[str, object] = {"@type": variant.__name__, "nonsense": 1}
    expected = {"nonsense"}
    for name, field in TABLE[variant].items():
        value, _, below = field.bad[0]
        source[name] = value
        expected.add(name + below)
    assert {path for path, _ in codes(source)} >= expected


def test_field_descriptions_are_there_for_the_schema() -> None:
    for variant in TABLE:
        properties = msgspec.inspect.type_info(variant)
        assert isinstance(properties, msgspec.inspect.StructType)
        for field in properties.fields:
            assert "description=" in repr(field.type) or "description'" in repr(field.type), field.name


def test_a_variant_that_is_not_known_lists_those_that_are() -> None:
    with pytest.raises(ConfigError, match="did you mean Nats") as raised:
        decode({"@type": "nats", "addresses": ["a"]})
    for variant in TABLE:
        assert variant.__name__ in str(raised.value)
