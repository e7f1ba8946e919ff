"""`bus config show|diff|init|migrate`: where each setting of a node comes from, and a file to begin with.

migrate takes any form that a configuration may have, or once had somewhere else, and writes the file of this
release: a URL, a file in another language, what x:Coordinator/get has answered, the coordinator.json of a
state directory, the settings of a Coordinator alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from bus.cli import output, settings, template, typed
from bus.cli.failure import OTHER, Failure, usage

if TYPE_CHECKING:
    import argparse

    from bus.cli.client import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "The settings of a node; each value with its source. Secrets are never shown."
    actions = parser.add_subparsers(metavar="show|diff|init|migrate", required=True, dest="action")
    show = actions.add_parser("show", help="every setting, its value and its source", allow_abbrev=False)
    diff = actions.add_parser("diff", help="what is stored against what is configured", allow_abbrev=False)
    for one in (show, diff):
        settings.configure(one)
        output.configure(one)
    init = actions.add_parser("init", help="a configuration file to begin with", allow_abbrev=False)
    init.add_argument("--type", default="Zenoh", help="variant of the Coordinator (default Zenoh)")
    migrate = actions.add_parser(
        "migrate", help="the same configuration as a file of this release", allow_abbrev=False
    )
    migrate.add_argument("what", metavar="FILE|URL|JSON|-", help="any form that is understood; -: stdin")
    for one in (init, migrate):
        one.add_argument("--output", metavar="FILE", help="write it there; never over another file")
        output.configure(one)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Do it."""
    out = output.Output(arguments)
    if arguments.action == "init":
        return _init(out, arguments)
    if arguments.action == "migrate":
        return _migrate(out, arguments)
    found = settings.load(arguments)
    return _show(out, found) if arguments.action == "show" else _diff(out, found)


def _show(out: output.Output, found: settings.Settings) -> int:
    from bus.config import encode

    fields = encode(found.coordinator)
    durations = _durations(fields)
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
        # Of two variants, maybe: each value is shown as its own variant means it.
        mine, theirs = _durations(before), _durations(after)
        cells = [
            (
                name,
                output.shown(one["configured"], is_duration=name in mine),
                output.shown(one["stored"], is_duration=name in theirs),
            )
            for name, one in changed.items()
        ]
        out.table(("field", "configured", "stored (in use)"), cells)
    return 0


def _durations(fields: Json) -> Json:
    """Of the variant that these fields are of."""
    from bus.cli.describe import known_schema

    return typed.durations(typed.variant(known_schema(), str(fields["@type"])))


def _init(out: output.Output, arguments: argparse.Namespace) -> int:
    from bus.cli.describe import known_schema

    schema = known_schema()
    known = {name.lower(): name for name in typed.kinds(schema)}
    kind = known.get(arguments.type.lower())
    if kind is None:
        raise usage(f'there is no variant "{arguments.type[:60]}"', f"there is {', '.join(known.values())}")
    return _write(out, arguments.output, template.text(kind, typed.variant(schema, kind)))


def _write(out: output.Output, path: str | None, text: str) -> int:
    if path is None:
        if out.is_json:
            out.json({"toml": text})
        else:
            out.line(text.rstrip("\n"))
        return 0
    try:
        # Perhaps there is a secret in it, or somebody will write one into it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Failure(OTHER, "notWritten", f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    out.note(f"wrote {path}; check it with: bus validate {path}")
    return 0


def _migrate(out: output.Output, arguments: argparse.Namespace) -> int:
    import argparse

    from bus.cli import reading
    from bus.cli.describe import known_schema
    from bus.config import encode

    problems = reading.Problems()
    file = reading.anything(arguments.what, problems)
    found = settings.settle(
        file._replace(content=unwrapped(file.content)), {}, argparse.Namespace(), problems, is_alone=True
    )
    shown, real = encode(found.configured), encode(found.configured, reveal=True)
    is_kept = arguments.output is not None
    if shown != real and not is_kept:
        out.warn("secrets are left out: with --output FILE they are kept, in a file for its owner only")
    kind = str(shown["@type"])
    given = {name: one.value for name, one in found.values.items() if one.source != "default"}
    properties = typed.variant(known_schema(), kind)
    return _write(out, arguments.output, template.text(kind, properties, real if is_kept else shown, given))


def unwrapped(content: Json) -> Json:
    """The settings, or the Coordinator, out of what other places put around it."""
    responses = content.get("methodResponses")
    for response in cast("list[object]", responses) if isinstance(responses, list) else []:
        items = cast("list[object]", response) if isinstance(response, list) else []
        if len(items) > 1 and "list" in (inner := _object(items[1])):
            return unwrapped(inner)
    listed = content.get("list")
    if isinstance(listed, list) and listed:
        return unwrapped(_object(cast("list[object]", listed)[0]))
    if "version" in content and "object" in content:
        return unwrapped(_object(content["object"]))
    if "@type" in content and content.get("id") == "singleton":
        return {name: value for name, value in content.items() if name != "id"}
    return content


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}
