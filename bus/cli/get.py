"""`bus get Coordinator`: what a node runs on, secrets masked.

With --json the object as it is, durations in milliseconds: what comes out can be given back to `bus update
Coordinator --stdin`, and changes nothing. For people: durations as text, `*` marks what is no default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bus.cli import output, target, thing, typed
from bus.cli.failure import usage

if TYPE_CHECKING:
    import argparse

    from bus.cli.client import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Show the Coordinator of a node; secrets are never shown."
    thing.configure(parser)
    parser.add_argument("--fields", metavar="A,B", help="only these")
    parser.add_argument(
        "--raw-state", action="store_true", help="print the state only, for update --if-state"
    )
    target.configure(parser)
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Show it."""
    from bus.cli.client import Client

    thing.check(arguments.object, arguments.id)
    out = output.Output(arguments)
    client = Client(target.target_of(arguments))
    state, found = client.coordinator()
    if arguments.raw_state:
        out.line(state)
        return 0
    if arguments.fields:
        found = _only(found, arguments.fields)
    if out.is_json:
        out.json(found)
        return 0
    properties = typed.variant(client.schema(), str(found["@type"]))
    show(out, found, properties)
    out.note(f"state {state}")
    return 0


def show(out: output.Output, found: Json, properties: Json) -> None:
    """As a table."""
    texts = output.fields(found, typed.durations(properties))
    rows: list[tuple[str, str, str]] = []
    for name, text in texts.items():
        field = cast("Json", properties.get(name) or {})
        is_special = "default" in field and field["default"] != found[name]
        rows.append(("*" if is_special else "", name, text))
    out.table(("", "field", "value"), rows)


def _only(found: Json, wanted: str) -> Json:
    names = [typed.canonical(name.strip(), found) for name in wanted.split(",") if name.strip()]
    if missing := [name for name in names if name not in found]:
        raise usage(f"{found['@type']} has no field {', '.join(missing)}", f"it has: {', '.join(found)}")
    return {name: found[name] for name in dict.fromkeys(["@type", *names])}
