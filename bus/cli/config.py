"""`bus config show|diff|init`: where each setting of a node comes from, and a file to begin with."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, cast

from bus.cli import output, settings, typed
from bus.cli.failure import OTHER, Failure, usage

if TYPE_CHECKING:
    import argparse

    from bus.cli.client import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "The settings of a node; each value with its source. Secrets are never shown."
    actions = parser.add_subparsers(metavar="show|diff|init", required=True, dest="action")
    show = actions.add_parser("show", help="every setting, its value and its source", allow_abbrev=False)
    diff = actions.add_parser("diff", help="what is stored against what is configured", allow_abbrev=False)
    for one in (show, diff):
        settings.configure(one)
        output.configure(one)
    init = actions.add_parser("init", help="a configuration file to begin with", allow_abbrev=False)
    init.add_argument("--type", default="Zenoh", help="variant of the Coordinator (default Zenoh)")
    init.add_argument("--output", metavar="FILE", help="write it there; never over another file")
    output.configure(init)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Do it."""
    out = output.Output(arguments)
    if arguments.action == "init":
        return _init(out, arguments)
    found = settings.load(arguments)
    return _show(out, found) if arguments.action == "show" else _diff(out, found)


def _show(out: output.Output, found: settings.Settings) -> int:
    from bus.cli.describe import known_schema
    from bus.config import encode

    fields = encode(found.coordinator)
    durations = typed.durations(typed.variant(known_schema(), str(fields["@type"])))
    rows: list[tuple[str, object, str]] = [
        (name, one.value, one.source) for name, one in found.values.items()
    ]
    for name, value in fields.items():
        is_stored = found.stored is not None
        source = "stored" if is_stored else found.sources.get(name, "default")
        rows.append((f"coordinator.{name}", value, source))
    if found.broken:
        out.warn(found.broken)
    if out.is_json:
        out.json({name: {"value": value, "source": source} for name, value, source in rows})
        return 0
    named = {f"coordinator.{name}": one for name, one in durations.items()}
    texts = output.fields({name: value for name, value, _ in rows}, named)
    out.table(("setting", "value", "source"), [(name, texts[name], source) for name, _, source in rows])
    out.note(f"file: {found.file or 'none'}; state directory: {settings.state_directory(found.values)}")
    return 0


def _diff(out: output.Output, found: settings.Settings) -> int:
    from bus.config import encode

    if found.broken:
        raise Failure(OTHER, "broken", found.broken, "bus rollback, or repair the file")
    if found.stored is None:
        out.note("nothing is stored: the node runs on what is configured")
    before = encode(found.configured)
    after = encode(found.stored) if found.stored is not None else before
    changed = {
        name: {"configured": before.get(name), "stored": after.get(name)}
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    }
    if out.is_json:
        out.json(changed)
    elif changed:
        cells = [
            (name, output.shown(one["configured"]), output.shown(one["stored"]))
            for name, one in changed.items()
        ]
        out.table(("field", "configured", "stored (in use)"), cells)
    return 0


def _init(out: output.Output, arguments: argparse.Namespace) -> int:
    from bus.cli.describe import known_schema

    schema = known_schema()
    known = {name.lower(): name for name in typed.kinds(schema)}
    kind = known.get(arguments.type.lower())
    if kind is None:
        raise usage(f'there is no variant "{arguments.type[:60]}"', f"there is {', '.join(known.values())}")
    text = template(kind, typed.variant(schema, kind))
    path = arguments.output
    if path is None:
        out.line(text.rstrip("\n"))
        return 0
    try:
        # Perhaps somebody will write a secret into it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Failure(OTHER, "notWritten", f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    out.note(f"wrote {path}; check it with: bus validate {path}")
    return 0


def template(kind: str, properties: Json) -> str:
    """A file with every setting: commented out where it is the default."""
    lines = ["# Settings of one node. Everything that starts with # shows the default.", ""]
    for setting in settings.SETTINGS:
        default = "" if setting.default is None else setting.default
        lines += [f"# {setting.help} ({setting.variable})", f"#{setting.name} = {json.dumps(default)}"]
    lines += ["", "[coordinator]", f'"@type" = "{kind}"']
    for name, one in properties.items():
        field = cast("Json", one)
        if "x-order" not in field:
            continue
        lines.append(f"# {field.get('description', '')}")
        if "default" in field:
            lines.append(f"#{name} = {_toml(field['default'], field)}")
        else:
            lines.append(f"{name} = {json.dumps(_example(kind, field))}")
    return "\n".join(lines) + "\n"


def _example(kind: str, field: Json) -> object:
    if field.get("x-type") == "json5":
        return '{mode: "peer"}'
    return ["localhost:9092"] if field.get("type") == "array" else "bus"


def _toml(value: object, field: Json) -> str:
    if value is None:
        return '""'
    if isinstance(value, dict):
        pairs = cast("Json", value)
        return "{" + ", ".join(f"{json.dumps(name)} = {json.dumps(one)}" for name, one in pairs.items()) + "}"
    if field.get("x-type") == "duration" and isinstance(value, int):
        from bus.config import Duration

        return json.dumps(str(Duration(value)))
    return json.dumps(value)
