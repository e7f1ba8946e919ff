"""`bus doctor`: the first layer of a connection that fails, and how to mend it; then who hears whom.

name -> tcp -> tls, for each server by itself; then one trial connection for login, permission and proof, as
a change would make it; then, as an observer, what the heartbeats of the nodes say of each other. Exit code 7
when something is wrong. What no heartbeat says (what a node that nobody hears thinks of the others; whole
tables of more than 9 nodes; reports of the ledgers) is not looked at by this release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.cli import output, settings
from bus.cli.failure import CONNECTION, Failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from bus.cli.census import NodeView
    from bus.cli.reach import Check
    from bus.config import Coordinator

    _Add = Callable[[Check], None]

WORDS = {"ok": "ok", "warn": "WARNING", "fail": "FAILED", "skip": "not asked"}
STYLES = {"ok": "good", "warn": "warn", "fail": "bad", "skip": "dim"}
# Stages of a trial -> the layers that are good when it gets there.
LAYERS = ("secret", "login", "permission", "proof")
STAGE = {"resolve": 0, "connect": 1, "auth": 1, "subscribe": 2, "probe": 3}


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Find the first thing that is wrong with a connection, and who does not hear whom."
    parser.add_argument("--no-nodes", action="store_true", help="the connection only, not who hears whom")
    parser.add_argument(
        "--for", dest="seconds", type=float, default=3.0, metavar="SECONDS", help="listen to nodes (3)"
    )
    parser.add_argument("--timeout", type=float, default=15.0, metavar="SECONDS", help="to connect (15)")
    settings.configure(parser, settings.OBSERVERS)
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Look at everything; the exit code."""
    from bus import opening

    out = output.Output(arguments)
    found = settings.load(arguments)
    coordinator = opening.coordinator_of(settings.need_system(found), found.text("store"))
    checks: list[Check] = []

    def add(check: Check) -> None:
        checks.append(check)
        if not out.is_json:
            _show(out, check)

    views: list[NodeView] = []
    if _reach(coordinator, add) and _try(coordinator, found, add) and not arguments.no_nodes:
        views = _nodes(found, arguments, add)
    bad = [check for check in checks if check.status == "fail"]
    if out.is_json:
        out.json(
            {
                "healthy": not bad,
                "checks": [check._asdict() for check in checks],
                "nodes": [view.as_json() for view in views],
            }
        )
    elif not bad:
        out.line("healthy")
    return CONNECTION if bad else 0


def _show(out: output.Output, check: Check) -> None:
    word = out.paint(WORDS[check.status].ljust(9), STYLES[check.status])
    out.line(f"{word} {check.layer:<10} {check.place}: {check.detail}")
    if check.fix:
        out.line(f"{'':<10}{'':<10} -> {check.fix}")


def _reach(coordinator: Coordinator, add: _Add) -> bool:
    """Whether at least one server can be reached; one that cannot is a warning beside others that can."""
    from bus.cli.reach import Check, check, places

    servers = places(coordinator)
    if not servers:
        add(Check("name", type(coordinator).__name__, "skip", "it names no server"))
        return True
    found = [list(check(server, coordinator)) for server in servers]
    is_good = any(one[-1].status != "fail" for one in found)
    for one in found:
        for layer in one:
            add(layer._replace(status="warn") if is_good and layer.status == "fail" else layer)
    return is_good


def _try(coordinator: Coordinator, found: settings.Settings, add: _Add) -> bool:
    """Login, permission, proof: by a trial connection."""
    from bus.cli.reach import Check
    from bus.cli.validate import try_it

    kind = type(coordinator).__name__
    try:
        seconds = try_it(coordinator, found)
    except Failure as error:
        failed = STAGE.get(str(error.more.get("stage")), 1)
        for layer in LAYERS[:failed]:
            add(Check(layer, kind, "ok", "good"))
        add(Check(LAYERS[failed], kind, "fail", error.message, error.hint))
        return False
    for layer in LAYERS:
        took = f"in {seconds * 1e3:.0f} ms, all told" if layer == "proof" else "good"
        add(Check(layer, kind, "ok", took))
    return True


def _nodes(found: settings.Settings, arguments: argparse.Namespace, add: _Add) -> list[NodeView]:
    """Who hears whom, as far as heartbeats say it."""
    import asyncio

    from bus.cli.reach import Check

    try:
        views = asyncio.run(_listen(found, arguments))
    except Failure as error:
        add(Check("nodes", "observer", "fail", error.message, ""))
        return []
    for check in judged(views):
        add(check)
    return views


def judged(views: Sequence[NodeView]) -> Iterator[Check]:
    """What the heartbeats say, node by node."""
    from bus.cli.reach import Check

    up = [view for view in views if view.state == "UP"]
    if not up:
        yield Check(
            "nodes", "observer", "warn", "nobody else is on the bus", "is the cluster the same there?"
        )
    names = [view.node for view in up]
    for view in up:
        place = view.node
        if names.count(place) > 1:
            yield Check("nodes", place, "fail", "several nodes have this name", "give each its own: --node")
        if view.deaf_to is None:
            yield Check("nodes", place, "skip", f"named {len(view.hears)} that it hears; more than 9 nodes")
        elif view.deaf_to:
            fix = "run bus doctor on its machine; are both on one system, and may both publish?"
            yield Check("nodes", place, "fail", f"does not hear {', '.join(view.deaf_to)}", fix)
        else:
            yield Check("nodes", place, "ok", f"hears {', '.join(view.hears) or 'nobody: it is alone'}")
        if view.lost:
            yield Check("nodes", place, "warn", f"has lost {view.lost} events of the nodes that it hears")


async def _listen(found: settings.Settings, arguments: argparse.Namespace) -> list[NodeView]:
    import anyio

    from bus.cli.census import census
    from bus.cli.observer import observing

    async with observing(found, arguments.timeout) as node:
        await anyio.sleep(max(0.0, arguments.seconds))
        return census(node)
