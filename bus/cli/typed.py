"""From text to a value of the type that the schema wants: `--field key=value`, and variables.

What does not fit stays text, so that the one who checks the whole object says what is wrong with it. Nothing
that holds a secret is taken from the command line, where everybody on the machine can read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from bus.cli.failure import usage

if TYPE_CHECKING:
    from bus.cli.client import Json

# The one member of each kind of secret; it says which kind is meant.
SECRET_KINDS = {"secret": "", "variableName": "EnvironmentVariable", "filePath": "File"}
MASK = "****"


def variant(schema: Json, kind: str) -> Json:
    """Field -> schema, of the variant `kind`; empty when there is none."""
    found = cast("dict[str, Json]", schema.get("$defs") or {}).get(kind)
    return cast("Json", found["properties"]) if found is not None else {}


def kinds(schema: Json) -> list[str]:
    """The names of the variants."""
    return list(cast("dict[str, Json]", schema.get("$defs") or {}))


def durations(properties: Json) -> Json:
    """The fields that are milliseconds."""
    return {name: one for name, one in properties.items() if cast("Json", one).get("x-type") == "duration"}


def all_durations(schema: Json) -> Json:
    """... of every variant, by name: for what does not say of which variant it is."""
    every = [variant(schema, kind) for kind in kinds(schema)]
    found = {name: one for properties in every for name, one in durations(properties).items()}
    # A plug-in may have given the name another meaning: then the number stays as it is.
    doubtful = {name for properties in every for name in properties.keys() - durations(properties).keys()}
    return {name: one for name, one in found.items() if name not in doubtful}


def split(text: str) -> tuple[str, str]:
    """ "key=value" at the first `=` outside of quotes around the key. Raises Failure."""
    quoted = re.match(r'"((?:[^"\\]|\\.)*)"=', text)
    if quoted:
        return json.loads(f'"{quoted[1]}"'), text[quoted.end() :]
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise usage("--field needs name=value", "for example --field pingInterval=30s")
    return key.strip(), value


def canonical(key: str, names: Iterable[str]) -> str:
    """The first part as it is spelt: `pinginterval` and `type` mean `pingInterval` and `@type`."""
    head, slash, rest = key.partition("/")
    known = {name.lower(): name for name in names} | {"@type": "@type", "type": "@type"}
    return known.get(head.lower(), head) + slash + rest


def value_of(text: str, field: Json) -> object:
    """The text as a value of this field (a property of the schema; {} when it is not known)."""
    options = cast("list[Json]", field.get("anyOf") or field.get("oneOf") or [field])
    types = {name for one in (field, *options) for name in _as_list(one.get("type"))}
    if text == "null":
        return None
    is_text = field.get("x-type") == "json5" or (types - {"null"} == {"string"} and not text.startswith('"'))
    if not is_text and text[:1] in ("{", "[", '"'):
        try:
            return cast("object", json.loads(text))
        except ValueError:
            raise usage(f"the value starts with {text[0]} and is no JSON") from None
    if is_secret(field):
        # `none` alone holds no secret; anything else is refused where it comes from the command line.
        return {"@type": "None"} if text.lower() == "none" else {"@type": _given(field), "secret": text}
    if "boolean" in types and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "integer" in types and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if "array" in types:
        return [one.strip() for one in text.split(",")]
    return text


def is_secret(field: Json) -> bool:
    """A choice of None, Value (or Text), EnvironmentVariable, File."""
    return not {"Value", "Text"}.isdisjoint(_secret_tags(field))


def secret_as(member: str, text: str, field: Json) -> Json:
    """`authSecret/filePath=...` as the whole secret: its one member says of which kind it is."""
    return {"@type": SECRET_KINDS[member] or _given(field), member: text}


def _given(field: Json) -> str:
    return "Text" if "Text" in _secret_tags(field) else "Value"


def _secret_tags(field: Json) -> set[object]:
    options = cast("list[Json]", field.get("oneOf") or [])
    properties = [cast("dict[str, Json]", one.get("properties") or {}) for one in options]
    return {one["@type"].get("const") for one in properties if "@type" in one}


def _as_list(found: object) -> list[str]:
    return cast("list[str]", found) if isinstance(found, list) else [str(found)] if found else []


def holds_secret(value: object) -> bool:
    """Whether a value holds what nobody else should read: a secret, or a login inside of a URL or a text."""
    return masked(value) != value


def masked(value: object) -> object:
    """The value without what nobody else should read."""
    match value:
        case str():
            return _masked_text(value)
        case list():
            return [masked(one) for one in cast("list[object]", value)]
        case Mapping():
            pairs = cast("Mapping[str, object]", value)
            return {name: _masked_member(name, one) for name, one in pairs.items()}
        case _:
            return value


def _masked_member(name: str, value: object) -> object:
    """Of a secret the whole value, also where it stands as text in place of the object."""
    is_secret = name.rpartition("/")[2] == "secret" and value is not None
    is_text = isinstance(value, str) and name.lower().endswith(("secret", "password", "credentials"))
    return MASK if is_secret or is_text else masked(value)


def _masked_text(text: str) -> str:
    if text.lstrip().startswith("{"):
        from bus.config.json5 import mask_json5

        return mask_json5(text)
    if "://" not in text:
        return text
    from bus.config.redacted import redact

    return redact(text)
