"""What an event type looks like on the wire, as data that two nodes or two releases can compare.

A description is a list of fields `[name, shape, required]`, in order. A shape is a word (`"int"`, `"str"`,
`"datetime"` ...) or a list that starts with one:
    ["list", T]  ["tuple", T, ...]  ["map", K, V]  ["union", T, ...]  ["values", v, ...]
    ["object", tag field, tag, fields]   a map by names       ["array", tag, fields]   by places
    ["same", n]  the object or array n levels further out      ["custom", name]
Bounds of a value (`Meta(ge=0)`) do not belong to it, nor do the values of defaults: what breaks a bound is
told as undecodable, and is never taken for something else.

Two types are compatible when the fields of one are the first fields of the other and all that follow have
defaults. A union, or the values of an enum, may have more members on one side, and "any" has all: what the
other side does not know fails to decode there, event by event, and is told. All else could be read wrongly.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec
from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Tag = int | str
Shape = object
"""A word or a list, as in the text above."""
FieldShape = tuple[str, Shape, bool]
"""Name, shape, required."""

_SHORT = 100
_encode = msgspec.msgpack.Encoder().encode
_fields = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw, bool]])
_shape = msgspec.msgpack.Decoder()
_WORDS: dict[type[inspect.Type], str] = {
    inspect.AnyType: "any", inspect.NoneType: "null", inspect.BoolType: "bool", inspect.IntType: "int",
    inspect.FloatType: "float", inspect.StrType: "str", inspect.BytesType: "bytes",
    inspect.ByteArrayType: "bytes", inspect.MemoryViewType: "bytes", inspect.DateTimeType: "datetime",
    inspect.TimeType: "time", inspect.DateType: "date", inspect.TimeDeltaType: "duration",
    inspect.UUIDType: "uuid", inspect.DecimalType: "decimal", inspect.ExtType: "ext", inspect.RawType: "any",
}  # fmt: skip


# -- describing ------------------------------------------------------------------------------------


def describe(cls: type[msgspec.Struct]) -> list[FieldShape]:
    """The fields of an event class, in order."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return _fields_of(info.fields, (cls,))


def encoded(fields: Sequence[FieldShape]) -> bytes:
    """A description as msgpack: the same bytes for the same type."""
    return _encode(fields)


def decoded(description: bytes) -> list[FieldShape]:
    """And back. Raises ValueError when it is none."""
    try:
        read = _fields.decode(description)
        return [(name, cast("Shape", _shape.decode(shape)), required) for name, shape, required in read]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError("no description of an event type") from error


def fingerprint(description: bytes) -> str:
    """A description in 16 hexadecimal digits."""
    return hashlib.sha256(description).hexdigest()[:16]


def digest(descriptions: Mapping[Tag, bytes]) -> int:
    """64 bits over all types of a node, whatever the order; never 0, which says nothing (docs/wire.md)."""
    total = hashlib.sha256()
    for part in sorted(_encode(tag) + description for tag, description in descriptions.items()):
        total.update(part)
    return int.from_bytes(total.digest()[:8], "little") or 1


def _fields_of(fields: Iterable[inspect.Field], outer: tuple[type, ...]) -> list[FieldShape]:
    return [(field.encode_name, _shape_of(field.type, outer), field.required) for field in fields]


def _shape_of(info: inspect.Type, outer: tuple[type, ...]) -> Shape:
    if (word := _WORDS.get(type(info))) is not None:
        return word
    match info:
        case inspect.Metadata(type=inner):
            return _shape_of(inner, outer)
        case inspect.CollectionType(item_type=item):  # lists, sets, tuples of any length: all are arrays
            return ["list", _shape_of(item, outer)]
        case inspect.TupleType(item_types=items):
            return ["tuple", *(_shape_of(item, outer) for item in items)]
        case inspect.DictType(key_type=key, value_type=value):
            return ["map", _shape_of(key, outer), _shape_of(value, outer)]
        case inspect.UnionType(types=types):
            return ["union", *sorted((_shape_of(one, outer) for one in types), key=_encode)]
        case inspect.EnumType(cls=cls):
            return ["values", *sorted((member.value for member in cls), key=_encode)]
        case inspect.LiteralType(values=values):
            return ["values", *sorted(values, key=_encode)]
        case _:
            return _composite(info, outer)


def _composite(info: inspect.Type, outer: tuple[type, ...]) -> Shape:
    cls: type | None = getattr(info, "cls", None)
    if cls in outer:
        return ["same", outer[::-1].index(cls)]
    inner = outer if cls is None else (*outer, cls)
    match info:
        case inspect.StructType(fields=fields, array_like=True, tag=tag):
            return ["array", tag, _fields_of(fields, inner)]
        case inspect.StructType(fields=fields, tag_field=name, tag=tag):
            return ["object", name, tag, _fields_of(fields, inner)]
        case inspect.NamedTupleType(fields=fields):
            return ["array", None, _fields_of(fields, inner)]
        case inspect.DataclassType(fields=fields) | inspect.TypedDictType(fields=fields):
            return ["object", None, None, _fields_of(fields, inner)]
        case _:
            return [
                "custom",
                f"{cls.__module__}.{cls.__qualname__}" if cls is not None else type(info).__name__,
            ]


# -- comparing -------------------------------------------------------------------------------------


