"""What an event type looks like, and when two may be taken for one another."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest

from bus import Event, schema
from bus.event import EventTypes


class Part(msgspec.Struct):
    name: str
    size: int = 0


class Thin(msgspec.Struct):
    name: str


class Pair(msgspec.Struct, array_like=True, tag="pair"):
    left: int
    right: int


class Tree(msgspec.Struct):
    leaves: list[Tree]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Record:
    a: int


class Table(TypedDict, total=False):
    a: int


class Point(NamedTuple):
    x: int
    y: int = 0


def shape_of(annotation: object) -> schema.Shape:
    """The shape of a field of that type."""
    cls = msgspec.defstruct("Made", [("field", annotation)])
    return schema.describe(cls)[0][1]


@pytest.mark.parametrize(
    ("annotation", "shape"),
    [
        (int, "int"),
        (Annotated[int, msgspec.Meta(ge=0)], "int"),
        (float, "float"),
        (bytes, "bytes"),
        (bytearray, "bytes"),
        (Any, "any"),
        (datetime.datetime, "datetime"),
        (datetime.timedelta, "duration"),
        (uuid.UUID, "uuid"),
        (decimal.Decimal, "decimal"),
        (tuple[str, ...], ["list", "str"]),
        (list[str], ["list", "str"]),
        (frozenset[int], ["list", "int"]),
        (tuple[int, str], ["tuple", "int", "str"]),
        (dict[str, float], ["map", "str", "float"]),
        (int | None, ["union", "int", "null"]),
        (str | int, ["union", "int", "str"]),
        (Colour, ["values", "red", "blue"]),
        (Literal[2, 1], ["values", 1, 2]),
        (Part, ["object", None, None, [("name", "str", True), ("size", "int", False)]]),
        (Pair, ["array", "pair", [("left", "int", True), ("right", "int", True)]]),
        (Point, ["array", None, [("x", "int", True), ("y", "int", False)]]),
        (Record, ["object", None, None, [("a", "int", True)]]),
        (Table, ["object", None, None, [("a", "int", False)]]),
        (Tree, ["object", None, None, [("leaves", ["list", ["same", 0]], True)]]),
        (complex, ["custom", "builtins.complex"]),
    ],
    ids=str,
)
def test_every_type_of_a_field_has_a_shape_that_survives_the_wire(
    annotation: Any, shape: schema.Shape
) -> None:
    assert shape_of(annotation) == shape
    fields: list[schema.FieldShape] = [("field", shape, True)]
    assert schema.difference(fields, schema.decoded(schema.encoded(fields))) is None
    assert schema.shown(shape)


def fields(*annotations: Any, default: int = 0) -> list[schema.FieldShape]:
    """Fields a, b, c ..., the last `default` of them with a default."""
    names = "abcdefgh"[: len(annotations)]
    plain = len(names) - default
    made = [
        (name, one) if at < plain else (name, one, msgspec.field(default=None))
        for at, (name, one) in enumerate(zip(names, annotations, strict=True))
    ]
    return schema.describe(msgspec.defstruct("Made", made))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (fields(), fields()),
        (fields(int), fields(int, str, default=1)),
        (fields(int, str, bytes, default=2), fields(int, str, default=1)),
        (fields(list[int]), fields(tuple[int, ...])),
        (fields(int), fields(int | None)),
        (fields(int), fields(Any)),
        (fields(int | str), fields(int | str | None)),
        (fields(Literal["a"]), fields(Literal["a", "b"])),
        (fields(Tree), fields(Tree)),
        (fields(dict[str, list[Part]]), fields(dict[str, list[Thin]])),
        (fields(Point), fields(msgspec.defstruct("P", [("x", int)], array_like=True))),
    ],
)
def test_what_one_release_has_added_at_the_end_with_a_default_is_compatible(
    ours: list[schema.FieldShape], theirs: list[schema.FieldShape]
) -> None:
    assert schema.difference(ours, theirs) is None
    assert schema.difference(theirs, ours) is None


EMPTY: list[object] = []


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (fields(int), fields(str), "a is int here and str there"),
        (fields(int), fields(float), "a is int here and float there"),
        (fields(int), fields(int, str), "the field b, which is only there, has no default"),
        (fields(int, str), fields(int), "the field b, which is only here, has no default"),
        ([("b", "int", True)], [("c", "int", True)], "field 1 is b here and c there"),
        (fields(list[int]), fields(list[str]), "a is int here and str there"),
        (fields(list[int]), fields(dict[str, int]), "a is list[int] here and map[str, int] there"),
        (fields(tuple[int, int]), fields(tuple[int]), "a is tuple[int, int] here and tuple[int] there"),
        (fields(int | str), fields(int | bytes), "a is int | str here and int | bytes there"),
        (fields(Literal[1, 2]), fields(Literal[1, 3]), "a is 1 | 2 here and 1 | 3 there"),
        (fields(Part), fields(msgspec.defstruct("P", [("name", int)])), "a.name is str here and int there"),
        (fields(Part), fields(msgspec.defstruct("P", [("size", int)])), "a.name, which is only here"),
        (fields(msgspec.defstruct("P", [("z", int)])), fields(Part), "a.z, which is only here"),
        (fields(msgspec.defstruct("P", [("size", int, 0)])), fields(Part), "a.name, which is only there"),
        (fields(Pair), fields(Point), "a is [left: int, right: int] here and [x: int, y?: int] there"),
        ([("a", "int", True)], [("a", ["nonsense", ["of", 7]], True)], "a is int here"),
        (fields(Part), [("a", ["object", None, None, 7], True)], "a is {name: str, size?: int} here"),
        (fields(Part), [("a", ["object"], True)], "here and object there"),
        (fields(Part), [("a", EMPTY, True)], "here and nothing there"),
    ],
)  # fmt: skip
def test_what_could_be_taken_for_something_else_is_named(
    ours: list[schema.FieldShape], theirs: list[schema.FieldShape], reason: str
) -> None:
    found = schema.difference(ours, theirs)
    assert found is not None
    assert reason in found


def test_fields_are_compared_by_the_names_that_they_have_on_the_wire() -> None:
    renamed = msgspec.defstruct("M", [("new", int, msgspec.field(name="a"))])
    assert schema.difference(fields(int), schema.describe(renamed)) is None


@pytest.mark.parametrize(
    "text", [b"", b"\x90\x00", b"\x91\x92\xa1a\x01", b"\x91\x93\xa1a\xa1b\x03", b"\x91" * 9_000]
)
def test_what_is_no_description_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no description"):
        schema.decoded(text)


def test_the_digest_of_all_types_does_not_depend_on_their_order_and_is_never_zero() -> None:
    one, other = schema.encoded(fields(int)), schema.encoded(fields(str))
    assert schema.digest({"a": one, 77: other}) == schema.digest({77: other, "a": one})
    assert len({schema.digest({}), schema.digest({"a": one}), schema.digest({"a": other}), 0}) == 4


class Large(Event, tag="large"):
    first: int
    second: str


def test_a_very_large_type_is_told_by_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.event.LARGEST", 20)
    types = EventTypes()
    types.add([Large])
    whole = schema.encoded(schema.describe(Large))
    (told,) = schema.decoded(types.described["large"])
    assert told == ("fields", ["custom", schema.fingerprint(whole)], True)
    assert schema.fingerprint(whole) != schema.fingerprint(whole[1:])


def test_a_shape_of_another_node_is_shown_on_one_short_line() -> None:
    assert "\n" not in schema.shown(["custom", "a\nb\x1b[31m"])
    assert len(schema.shown(["values", *range(1_000)])) <= 100
    assert schema.shown(["list", ["list", ["list", ["list", ["list", "int"]]]]]).count("[") == 4
