"""`bus rollback`: back to the Coordinator before this one, by the same way as any other change."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bus.cli import output, target, thing, typed
from bus.cli.update import show_changes, tell

if TYPE_CHECKING:
    import argparse

    from bus.cli.client import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Back to the version before this one; also out of a file that cannot be read."
    thing.configure(parser)
    parser.add_argument("--to", type=int, metavar="GENERATION", help="only if the one before is this one")
    parser.add_argument("--if-state", metavar="STATE", help="only if it is in this state")
    parser.add_argument("--dry-run", action="store_true", help="prove it and change nothing")
    parser.add_argument("--validate", choices=("connect", "schema", "none"), default="connect")
    target.configure(parser)
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Go back."""
    from bus.cli.client import Client

    thing.check(arguments.object, arguments.id)
    out = output.Output(arguments)
    client = Client(target.target_of(arguments))
    _, before = client.coordinator()
    response = client.rollback(
        generation=arguments.to,
        ifInState=arguments.if_state,
        validate=arguments.validate,
        dryRun=arguments.dry_run or None,
    )
    _, after = client.coordinator()
    schema = client.schema()
    told = tell({**response, "dryRun": arguments.dry_run}, before, after, schema)
    if out.is_json:
        out.json(told)
    elif arguments.dry_run:
        out.line("it would work; nothing was changed")
    else:
        out.line(f"changed from state {told['oldState']} to {told['newState']}")
        show_changes(out, cast("Json", told["changed"]), typed.variant(schema, str(after["@type"])))
    return 0
