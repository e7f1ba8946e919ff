"""`bus nodes`: who is on the bus, and who hears whom. Joins as an observer, for a few heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.cli import output, settings

if TYPE_CHECKING:
    import argparse

LISTEN = 2.5


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Who is on the bus, what they have published, and whom they hear."
    parser.add_argument(
        "--for", dest="seconds", type=float, default=LISTEN, metavar="SECONDS", help=f"listen ({LISTEN})"
    )
    parser.add_argument("--timeout", type=float, default=15.0, metavar="SECONDS", help="to connect (15)")
    settings.configure(parser, settings.OBSERVERS)
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Show them."""
    from bus.cli.loops import run_until_signalled

    return run_until_signalled(_nodes(output.Output(arguments), arguments))


async def _nodes(out: output.Output, arguments: argparse.Namespace) -> int:
    import anyio

    from bus.cli.census import HEAD, census, row
    from bus.cli.observer import observing

    async with observing(settings.load(arguments), arguments.timeout) as node:
        await anyio.sleep(arguments.seconds)
        await node.ask()
        views = census(node)
    if out.is_json:
        out.json([view.as_json() for view in views])
        return 0
    if views:
        out.table(HEAD, [row(view) for view in views])
    else:
        out.note(f"nobody is on {node.channel}")
    return 0
