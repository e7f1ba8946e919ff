"""The schema of the object: JSON Schema of every variant, with what a form needs to show it.

Made from the variants themselves, so that it cannot be out of date. Beside the standard words:

    x-label, x-order       how to call a field, and where to show it
    x-secret               the value is a secret: shown as "****", which may be sent back unchanged
    x-type, x-unit         "duration" in "ms": a number, or text such as "5s"; "uri"; "json5"; "host:port"
    x-env                  the environment variable that sets the field
    x-labels               what to call the values of an enum, or the variants
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import msgspec.inspect as mi

from bus.admin.jmap import ijson
from bus.admin.patch import defaults
from bus.config import Coordinator, Duration, Format, Json5, SecretText, Uri
from bus.config.check import struct_type
from bus.config.duration import DURATION_ALLOWED, MAX_MS
from bus.config.scalar import Form, peel

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject

_WORDS: dict[str, str] = {"url": "URL", "urls": "URLs", "tls": "TLS", "ca": "CA", "id": "ID"}
_LABELS = {
    "Nats": "NATS",
    "Kafka": "Apache Kafka",
    "Zenoh": "Eclipse Zenoh",
    "RedisCluster": "Redis Cluster",
    "RedisSentinel": "Redis Sentinel",
    "Default": "The application's Redis store",
    "Memory": "Memory (this process only)",
    "None": "No secret",
    "Value": "Given here",
    "Text": "Given here",
    "EnvironmentVariable": "From an environment variable",
    "File": "From a file",
}


class Schema:
    """The document, ready to be sent, and its ETag."""

    def __init__(self, variants: Sequence[type[Coordinator]]) -> None:
        self.document: JsonObject = document(variants)
        self.body: bytes = ijson.write(self.document)
        self.etag: str = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


def document(variants: Sequence[type[Coordinator]]) -> JsonObject:
    """The JSON Schema (draft 2020-12) of a Coordinator."""
    tags = [str(struct_type(cls).tag) for cls in variants]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:coordinator-bus:schema:coordinator",
        "title": "Coordinator",
        "description": "How the nodes of a cluster reach each other.",
        "oneOf": [{"$ref": f"#/$defs/{tag}"} for tag in tags],
        "discriminator": {
            "propertyName": "@type",
            "mapping": {tag: f"#/$defs/{tag}" for tag in tags},
        },
        "x-labels": {tag: _LABELS.get(tag, tag) for tag in tags},
        "$defs": {tag: _variant(cls) for tag, cls in zip(tags, variants, strict=True)},
    }


def _variant(cls: type[Coordinator]) -> JsonObject:
    info = struct_type(cls)
    given = defaults(cls)
    descriptions = _descriptions(info)
    properties: JsonObject = {
        "id": {"const": "singleton", "readOnly": True},
        "@type": {"const": info.tag},
    }
    for order, field in enumerate(info.fields):
        name = field.encode_name
        made: JsonObject = {"x-label": label(name), "x-order": order, "x-env": variable(name)}
        if name in descriptions:
            made["description"] = descriptions[name]
        if name in given:
            made["default"] = given[name]
        properties[name] = _field(field.type) | made
    return {
        "title": _LABELS.get(str(info.tag), str(info.tag)),
        "description": (cls.__doc__ or "").strip(),
        "type": "object",
        "properties": properties,
        "required": ["@type", *(field.encode_name for field in info.fields if field.required)],
        "additionalProperties": False,
    }


def _descriptions(info: mi.StructType) -> dict[str, str]:
    """Of each field; it may stand inside of `| None`."""
    found: dict[str, str] = {}
    for field in info.fields:
        waiting = [field.type]
        while waiting:
            one = waiting.pop()
            if isinstance(one, mi.Metadata):
                # msgspec declares a bare `dict`.
                words = cast("JsonObject", one.extra_json_schema or {})  # pyright: ignore[reportUnknownMemberType]
                known = words.get("description")
                if isinstance(known, str):
                    found.setdefault(field.encode_name, known)
                waiting.append(one.type)
            elif isinstance(one, mi.UnionType) and one.includes_none:
                waiting += one.types
    return found


def _field(info: mi.Type) -> JsonObject:
    form = peel(info)
    made = _type(form)
    if not form.nullable:
        return made
    kind = made.get("type")
    if isinstance(kind, str) and "enum" not in made:
        return made | {"type": [kind, "null"]}
    if isinstance(made.get("enum"), list):
        return made | {"enum": [*made["enum"], None]}  # type: ignore[misc]  # a list, see above
    return {name: value for name, value in made.items() if name != "anyOf"} | {
        "anyOf": [*_options(made), {"type": "null"}]
    }


def _options(made: JsonObject) -> list[object]:
    options = made.get("anyOf")
    return options if ijson.is_array(options) else [made]


def _type(form: Form) -> JsonObject:
    kind, extra = form.type, form.extra
    match kind:
        case mi.BoolType():
            return {"type": "boolean"}
        case mi.IntType(ge=low, le=high):
            bounds = {"minimum": low, "maximum": high}
            return {"type": "integer", **{name: one for name, one in bounds.items() if one is not None}}
        case mi.LiteralType(values=values):
            labels = {str(value): str(value).replace("_", " ").upper() for value in values}
            return {"enum": list(values), "x-labels": labels}
        case mi.StrType():
            return {"type": "string", "minLength": 1, **_format(extra)}
        case mi.CustomType(cls=cls) if cls is Duration:
            least, most = extra.get("min_ms", 1), extra.get("max_ms", MAX_MS)
            text: JsonObject = {
                "type": "string",
                "pattern": "^[0-9a-zA-Z ]+$",
                "description": DURATION_ALLOWED,
            }
            options = [{"type": "integer", "minimum": least, "maximum": most}, text]
            return {"anyOf": options, "x-type": "duration", "x-unit": "ms"}
        case mi.CustomType(cls=cls) if issubclass(cls, SecretText):
            return {"type": "string", "minLength": 1, "x-secret": True}
        case mi.CustomType(cls=cls) if issubclass(cls, Uri | Json5):
            # Their secrets are masked inside of the text.
            return {
                "type": "string", "minLength": 1, "x-secret": True,
                "x-type": "uri" if issubclass(cls, Uri) else "json5", **_format(extra),
            }  # fmt: skip
        case mi.VarTupleType(item_type=item, min_length=low) | mi.ListType(item_type=item, min_length=low):
            return {"type": "array", "items": _field(item), "minItems": low or 0}
        case mi.UnionType(types=types):
            structs = [one for one in types if isinstance(one, mi.StructType)]
            labels = {str(one.tag): _LABELS.get(str(one.tag), str(one.tag)) for one in structs}
            return {"oneOf": [_struct(one) for one in structs], "x-labels": labels}
        case mi.StructType():
            return _struct(kind)
        case _:
            return {}


def _struct(info: mi.StructType) -> JsonObject:
    tag: JsonObject = {} if info.tag_field is None else {info.tag_field: {"const": info.tag}}
    descriptions = _descriptions(info)
    return {
        "type": "object",
        "properties": {
            **tag,
            **{
                field.encode_name: _field(field.type)
                | {
                    "x-label": label(field.encode_name),
                    "description": descriptions.get(field.encode_name, ""),
                }
                for field in info.fields
            },
        },
        "required": [*tag, *(field.encode_name for field in info.fields if field.required)],
        "additionalProperties": False,
    }


def _format(extra: Mapping[str, object]) -> JsonObject:
    kind = extra.get("format")
    return {"x-format": kind.allowed} if isinstance(kind, Format) else {}


def label(name: str) -> str:
    """ "timeoutConnection" -> "Timeout connection"."""
    words: list[str] = [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)]
    text = " ".join([_WORDS.get(word, word) for word in words])
    return text[:1].upper() + text[1:]


def variable(name: str) -> str:
    """ "timeoutConnection" -> "BUS_COORDINATOR__TIMEOUT_CONNECTION"."""
    return "BUS_COORDINATOR__" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
