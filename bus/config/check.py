"""From an object of plain values to a variant, with every problem of the object at once.

The fields' own annotations are the rules: types, `Meta(ge, le, min_length, ...)`, the "format" and
"min_ms"/"max_ms" of `Meta(extra=...)`. msgspec's own conversion stops at the first error, and shows
neither what was found nor a hint; it remains for the field types that are not known here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import msgspec
import msgspec.inspect as mi

from bus.config.base import Coordinator
from bus.config.duration import Duration
from bus.config.problem import Code, Problem, listing, nearest, problem
from bus.config.redacted import Redacted, redact
from bus.config.scalar import BAD, UNKNOWN, Bad, Fault, allowed, found, neutral, peel, scalar
from bus.errors import ConfigError

Fields = Mapping[str, object]


@functools.cache
def struct_type(cls: type[msgspec.Struct]) -> mi.StructType:
    """What msgspec knows about a struct class."""
    info = mi.type_info(cls)
    assert isinstance(info, mi.StructType)
    return info


def field_names(cls: type[msgspec.Struct]) -> list[str]:
    """The JSON names of a struct's fields."""
    return [field.encode_name for field in struct_type(cls).fields]


def as_object(value: msgspec.Struct) -> dict[str, object]:
    """A struct as the object that it would be decoded from; its values stay as they are."""
    info = struct_type(type(value))
    fields: dict[str, object] = {}
    if info.tag_field is not None:
        fields[info.tag_field] = info.tag
    return fields | {field.encode_name: getattr(value, field.name) for field in info.fields}


