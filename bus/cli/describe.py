"""`bus describe`: the fields of the Coordinator, offline; or its JSON Schema, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bus.cli import output, typed
from bus.cli.failure import usage

if TYPE_CHECKING:
    import argparse

    from bus.cli.client import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "What the Coordinator can be, and the fields of each variant."
    parser.add_argument(
        "object", nargs="?", default="Coordinator", metavar="Coordinator[/Nats]", help="one variant, or all"
    )
    parser.add_argument("--json-schema", action="store_true", help="print the JSON Schema")
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Print it."""
    schema = known_schema()
    out = output.Output(arguments)
    if arguments.json_schema:
        out.json(schema)
        return 0
    chosen = _chosen(arguments.object, typed.kinds(schema))
    rows = [row for kind in chosen for row in _rows(kind, typed.variant(schema, kind))]
    if out.is_json:
        out.json(rows)
        return 0
    definitions = cast("dict[str, Json]", schema["$defs"])
    for number, kind in enumerate(chosen):
        if number:
            out.line()
        one = definitions[kind]
        out.line(f"{out.paint(kind, 'bold')}: {str(one['description']).splitlines()[0]}")
        fields = [row for row in rows if row["variant"] == kind]
        if len(chosen) == 1 and fields:
            _show(out, fields)
        elif fields:
            out.line("  " + ", ".join(str(row["name"]) for row in fields))
    if len(chosen) > 1:
        out.note("bus describe Coordinator/Nats says more about one of them")
    return 0


def known_schema() -> Json:
    """Of all variants that are installed here."""
    from bus.admin.schema import document
    from bus.admin.server import variants

    return document(variants())


def _chosen(name: str, kinds: list[str]) -> list[str]:
    head, _, kind = name.partition("/")
    known = {one.lower(): one for one in kinds}
    if head.lower() in known and not kind:
        head, kind = "Coordinator", head
    if head.lower() not in ("coordinator", "x:coordinator") or (kind and kind.lower() not in known):
        raise usage(f'there is no "{name[:60]}"', f"there is Coordinator, with {', '.join(kinds)}")
    return [known[kind.lower()]] if kind else kinds


def _rows(kind: str, properties: Json) -> list[Json]:
    rows: list[Json] = []
    for name, one in properties.items():
        field = cast("Json", one)
        if "x-order" not in field:
            continue
        has_default = "default" in field
        rows.append(
            {
                "variant": kind,
                "name": name,
                "type": type_words(field),
                "required": not has_default,
                "default": field.get("default"),
                "secret": typed.is_secret(field) or bool(field.get("x-secret")),
                "environment": field["x-env"],
                "description": field.get("description", ""),
            }
        )
    return rows


def type_words(field: Json) -> str:
    """A type in words."""
    if field.get("x-type") == "duration":
        # What is not required to be there may be null.
        return "duration"
    if typed.is_secret(field):
        return "secret"
    if "enum" in field:
        return "|".join(str(one) for one in cast("list[object]", field["enum"]) if one is not None)
    kind = field.get("type", "object")
    words = [one for one in cast("list[str]", kind if isinstance(kind, list) else [kind]) if one != "null"]
    found = "list" if words == ["array"] else str(field.get("x-type") or "|".join(words))
    low, high = field.get("minimum"), field.get("maximum")
    if isinstance(high, int) and high < 2**53 - 1:
        return f"{found} {low}..{high}"
    return f"{found} from {low}" if low else found


def _show(out: output.Output, fields: list[Json]) -> None:
    durations = {str(row["name"]): True for row in fields if row["type"] == "duration"}
    defaults = output.fields({str(row["name"]): row["default"] for row in fields}, durations)
    for row in fields:
        name = str(row["name"])
        default = "required" if row["required"] else f"default {defaults[name]}"
        out.line(f"  {out.paint(name, 'bold')}  {row['type']}, {default}")
        out.line(f"      {row['description']}")
        out.line(f"      {out.paint(str(row['environment']), 'dim')}")
