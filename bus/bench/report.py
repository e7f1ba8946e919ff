"""The result for people and for programs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.bench.figures import Figures, Result

VERSION = 1

HEADS = ("what", "bus", "raw", "ratio", "min..max", "CPU us bus", "CPU us raw", "lost", "stable")


def as_json(machine: dict[str, object], results: Sequence[Result]) -> str:
    """One line; later releases only add keys."""
    report = {"version": VERSION, "machine": machine, "results": results}
    return msgspec.json.encode(report).decode()


def show(machine: dict[str, object], results: Sequence[Result]) -> None:
    """A table on stdout, in colour where rich is installed."""
    rows = [_row(result) for result in results]
    title = f"{machine['cores']} cores, {machine['python']}, load {machine['load_before']}"
    if find_spec("rich") is not None:
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title)
        for head in HEADS:
            table.add_column(head, justify="left" if head == HEADS[0] else "right")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    print(title)
    for line in columns([HEADS, *rows]):
        print(line)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _row(result: Result) -> tuple[str, ...]:
    raw = result.raw
    what = f"{result.scenario} {result.backend} {result.params['delivery']} {result.loop}"
    lost = f"{result.ours.lost}" + (f" / {raw.lost}" if raw is not None else "")
    return (
        what,
        _figure(result.ours),
        _figure(raw) if raw is not None else "-",
        f"{result.ratio:.2f}" if result.ratio is not None else "-",
        "{:.2f}..{:.2f}".format(*result.spread) if result.spread is not None else "-",
        _cpu(result.ours),
        _cpu(raw) if raw is not None else "-",
        lost,
        "yes" if result.stable else "no",
    )


def _figure(figures: Figures) -> str:
    if figures.p50_us is not None and figures.p99_us is not None:
        return f"p50 {figures.p50_us:,.0f} p99 {figures.p99_us:,.0f} us"
    return f"{figures.rate:,.0f}/s"


def _cpu(figures: Figures) -> str:
    if figures.cpu_us_sub is None:
        return f"{figures.cpu_us_pub:.2f}"
    return f"{figures.cpu_us_pub:.2f} + {figures.cpu_us_sub:.2f}"
