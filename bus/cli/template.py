"""A configuration file with every setting in it: what is given, and as comments what is default."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from bus.cli import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bus.cli.client import Json


def text(
    kind: str,
    properties: Json,
    fields: Mapping[str, object] | None = None,
    given: Mapping[str, object] | None = None,
) -> str:
    """TOML of the variant `kind`; `fields` are those of its Coordinator, `given` the settings besides it."""
    lines = ["# Settings of one node. Everything that starts with # shows the default.", ""]
    for setting in settings.SETTINGS:
        lines.append(f"# {setting.help} ({setting.variable})")
        if given is not None and setting.name in given:
            lines.append(f"{setting.name} = {_toml(given[setting.name])}")
        else:
            lines.append(f"#{setting.name} = {_toml(setting.default)}")
    lines += ["", "[coordinator]", f'"@type" = "{kind}"']
    for name, one in properties.items():
        field = cast("Json", one)
        if "x-order" not in field:
            continue
        lines.append(f"# {field.get('description', '')}")
        default = field.get("default", _NONE)
        value = _example(field) if fields is None and default is _NONE else (fields or {}).get(name, default)
        is_default = value is None or value == default
        lines.append(f"{'#' if is_default else ''}{name} = {_toml(value, field)}")
    return "\n".join(lines) + "\n"


_NONE = object()


def _example(field: Json) -> object:
    if field.get("x-type") == "json5":
        return '{mode: "peer"}'
    return ["localhost:9092"] if field.get("type") == "array" else "bus"


def _toml(value: object, field: Mapping[str, object] | None = None) -> str:
    match value:
        case None:
            return '""'
        case int() if (field or {}).get("x-type") == "duration":
            from bus.config import Duration

            return _toml(str(Duration(value)))
        case dict():
            pairs = cast("Json", value)
            return "{" + ", ".join(f"{_toml(name)} = {_toml(one)}" for name, one in pairs.items()) + "}"
        case list():
            return "[" + ", ".join(map(_toml, cast("list[object]", value))) + "]"
        case _:
            # A basic string of TOML is one of JSON, but for DEL, and for halves of a surrogate pair.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
