"""`bus doctor`: the first layer of a connection that fails, and how to mend it; then who hears whom.

name -> tcp -> tls, for each server by itself; then one trial connection for login, permission and proof, as
a change would make it; then, as an observer, what the nodes say in heartbeats and answer when they are asked
(`findings`). Exit code 7 when something is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.cli import output, settings
from bus.cli.failure import CONNECTION, Failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bus.cli.findings import Examined
    from bus.cli.reach import Check
    from bus.config import Coordinator

    _Add = Callable[[Check], None]

WORDS = {"ok": "ok", "warn": "WARNING", "fail": "FAILED", "skip": "not asked"}
STYLES = {"ok": "good", "warn": "warn", "fail": "bad", "skip": "dim"}
# Columns of the matrix that fit on a screen.
MOST_IN_MATRIX = 16
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
    from bus.cli.findings import as_json

    out = output.Output(arguments)
    found = settings.load(arguments)
    coordinator = opening.coordinator_of(settings.need_system(found), found.text("store"))
    checks: list[Check] = []

    def add(check: Check) -> None:
        checks.append(check)
        if not out.is_json:
            _show(out, check)

    examined = None
    if _reach(coordinator, add) and _try(coordinator, found, add) and not arguments.no_nodes:
        examined = _nodes(found, arguments, add)
    bad = [check for check in checks if check.status == "fail"]
    if out.is_json:
        out.json(
            {
                "healthy": not bad,
                "checks": [check._asdict() for check in checks],
                "nodes": as_json(examined) if examined is not None else [],
            }
        )
        return CONNECTION if bad else 0
    if examined is not None:
        _show_matrix(out, examined)
    out.line(f"{len(bad)} of {len(checks)} checks failed" if bad else "healthy")
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


def _nodes(found: settings.Settings, arguments: argparse.Namespace, add: _Add) -> Examined | None:
    """Who hears whom, and what else is wrong among the nodes."""
    import asyncio

    from bus.cli.findings import judged
    from bus.cli.reach import Check

    try:
        examined = asyncio.run(_listen(found, arguments))
    except Failure as error:
        add(Check("nodes", "observer", "fail", error.message, ""))
        return None
    for check in dict.fromkeys(judged(examined)):
        add(check)
    return examined


async def _listen(found: settings.Settings, arguments: argparse.Namespace) -> Examined:
    import anyio

    from bus.cli.findings import examine
    from bus.cli.observer import observing

    async with observing(found, arguments.timeout) as node:
        await anyio.sleep(max(0.0, arguments.seconds))
        await node.ask()
        return examine(node)


def _show_matrix(out: output.Output, examined: Examined) -> None:
    from bus.cli.findings import matrix

    rows = matrix(examined)
    if 2 < len(rows) <= MOST_IN_MATRIX + 1:
        out.line()
        out.line("rows hear columns, milliseconds one way; -- does not hear, ? not known")
        out.table(rows[0], rows[1:])
        out.line()
