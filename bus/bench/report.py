"""The result for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bus.bench.figures import way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.bench.figures import Figures, Result

VERSION = 1
NONE = "-"
# CPU with a "/": of the publishing and of the subscribing process; without one: of one that is both.
HEADS = ("", "bus", "raw", "ratio", "min..max", "bus us CPU", "raw us CPU", "lost bus/raw", "stable")


def as_json(machine: dict[str, object], results: Sequence[Result]) -> str:
    """One line; later releases only add keys."""
    report = {"version": VERSION, "machine": machine, "results": results}
    return msgspec.json.encode(report).decode()


def as_text(machine: dict[str, object], results: Sequence[Result]) -> str:
    """A table, readable in a pipe, too."""
    title = f"{machine['python']} on {machine['cores']} cores, load {machine['load_before']}"
    return "\n".join((title, *columns([HEADS, *map(_row, results)])))


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
    return (
        f"{result.scenario} {result.backend} {result.loop} {way(result)}",
        _speed(result.ours),
        NONE if raw is None else _speed(raw),
        NONE if result.ratio is None else f"{result.ratio:.2f}",
        NONE if result.spread is None else "{:.2f}..{:.2f}".format(*result.spread),
        _cpu(result.ours),
        NONE if raw is None else _cpu(raw),
        f"{result.ours.lost}/{NONE if raw is None else raw.lost}",
        "yes" if result.stable else "no",
    )


def _speed(figures: Figures) -> str:
    if figures.p50_us is not None and figures.p99_us is not None:
        return f"p50 {figures.p50_us:,.0f} p99 {figures.p99_us:,.0f} us"
    return f"{figures.rate:,.0f}/s"


def _cpu(figures: Figures) -> str:
    if figures.cpu_us_sub is None:
        return f"{figures.cpu_us_pub:.2f}"
    return f"{figures.cpu_us_pub:.2f}/{figures.cpu_us_sub:.2f}"
