"""What an event type looks like on the wire, as data that two nodes or two releases can compare.

A description is a list of fields `[name, shape, required]`, in order. A shape is a word (`"int"`, `"str"`,
`"datetime"` ...) or a list that starts with one:
    ["list", T]  ["tuple", T, ...]  ["map", K, V]  ["union", T, ...]  ["values", v, ...]
    ["object", tag field, tag, fields]   a map by names       ["array", tag, fields]   by places
    ["same", n]  the object or array n levels further out      ["custom", name]
Bounds of a value (`Meta(ge=0)`) do not belong to it, nor do the values of defaults: what breaks a bound is
told as undecodable, and is never taken for something else.

Two types are compatible when the fields of one are the first fields of the other and all that follow have
defaults. A union, or the values of an enum, may have more members on one side: what the other side does not
know fails to decode there, event by event, and is told. All else could be decoded wrongly.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, cast

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


def difference(ours: Sequence[FieldShape], theirs: Sequence[FieldShape]) -> str | None:
    """Why the two types cannot be taken for one another: the first reason, in words; None = compatible."""
    return _by_place(list(ours), list(theirs), "")


def _by_place(ours: list[FieldShape], theirs: list[FieldShape], path: str) -> str | None:
    shared = min(len(ours), len(theirs))
    for place, (mine, other) in enumerate(zip(ours, theirs, strict=False), 1):
        if mine[0] != other[0]:
            return f"field {place} is {path}{mine[0]} here and {path}{other[0]} there"
        if (found := _compare(mine[1], other[1], f"{path}{mine[0]}")) is not None:
            return found
    for more, where in ((ours, "here"), (theirs, "there")):
        for name, _, required in more[shared:]:
            if required:
                return f"the field {path}{name}, which is only {where}, has no default"
    return None


def _by_name(ours: list[FieldShape], theirs: list[FieldShape], path: str) -> str | None:
    others = {name: (shape, required) for name, shape, required in theirs}
    for name, shape, required in ours:
        if name in others:
            found = _compare(shape, others.pop(name)[0], f"{path}{name}")
            if found is not None:
                return found
        elif required:
            return f"the field {path}{name}, which is only here, has no default"
    for name, (_, required) in others.items():
        if required:
            return f"the field {path}{name}, which is only there, has no default"
    return None


def _compare(mine: Shape, other: Shape, path: str) -> str | None:
    """One shape with another; `path` names the place."""
    if mine == other:
        return None
    kind, ours = _parts(mine)
    other_kind, theirs = _parts(other)
    if "union" in (kind, other_kind):
        return _unions(
            [mine] if kind != "union" else ours, [other] if other_kind != "union" else theirs, path
        )
    unlike = f"{path} is {shown(mine)} here and {shown(other)} there"
    if kind != other_kind:
        return unlike
    try:
        match kind:
            case "values":
                is_part = all(one in theirs for one in ours) or all(one in ours for one in theirs)
                return None if is_part else unlike
            case "list" | "map" | "tuple" if len(ours) == len(theirs):
                pairs = zip(ours, theirs, strict=True)
                return next((found for a, b in pairs if (found := _compare(a, b, path))), None)
            case "array" if ours[0] == theirs[0]:
                return _by_place(_inner(ours[1]), _inner(theirs[1]), f"{path}.")
            case "object" if ours[:2] == theirs[:2]:
                return _by_name(_inner(ours[2]), _inner(theirs[2]), f"{path}.")
            case _:
                return unlike
    except (IndexError, ValueError):
        return unlike  # it comes from another node: whatever it is, it is not ours


def _unions(ours: list[Shape], theirs: list[Shape], path: str) -> str | None:
    """One may have more members than the other; those that both have must be alike."""
    fewer, more = (ours, theirs) if len(ours) <= len(theirs) else (theirs, ours)
    for one in fewer:
        if all(_compare(one, another, path) is not None for another in more):
            return f"{path} is {shown(['union', *ours])} here and {shown(['union', *theirs])} there"
    return None


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