class Sides(NamedTuple):
    """What the places of the two types are called."""

    here: str = "here"
    there: str = "there"


HERE_AND_THERE = Sides()


def difference(
    ours: Sequence[FieldShape], theirs: Sequence[FieldShape], sides: Sides = HERE_AND_THERE
) -> str | None:
    """Why the two types cannot be taken for one another: the first reason, in words; None = compatible."""
    return _Comparison(sides).by_place(list(ours), list(theirs), "")


class _Comparison:
    """One pair of types; each method gives the first reason against it, or None."""

    def __init__(self, sides: Sides) -> None:
        self._here, self._there = sides

    def by_place(self, ours: list[FieldShape], theirs: list[FieldShape], path: str) -> str | None:
        shared = min(len(ours), len(theirs))
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=False), 1):
            if mine[0] != other[0]:
                here, there = f"{path}{mine[0]} {self._here}", f"{path}{other[0]} {self._there}"
                return f"field {place} is {here} and {there}"
            if (found := self._shapes(mine[1], other[1], f"{path}{mine[0]}")) is not None:
                return found
        return self._lonely(ours[shared:], self._here, path) or self._lonely(
            theirs[shared:], self._there, path
        )

    def _by_name(self, ours: list[FieldShape], theirs: list[FieldShape], path: str) -> str | None:
        here = {name: shape for name, shape, _ in ours}
        there = {name: shape for name, shape, _ in theirs}
        for name in here:
            if name in there:
                found = self._shapes(here[name], there[name], f"{path}{name}")
                if found is not None:
                    return found
        return self._lonely((one for one in ours if one[0] not in there), self._here, path) or self._lonely(
            (one for one in theirs if one[0] not in here), self._there, path
        )

    def _lonely(self, fields: Iterable[FieldShape], side: str, path: str) -> str | None:
        """Fields that one side alone has need a default."""
        name = next((name for name, _, required in fields if required), None)
        return None if name is None else f"the field {path}{name}, which is only {side}, has no default"

    def _shapes(self, mine: Shape, other: Shape, path: str) -> str | None:
        if mine == other:
            return None
        (kind, ours), (other_kind, theirs) = _parts(mine), _parts(other)
        unlike = f"{path} is {shown(mine)} {self._here} and {shown(other)} {self._there}"
        if "any" in (kind, other_kind):
            return None
        if "union" in (kind, other_kind):
            members = ours if kind == "union" else [mine]
            others = theirs if other_kind == "union" else [other]
            return None if self._is_part(members, others, path) else unlike
        if kind != other_kind:
            return unlike
        try:
            match kind:
                case "values":
                    is_part = all(one in theirs for one in ours) or all(one in ours for one in theirs)
                    return None if is_part else unlike
                case "list" | "map" | "tuple" if len(ours) == len(theirs):
                    pairs = zip(ours, theirs, strict=True)
                    return next((found for a, b in pairs if (found := self._shapes(a, b, path))), None)
                case "array" if ours[0] == theirs[0]:
                    return self.by_place(_inner(ours[1]), _inner(theirs[1]), f"{path}.")
                case "object" if ours[:2] == theirs[:2]:
                    return self._by_name(_inner(ours[2]), _inner(theirs[2]), f"{path}.")
                case _:
                    return unlike
        except (IndexError, ValueError):
            return unlike  # it comes from another node: whatever it is, it is not ours

    def _is_part(self, ours: list[Shape], theirs: list[Shape], path: str) -> bool:
        """Of two unions one may have more members; those that both have must be alike."""
        fewer, more = (ours, theirs) if len(ours) <= len(theirs) else (theirs, ours)
        return all(any(self._shapes(one, another, path) is None for another in more) for one in fewer)


def _parts(shape: Shape) -> tuple[str, list[Shape]]:
    parts = cast("list[Shape]", shape) if isinstance(shape, list) else [shape]
    return (str(parts[0]), parts[1:]) if parts else ("nothing", [])


def _inner(found: Shape) -> list[FieldShape]:
    """The fields of a nested shape. Raises ValueError."""
    try:
        rows = [(name, shape, required) for name, shape, required in cast("list[list[object]]", found)]
    except TypeError as error:
        raise ValueError("no fields") from error
    return [(str(name), shape, required is True) for name, shape, required in rows]


# -- showing ---------------------------------------------------------------------------------------


def shown(shape: Shape) -> str:
    """A shape for people, on one line and not longer than `_SHORT`."""
    text = re.sub(r"[^\x20-\x7e]", "?", _shown(shape, 4))
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."


def _shown(shape: Shape, depth: int) -> str:
    kind, parts = _parts(shape)
    if not parts or not depth:
        return kind
    match kind:
        case "union":
            return " | ".join(_shown(one, depth - 1) for one in parts)
        case "values":
            return " | ".join(repr(one) for one in parts)
        case "object" | "array":
            try:
                rows = _inner(parts[-1])
            except ValueError:
                return kind
            fields = (
                f"{name}{'' if needed else '?'}: {_shown(one, depth - 1)}" for name, one, needed in rows
            )
            return f"{{{', '.join(fields)}}}" if kind == "object" else f"[{', '.join(fields)}]"
        case "custom":
            return str(parts[0])
        case _:
            return f"{kind}[{', '.join(_shown(one, depth - 1) for one in parts)}]"
