"""What is shown: a live table on a terminal with rich, else a line per second; then the ledger."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

import msgspec

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from bus.demo.ledger import Ledger
    from bus.demo.receipts import Counters

LINE_EVERY = 1.0


class View(msgspec.Struct, frozen=True):
    """One node, now."""

    name: str
    is_up: bool
    peers: int
    writes: int
    reads: int
    hits: int
    stale: int
    delivered: int
    told: int
    latency_us: int


class Progress(Protocol):
    """Where a run tells how far it is."""

    def say(self, text: str) -> None:
        """One line about something that happened."""
        ...

    def show(self, seconds: float, nodes: Sequence[View]) -> None:
        """The nodes, about ten times per second."""
        ...


@contextmanager
def progress_on(stream: TextIO) -> Generator[Progress]:
    """A live table if `stream` is a terminal and rich is installed, else plain lines."""
    if stream.isatty():
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError:
            pass
        else:
            with Live(console=Console(file=stream), auto_refresh=False, transient=True) as live:
                yield LiveTable(live)
            return
    yield PlainLines(stream)


class PlainLines:
    """A line per second."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._due = LINE_EVERY

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def show(self, seconds: float, nodes: Sequence[View]) -> None:
        if seconds < self._due:
            return
        self._due = seconds + LINE_EVERY
        up = sum(node.is_up for node in nodes)
        self.say(
            f"{seconds:6.1f} s  up {up}/{len(nodes)}  "
            f"written {sum(node.writes for node in nodes):,}  "
            f"delivered {sum(node.delivered for node in nodes):,}  "
            f"told lost {sum(node.told for node in nodes):,}  "
            f"read {sum(node.reads for node in nodes):,}  "
            f"cached {percent(nodes)}  stale {sum(node.stale for node in nodes)}"
        )


class LiveTable:
    """A table that is drawn again and again."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def say(self, text: str) -> None:
        self._live.console.print(text, highlight=False, markup=False)

    def show(self, seconds: float, nodes: Sequence[View]) -> None:
        self._live.update(_table(seconds, nodes), refresh=True)


def _table(seconds: float, nodes: Sequence[View]) -> Table:
    from rich.table import Table

    table = Table(title=f"{seconds:.1f} s", title_justify="left")
    table.add_column("node")
    for title in ("peers", "written", "delivered", "told lost", "read", "cached", "stale", "ms"):
        table.add_column(title, justify="right")
    for node in nodes:
        table.add_row(
            node.name,
            str(node.peers) if node.is_up else "down",
            f"{node.writes:,}",
            f"{node.delivered:,}",
            f"{node.told:,}",
            f"{node.reads:,}",
            percent([node]),
            str(node.stale),
            f"{node.latency_us / 1e3:.1f}",
        )
    return table


def percent(nodes: Sequence[View]) -> str:
    """Share of the reads that the cache answered."""
    reads = sum(node.reads for node in nodes)
    return f"{100 * sum(node.hits for node in nodes) / reads:.0f} %" if reads else "-"


def ledger_lines(ledger: Ledger, seconds: float, totals: Counters, rows: int) -> Iterator[str]:
    """The end of the story."""
    titles = ("from", "to", "published", "delivered", "lost, told", "unexplained")
    cells = [
        (
            pair.sender,
            pair.receiver,
            f"{pair.published:,}",
            f"{pair.delivered:,}",
            f"{pair.lost_told:,}",
            f"{pair.unexplained:,}",
        )
        for pair in ledger.pairs
    ]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    for row in (titles, *cells):
        names = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
        yield "  ".join(names + numbers)
    cached = f"{100 * totals.hits / totals.reads:.0f} %" if totals.reads else "none"
    yield (
        f"{ledger.published:,} writes to {rows:,} rows ({ledger.published / seconds:,.0f}/s); "
        f"{totals.reads:,} reads, {cached} from the cache, {totals.refused:,} fills refused, "
        f"{ledger.stale_reads:,} stale"
    )
    if twice := sum(pair.twice for pair in ledger.pairs):
        yield f"{twice:,} events came twice"
    for name in ledger.broken:
        yield f"the journal of {name} has holes"
    if ledger.balanced and not ledger.stale_reads:
        yield "balanced: every event was delivered once, or its loss was told"
    elif ledger.balanced:
        yield "balanced, but stale values were read"
    else:
        yield "NOT balanced: not every event is accounted for"
