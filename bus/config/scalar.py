"""Checks of single values (numbers, text, choices, durations, redacted text), and their words.

Each check gives the value in the variant's own type, or a `Fault` that says what is wrong; a type
that is not known here gives UNKNOWN.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple, cast

import msgspec
import msgspec.inspect as mi

from bus.config.duration import DURATION_ALLOWED, Duration
from bus.config.problem import Code, listing, nearest
from bus.config.redacted import MASK, Json5, Redacted, SecretText, redact
from bus.config.uri import Format, has_control
from bus.errors import ConfigError


class Bad(enum.Enum):
    """Results that are no values."""

    BAD = 0  # wrong, and noted
    UNKNOWN = 1  # of a type that is not known here


BAD, UNKNOWN = Bad.BAD, Bad.UNKNOWN


class Fault(NamedTuple):
    """What is wrong with one value."""

    code: Code
    found: str = ""
    says: str = ""
    hint: str = ""


class Form(NamedTuple):
    """A field's type without its wrappings."""

    type: mi.Type
    nullable: bool
    extra: Mapping[str, object]


def peel(info: mi.Type) -> Form:
    """Take off `Annotated` and `| None`."""
    extra: dict[str, object] = {}
    nullable = False
    while True:
        if isinstance(info, mi.Metadata):
            # msgspec declares a bare `dict`.
            extra |= cast("dict[str, object]", info.extra or {})  # pyright: ignore[reportUnknownMemberType]
            info = info.type
        elif isinstance(info, mi.UnionType) and info.includes_none:
            nullable = True
            rest = tuple(one for one in info.types if not isinstance(one, mi.NoneType))
            info = rest[0] if len(rest) == 1 else mi.UnionType(rest)
        else:
            return Form(info, nullable, extra)


def neutral(info: mi.Type) -> object:
    """An empty value of a text or list type, in place of a wrong one; BAD for other types."""
    match peel(info).type:
        case mi.StrType():
            return ""
        case mi.CustomType(cls=cls) if issubclass(cls, Redacted):
            return cls("")
        case mi.VarTupleType():
            return ()
        case _:
            return BAD


