"""`bus update Coordinator --field k=v ...`: change one node, or with --nodes a cluster.

The change is made of the object as it is now, and is refused if somebody else changes it meanwhile; `--force`
does without. With --nodes: a dry run on all, one after the other, up to the first that refuses; then all of
them at once, because each one waits for the others on the new link.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from bus.cli import cluster, output, patch, target, thing, typed, waiting
from bus.cli.failure import usage

if TYPE_CHECKING:
    import argparse

    from bus.cli.client import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = (
        "Change the Coordinator: proven on a connection of its own, then stored, then in use."
    )
    thing.configure(parser)
    patch.configure(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--dry-run", action="store_true", help="prove it and change nothing")
    how.add_argument(
        "--validate", choices=("connect", "schema", "none"), default="connect",
        help="connect (default): with a trial connection; schema: without; none: only store it",
    )  # fmt: skip
    state = how.add_mutually_exclusive_group()
    state.add_argument(
        "--if-state", metavar="STATE", help="only if it is in this state (bus get --raw-state)"
    )
    state.add_argument("--force", action="store_true", help="also when somebody else has changed it")
    how.add_argument("--nodes", metavar="URL,URL", help="on all of these: URLs, or profiles of cli.toml")
    how.add_argument(
        "--wait", action="store_true",
        help="for a change that is under way, and until the node runs on this one; at most --timeout",
    )  # fmt: skip
    target.configure(parser)
    output.configure(parser, json_takes="the fields to change, or a whole object")


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Change it."""
    from bus.cli.client import Client

    if isinstance(arguments.json, str) and not arguments.json.lstrip().startswith("{"):
        # `--json Coordinator`: the word belongs to the command.
        arguments.object, arguments.json = arguments.json, True
    thing.check(arguments.object, arguments.id)
    out = output.Output(arguments)
    if arguments.nodes:
        if arguments.if_state:
            raise usage("--if-state is the state of one node", "leave it out: each node is asked for its own")
        return cluster.run(out, arguments, target.targets_of(arguments, arguments.nodes))
    client = Client(target.target_of(arguments))
    state, before = client.coordinator()
    schema = client.schema()
    change = patch.patch_of(arguments, schema, before)
    deadline = time.monotonic() + (arguments.timeout if arguments.wait else 0.0)
    response = waiting.patiently(
        lambda: client.update(
            change,
            ifInState=None if arguments.force else arguments.if_state or state,
            validate=arguments.validate,
            dryRun=arguments.dry_run or None,
        ),
        deadline,
    )
    if arguments.wait and not arguments.dry_run:
        waiting.until_ready(client, deadline)
    _, after = client.coordinator()
    told = tell(response, before, after, schema)
    if out.is_json:
        out.json(told)
    elif arguments.dry_run:
        out.line("it would work; nothing was changed")
    elif told["oldState"] == told["newState"]:
        out.line("nothing to change: it is so already")
    else:
        out.line(f"changed from state {told['oldState']} to {told['newState']}")
        show_changes(out, cast("Json", told["changed"]), typed.variant(schema, str(after["@type"])))
    return 0


def tell(response: Json, before: Json, after: Json, schema: Json) -> Json:
    """What came of it, for programs."""
    names = dict.fromkeys([*before, *after])
    changed = {
        name: {"old": before.get(name), "new": after.get(name)}
        for name in names
        if before.get(name) != after.get(name)
    }
    return {
        "oldState": response["oldState"],
        "newState": response["newState"],
        "dryRun": bool(response.get("dryRun")),
        "changed": changed,
    }


def show_changes(out: output.Output, changed: Json, properties: Json) -> None:
    """Old and new values."""
    if not changed:
        out.note("what changed is masked")
        return
    durations = typed.durations(properties)
    pairs = cast("dict[str, Json]", changed)
    old = output.fields({name: one["old"] for name, one in pairs.items()}, durations)
    new = output.fields({name: one["new"] for name, one in pairs.items()}, durations)
    out.table(("field", "old", "new"), [(name, old[name], new[name]) for name in pairs])
