"""`bus top`: nodes and rates, again and again. With rich a live table, on a plain terminal a screen that is
drawn anew, without a terminal lines that follow each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bus.cli import output, settings
from bus.cli.failure import usage

if TYPE_CHECKING:
    import argparse

    from bus.cli.census import NodeView

CLEAR = "\x1b[H\x1b[2J"


class Frame(NamedTuple):
    """One look: the nodes, and how many events per second each has published since the last look."""

    channel: str
    views: list[NodeView]
    rates: dict[int, float]

    @property
    def total(self) -> float:
        """Events per second over all nodes."""
        return sum(self.rates.values())


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Nodes and rates, live. Joins as an observer; Ctrl-C ends it."
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (1)"
    )
    parser.add_argument("--once", action="store_true", help="one look, then end")
    parser.add_argument("--count", type=int, metavar="N", help="end after N looks")
    parser.add_argument("--timeout", type=float, default=15.0, metavar="SECONDS", help="to connect (15)")
    settings.configure(parser, settings.OBSERVERS)
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Show them."""
    from bus.cli.loops import run_until_signalled

    if not 0.2 <= arguments.interval <= 3600:
        raise usage(f"--interval is {arguments.interval:g}; 0.2 to 3600 are possible")
    return run_until_signalled(_top(output.Output(arguments), arguments))


async def _top(out: output.Output, arguments: argparse.Namespace) -> int:
    left = 1 if arguments.once else arguments.count
    # Closed here, and not by the end of the loop, which cancels the tasks of the link first.
    async with aclosing(_looks(arguments)) as looks:
        with _screen(out, is_live=left is None) as show:
            async for frame in looks:
                show(frame)
                if left is not None:
                    left -= 1
                    if not left:
                        break
    return 0


async def _looks(arguments: argparse.Namespace) -> AsyncGenerator[Frame]:
    import anyio

    from bus.cli.census import census
    from bus.cli.observer import observing

    async with observing(settings.load(arguments), arguments.timeout) as node:
        before: dict[int, tuple[int, int]] = {}
        # The first look needs two heartbeats of each: before that there is no rate.
        await anyio.sleep(1.2)
        while True:
            peers = node.engine.peers
            before = {peer.epoch: (peer.beat_us, peer.last) for peer in peers.values()}
            await anyio.sleep(arguments.interval)
            rates: dict[int, float] = {}
            for peer in peers.values():
                at, last = before.get(peer.epoch, (peer.beat_us, peer.last))
                rates[peer.epoch] = (
                    (peer.last - last) * 1e6 / (peer.beat_us - at) if peer.beat_us > at else 0.0
                )
            yield Frame(node.channel, census(node), rates)


@contextmanager
def _screen(out: output.Output, *, is_live: bool) -> Generator[Callable[[Frame], None]]:
    if out.is_json:
        yield lambda frame: out.json(_as_json(frame), indent=None)
        return
    if not out.is_terminal or not is_live:
        yield lambda frame: _lines(out, frame)
        return
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        yield lambda frame: _redraw(out, frame)
        return

    def table(frame: Frame) -> Table:
        head, rows = _cells(frame)
        made = Table(title=_title(frame), title_justify="left", box=None)
        for name in head:
            made.add_column(name)
        for row in rows:
            made.add_row(*row)
        return made

    with Live(console=Console(), auto_refresh=False) as live:
        yield lambda frame: live.update(table(frame), refresh=True)


def _redraw(out: output.Output, frame: Frame) -> None:
    out.line(f"{CLEAR}{_title(frame)}")
    out.table(*_cells(frame))


def _lines(out: output.Output, frame: Frame) -> None:
    out.line(_title(frame))
    out.table(*_cells(frame))


def _title(frame: Frame) -> str:
    up = sum(view.state == "UP" for view in frame.views)
    return f"{frame.channel}: {up} nodes, {frame.total:,.0f} events/s"


def _cells(frame: Frame) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    from bus.cli.census import HEAD, row

    head = (*HEAD[:4], "events/s", *HEAD[4:])
    rows: list[tuple[str, ...]] = []
    for view in frame.views:
        cells = row(view)
        rows.append((*cells[:4], f"{frame.rates.get(view.epoch, 0.0):,.0f}", *cells[4:]))
    return head, rows


def _as_json(frame: Frame) -> dict[str, object]:
    nodes = [
        {**view.as_json(), "eventsPerSecond": round(frame.rates.get(view.epoch, 0.0), 1)}
        for view in frame.views
    ]
    return {"channel": frame.channel, "eventsPerSecond": round(frame.total, 1), "nodes": nodes}