def found(value: object, *, secret: bool = False) -> str:
    """A value for an error text: short, redacted; of a secret only the kind."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str() | Redacted() if secret:
            return "text"
        case Redacted():
            return f'"{value.masked()[:60]}"'
        case str():
            text = redact(value)
            shown = "".join(char if char.isprintable() else "?" for char in text[:60])
            return f'"{shown}"' + ("..." if len(text) > 60 else "")
        case int() | float() if secret:
            return "a number"
        case int():
            return str(value) if abs(value) < 2**70 else "a number of many digits"
        case float() | Duration():
            return str(value)
        case Mapping() | msgspec.Struct():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def allowed(info: mi.Type) -> str:
    """What a field takes, in words."""
    form = peel(info)
    null = ", or null" if form.nullable else ""
    return _allowed(form.type, form.extra) + null


def _allowed(info: mi.Type, extra: Mapping[str, object]) -> str:
    match info, extra.get("format"):
        case _, Format(allowed=words):
            return words
        case mi.IntType(ge=low, le=high), _:
            if high is not None and high < 2**53 - 1:
                return f"a whole number from {low} to {high}"
            return "a whole number" + (f" from {low} on" if low is not None else "")
        case mi.BoolType(), _:
            return "true or false"
        case mi.LiteralType(values=values), _:
            return listing(values)
        case mi.CustomType(cls=cls), _ if cls is Duration:
            if "max_ms" in extra:
                return f"{DURATION_ALLOWED}, from {extra['min_ms']} to {extra['max_ms']} ms"
            return DURATION_ALLOWED
        case mi.StrType(), _:
            return "text"
        case mi.CustomType(cls=cls), _ if issubclass(cls, Redacted):
            return "text"
        case (
            mi.VarTupleType(item_type=item, min_length=low) | mi.ListType(item_type=item, min_length=low),
            _,
        ):
            return f"a list{f' of at least {low}' if low else ''}: {allowed(item)}"
        case mi.UnionType(types=types), _ if all(isinstance(one, mi.StructType) for one in types):
            structs = cast("tuple[mi.StructType, ...]", types)
            return f'an object with "{structs[0].tag_field}": {listing(one.tag for one in structs)}'
        case mi.StructType(), _:
            return "an object"
        case _:
            return ""


def scalar(info: mi.Type, extra: Mapping[str, object], value: object) -> object:
    """Check one value; null has been dealt with."""
    match info:
        case mi.BoolType():
            if isinstance(value, bool):
                return value
            hint = "write it without quotes" if value in ("true", "false") else ""
            return Fault("type", found(value), hint=hint)
        case mi.IntType():
            return _integer(info, value)
        case mi.LiteralType(values=values):
            return _choice(values, value)
        case mi.StrType():
            return _text(info, extra, value)
        case mi.CustomType(cls=cls) if cls is Duration:
            return _duration(extra, value)
        case mi.CustomType(cls=cls) if issubclass(cls, Redacted):
            return _redacted(cls, extra, value)
        case _:
            return UNKNOWN


def _integer(info: mi.IntType, value: object) -> object:
    # bool is an int to Python; true is no number in a configuration.
    if type(value) is not int:
        quoted = isinstance(value, str) and value.isdecimal()
        return Fault("type", found(value), hint="write it without quotes" if quoted else "")
    if (info.ge is not None and value < info.ge) or (info.gt is not None and value <= info.gt):
        return Fault("min", found(value))
    if (info.le is not None and value > info.le) or (info.lt is not None and value >= info.lt):
        return Fault("max", found(value))
    return value


def _choice(values: tuple[object, ...], value: object) -> object:
    for choice in values:
        if type(choice) is type(value) and choice == value:
            return choice
    if not isinstance(value, str):
        return Fault("type", found(value))
    near = nearest(value, [choice for choice in values if isinstance(choice, str)])
    return Fault("format", found(value), hint=f"did you mean {near}?" if near else "")


def _text(info: mi.StrType, extra: Mapping[str, object], value: object) -> object:
    if not isinstance(value, str):
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        return Fault("type", found(value), hint="write it in quotes" if numeric else "")
    text = value.strip()
    if not text:
        return Fault("empty")
    if has_control(text):
        return Fault("format", found(text), hint="it holds a control character")
    if len(text) < (info.min_length or 0):
        return Fault("min", found(text))
    if info.max_length is not None and len(text) > info.max_length:
        return Fault("max", found(text))
    if info.pattern is not None and not _matches(info.pattern, text):
        return Fault("format", found(text), hint=f"the pattern is {info.pattern}")
    return _formatted(text, extra, found(text)) or text


def _matches(pattern: str, text: str) -> bool:
    import re  # patterns are for plug-ins

    return re.search(pattern, text) is not None


def _formatted(text: str, extra: Mapping[str, object], shown: str) -> Fault | None:
    kind = extra.get("format")
    if isinstance(kind, Format) and (trouble := kind.wrong(text)):
        return Fault("format", shown, hint=trouble)
    return None


def _duration(extra: Mapping[str, object], value: object) -> object:
    try:
        duration = value if isinstance(value, Duration) else Duration(cast("int | str", value))
    except ConfigError:
        code: Code = "format" if isinstance(value, str) else "type"
        if type(value) is int:
            code = "min" if value <= 0 else "max"
        fraction = isinstance(value, float) or (isinstance(value, str) and "." in value)
        return Fault(code, found(value), hint='write 1.5s as "1s500ms"' if fraction else "")
    least, most = extra.get("min_ms"), extra.get("max_ms")
    if isinstance(least, int) and duration.ms < least:
        return Fault("min", f"{duration} = {duration.ms} ms")
    if isinstance(most, int) and duration.ms > most:
        return Fault("max", f"{duration} = {duration.ms} ms")
    return duration


def _redacted(cls: type[Redacted], extra: Mapping[str, object], value: object) -> object:
    secret = issubclass(cls, SecretText)
    if isinstance(value, cls):
        value = value.reveal()
    if not isinstance(value, str):
        return Fault("type", found(value, secret=True))
    # Blanks around a URI are a slip; in a secret, or in a text of many lines, they may be meant.
    text = value if secret or issubclass(cls, Json5) else value.strip()
    if not text.strip():
        return Fault("empty")
    made = cls(text)
    # What was shown masked and is given back would overwrite the real secret with four asterisks.
    if MASK in text and made.masked() == text:
        return Fault("mask", hint="give the real one")
    return _formatted(text, extra, found(made, secret=issubclass(cls, Json5))) or made
