"""A patch on the Coordinator: JSON pointers, null, change of variant, masks; all or nothing.

    patched(stored, {"pingInterval": "5s", "authSecret/secret": "..."}, variants)  -> the new variant

RFC 8620, 5.3 says what a PatchObject is; where it is silent: another "@type" than the stored one starts from
the defaults of the new variant, so that nothing is carried over; the same for the "@type" of a secret. null
is the default of a property, but stays null where the property may be null, else nobody could set that.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import msgspec

from bus.admin.jmap import ijson
from bus.admin.jmap.errors import SetError, invalid_patch, invalid_properties
from bus.admin.masks import given_again, host_fields, patchable, settle
from bus.config import Coordinator, Duration, NoSecret, Problem, type_of
from bus.config.check import Check, field_names, struct_type
from bus.config.problem import problem
from bus.config.redacted import Redacted, redact
from bus.config.scalar import peel

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject

SINGLETON = "singleton"
_BAD_TILDE = re.compile(r"~(?![01])")

Path = tuple[str, ...]


def patched(
    stored: Coordinator, patch: Mapping[str, object], variants: Sequence[type[Coordinator]]
) -> Coordinator:
    """The checked variant that the patch makes. Raises SetError: invalidPatch, invalidProperties."""
    values = {_path(key): value for key, value in patch.items()}
    _refuse_overlap(values)
    problems: list[Problem] = []
    given = values.pop(("id",), SINGLETON)
    if given != SINGLETON:
        problems.append(problem("id", "format", "cannot be changed", allowed=f'"{SINGLETON}"'))
    if ("@type",) in values and values[("@type",)] is None:
        raise invalid_properties([*problems, problem("@type", "null", hint="name the variant")])
    cls = _variant(values.get(("@type",)), stored, variants)
    is_same = cls is type(stored)
    made = _applied(patchable(stored) if is_same else defaults(cls), values, cls)
    kept: list[str] = []
    if is_same:
        masks, kept = settle(stored, made)
        problems += masks
    check = Check()
    changed = check.variant(made, variants)
    # Of a mask only the better of two complaints; of a wrong host only that it is wrong.
    known = {one.path for one in problems}
    problems += [one for one in check.problems if one.path not in known]
    if {one.path.partition("/")[0] for one in problems}.isdisjoint(host_fields(stored)):
        problems += given_again(stored, made, kept)
    if problems or changed is None:
        raise invalid_properties(problems)
    return changed


def defaults(cls: type[Coordinator]) -> JsonObject:
    """The object of a variant with nothing given: every field that has a default."""
    info = struct_type(cls)
    made: JsonObject = {"@type": info.tag}
    for field in info.fields:
        if not field.required:
            default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
            made[field.encode_name] = _plain(default)
    return made


def _plain(default: object) -> object:
    match default:
        case Duration():
            return default.ms
        case Redacted():
            return default.reveal()
        case NoSecret():
            return {"@type": "None"}
        case tuple():
            return [_plain(one) for one in cast("tuple[object, ...]", default)]
        case _:
            return default


def _path(key: str) -> Path:
    if _BAD_TILDE.search(key):
        raise invalid_patch(_shown(key), "in a key a ~ must be ~0 or ~1")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in key.split("/"))


def _refuse_overlap(paths: Mapping[Path, object]) -> None:
    """No key may be a prefix of another; sorted, only neighbours can be."""
    ordered = sorted(paths)
    for first, second in itertools.pairwise(ordered):
        if second[: len(first)] == first:
            text = f'"{_key(first)}" and "{_key(second)}" set the same thing: keep one'
            raise SetError("invalidPatch", text, properties=[_key(first), _key(second)])


def _key(path: Path) -> str:
    return _shown("/".join(token.replace("~", "~0").replace("/", "~1") for token in path))


def _shown(key: str) -> str:
    """A key for an error text; somebody may have written a URL with a password there."""
    return (redact(key) if ":" in key else key)[:80]


def _variant(tag: object, stored: Coordinator, variants: Sequence[type[Coordinator]]) -> type[Coordinator]:
    if tag is None or tag == type_of(stored):
        return type(stored)
    for cls in variants:
        if tag == struct_type(cls).tag:
            return cls
    # Only says what is wrong with the name: the other fields belong to nobody knows what.
    check = Check()
    check.variant({"@type": tag}, variants)
    raise invalid_properties(check.problems)


def _applied(base: JsonObject, values: Mapping[Path, object], cls: type[Coordinator]) -> JsonObject:
    """Every value set in `base`, which is changed; parents must be there before."""
    nullable = {field.encode_name for field in struct_type(cls).fields if peel(field.type).nullable}
    parents = {path: _parent(base, path) for path in values}
    for path, value in values.items():
        # Another kind of secret: nothing of the old kind is carried over.
        if path[1:] and path[-1] == "@type" and parents[path].get("@type") != value:
            parents[path].clear()
    # What null removes, and so gives its default: all that there is but what may be null.
    removable = set(field_names(cls)) - nullable
    for path, value in values.items():
        parent, name = parents[path], path[-1]
        if value is None and (path[1:] or name in removable):
            parent.pop(name, None)
        else:
            parent[name] = value
    return base


def _parent(base: JsonObject, path: Path) -> JsonObject:
    parent = base
    for depth, token in enumerate(path[:-1]):
        found = parent.get(token)
        at = _key(path[: depth + 1])
        if ijson.is_array(found):
            raise invalid_patch(_key(path), f'"{at}" is a list: a patch cannot reach into it, give all of it')
        if not ijson.is_object(found):
            state = "is no object" if token in parent else "is not there"
            raise invalid_patch(_key(path), f'"{at}" {state}, so that nothing can be set in it')
        parent = found
    return parent