class Check:
    """One check of one source; `problems` holds all that was found."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def variant(self, source: object, variants: Sequence[type[Coordinator]]) -> Coordinator | None:
        """The Coordinator that an object describes, or None; then `problems` says why."""
        choices = [struct_type(variant) for variant in variants]
        made = self._tagged(choices, source, "")
        return made if isinstance(made, Coordinator) and not self.problems else None

    def add(
        self, path: str, code: Code, says: str = "", *, found: str = "", allowed: str = "", hint: str = ""
    ) -> Bad:
        """Note a problem."""
        self.problems.append(problem(path, code, says, found=found, allowed=allowed, hint=hint))
        return BAD

    def unknown(
        self,
        path: str,
        name: str,
        cls: type[msgspec.Struct],
        others: Sequence[type[msgspec.Struct]],
        more: Sequence[str] = (),
    ) -> None:
        """Note a field that `cls` does not have; perhaps one of the others does.

        `more` are names that are allowed at this place besides the fields.
        """
        name = redact(name)[:60]
        names = [*field_names(cls), *more]
        tags = [str(struct_type(other).tag) for other in others if name in field_names(other)]
        near = nearest(name, names)
        hint = f"did you mean {near}?" if near else ""
        if tags:
            hint = f"field of {listing(tags)}, not of {struct_type(cls).tag}"
        elif not near and (far := nearest(name, [one for other in others for one in field_names(other)])):
            hint = f"did you mean {far}? {struct_type(cls).tag} has no such field"
        self.add(
            _join(path, name),
            "unknown",
            allowed=listing(names) or "no field at all",
            hint=hint,
        )

    def _tagged(self, choices: list[mi.StructType], source: object, path: str) -> object:
        """The struct that the tag names."""
        tag_field = choices[0].tag_field or "@type"
        if isinstance(source, msgspec.Struct):
            source = as_object(source)
        known = {str(choice.tag): choice for choice in choices}
        if not isinstance(source, Mapping):
            given = [name for name in ("Value", "Text") if name in known]
            return self.add(
                path,
                "type",
                found=found(source, secret=True),
                allowed=allowed(mi.UnionType(tuple(choices))),
                hint=f'for example {{"@type": "{given[0]}", "secret": "..."}}' if given else "",
            )
        fields = cast("Mapping[object, object]", source)
        at = _join(path, tag_field)
        if tag_field not in fields:
            near = nearest("type", (str(name) for name in fields))
            hint = f'did you mean "{tag_field}" by "{near}"?' if near else ""
            return self.add(at, "required", allowed=listing(known), hint=hint)
        tag = fields[tag_field]
        choice = known.get(tag) if isinstance(tag, str) else None
        if choice is None:
            near = nearest(tag, known) if isinstance(tag, str) else None
            hint = f"did you mean {near}?" if near else ""
            return self.add(at, "variant", found=found(tag), allowed=listing(known), hint=hint)
        return self._struct(choice, choices, fields, path)

    def _struct(
        self,
        info: mi.StructType,
        siblings: Iterable[mi.StructType],
        source: Mapping[object, object],
        path: str,
    ) -> object:
        """A struct of one class, each field by itself, then the rules between them."""
        known = {field.encode_name: field for field in info.fields}
        others = [sibling.cls for sibling in siblings if sibling.cls is not info.cls]
        for name in source:
            if name != info.tag_field and name not in known:
                self.unknown(path, str(name), info.cls, others)
        hints = {field.name: field.type for field in msgspec.structs.fields(info.cls)}
        values: dict[str, object] = {}
        wrong: set[str] = set()
        for name, field in known.items():
            at = _join(path, name)
            if name in source:
                value = self._value(field.type, source[name], at)
                if value is UNKNOWN:
                    value = self._converted(hints[field.name], source[name], at)
            elif field.required:
                value = self.add(at, "required", allowed=allowed(field.type))
            else:
                continue
            if value is not BAD:
                values[field.name] = value
                continue
            wrong.add(at)
            if field.required:
                values[field.name] = neutral(field.type)
        # A wrong variant is made nevertheless, if it can be: its rules may find more.
        if wrong and (not issubclass(info.cls, Coordinator) or BAD in values.values()):
            return BAD
        return self._made(info.cls, values, path, wrong)

    def _made(self, cls: type[msgspec.Struct], values: Fields, path: str, wrong: set[str]) -> object:
        try:
            made = cls(**values)
        except (ConfigError, TypeError, ValueError) as exc:  # what a foreign __post_init__ raises
            return BAD if wrong else self.add(path, "format", str(exc))
        if isinstance(made, Coordinator):
            self.problems += [
                conflict
                for conflict in made.conflicts()
                if wrong.isdisjoint((conflict.path, *conflict.others))
            ]
        return BAD if wrong else made

    def _value(self, info: mi.Type, source: object, path: str) -> object:
        """The value of one field or item; BAD after a noted problem, UNKNOWN for a foreign type."""
        form = peel(info)
        if source is None:
            if form.nullable:
                return None
            words = allowed(info)
            # A type without words is a foreign one: msgspec knows whether it takes null.
            return self.add(path, "null", allowed=words, hint="or leave it out") if words else UNKNOWN
        match form.type:
            case mi.UnionType(types=parts) if all(isinstance(one, mi.StructType) for one in parts):
                return self._tagged(cast("list[mi.StructType]", list(parts)), source, path)
            case mi.StructType() as struct:
                return self._plain(struct, source, path)
            case mi.VarTupleType(item_type=item, min_length=low, max_length=high):
                items = self._items(info, item, source, path, low or 0, high)
                return tuple(cast("list[object]", items)) if isinstance(items, list) else items
            case mi.ListType(item_type=item, min_length=low, max_length=high):
                return self._items(info, item, source, path, low or 0, high)
            case kind:
                value = scalar(kind, form.extra, source)
                if isinstance(value, Fault):
                    return self.add(
                        path,
                        value.code,
                        value.says,
                        found=value.found,
                        allowed=allowed(info),
                        hint=value.hint,
                    )
                return value

    def _plain(self, info: mi.StructType, source: object, path: str) -> object:
        """A nested struct without alternatives; only plug-ins have such."""
        if info.tag_field is not None:
            return self._tagged([info], source, path)
        if isinstance(source, msgspec.Struct):
            source = as_object(source)
        if not isinstance(source, Mapping):
            return self.add(path, "type", found=found(source, secret=True), allowed=allowed(info))
        return self._struct(info, (), cast("Mapping[object, object]", source), path)

    def _items(
        self, info: mi.Type, item: mi.Type, source: object, path: str, low: int, high: int | None
    ) -> object:
        """A list without repeats: [a, b], or {a: true, b: true} as some tools write sets."""
        if isinstance(source, Mapping):
            members = cast("Mapping[object, object]", source)
            off = [value for value in members.values() if value is not True]
            if off:
                return self.add(
                    path, "type", found=f"a set with {found(off[0], secret=True)}", allowed=allowed(info)
                )
            given: list[object] = list(members)
        elif isinstance(source, (list, tuple)):
            given = list(cast("Sequence[object]", source))
        else:
            hint = "write it as a list: [...]" if isinstance(source, str) else ""
            return self.add(path, "type", found=found(source), allowed=allowed(info), hint=hint)
        if not given and low:
            return self.add(path, "empty", allowed=allowed(info))
        made: list[object] = []
        good = True
        for index, one in enumerate(given):
            value = self._value(item, one, f"{path}/{index}")
            if value is UNKNOWN:
                return UNKNOWN
            if value is BAD:
                good = False
            elif value not in made:
                made.append(value)
        if good and (len(made) < low or (high is not None and len(made) > high)):
            code: Code = "min" if len(made) < low else "max"
            return self.add(path, code, found=f"{len(made)} items", allowed=allowed(info))
        return made if good else BAD

    def _converted(self, hint: object, source: object, path: str) -> object:
        """By msgspec: any type that it knows; the first error only, without the value."""
        try:
            return msgspec.convert(source, cast("type[object]", hint), dec_hook=_own_type)
        except (msgspec.ValidationError, ConfigError, TypeError) as exc:
            text = str(exc)
        return self.add(path, "type", found=found(source, secret=True), hint=text.replace("`", ""))


def _own_type(cls: type[object], value: object) -> object:
    """Our scalar types inside a foreign one."""
    if issubclass(cls, (Duration, Redacted)):
        return cls(cast("str", value))
    if isinstance(value, cls):
        return value
    raise TypeError(f"a field of type {cls.__name__} cannot be decoded")


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
