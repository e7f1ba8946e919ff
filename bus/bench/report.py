"""The result for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from bus.bench.figures import way

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bus.bench.figures import Figures, Result

VERSION = 1
NONE = "-"
# CPU with a "/": of the publishing and of the subscribing process, and of the server; else of all together.
HEADS = ("", "bus", "raw", "ratio", "min..max", "bus us CPU", "raw us CPU", "lost bus/raw", "stable")


def as_json(machine: dict[str, object], results: Sequence[Result]) -> str:
    """One line; later releases only add keys."""
    report = {"version": VERSION, "machine": machine, "results": results}
    return msgspec.json.encode(report).decode()


def as_text(machine: dict[str, object], results: Sequence[Result]) -> str:
    """A table, readable in a pipe, too."""
    lines = list(header(machine))
    compared = [result for result in results if result.ours.rate]
    if compared:
        lines += columns([HEADS, *(row for result in compared for row in _rows(result))])
    for result in results:
        if result.measured:
            values = ", ".join(f"{name} {value:,.4g}" for name, value in result.measured.items())
            lines.append(f"{result.scenario} {result.backend} {_params(result)}: {values}")
    return "\n".join(lines)


def header(machine: Mapping[str, object]) -> list[str]:
    """Where the figures come from: two lines."""
    versions = cast("dict[str, str]", machine.get("versions", {}))
    return [
        f"{machine['python']} on {machine['cores']} cores, load {machine['load_before']}",
        ", ".join(f"{name} {version}" for name, version in versions.items()) or "versions unknown",
    ]


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


def _rows(result: Result) -> list[tuple[str, ...]]:
    raw = result.raw
    name = f"{result.scenario} {result.backend} {result.loop} {way(result)}"
    found: list[tuple[str, ...]] = [
        (
            name,
            _speed(result.ours),
            NONE if raw is None else _speed(raw),
            NONE if result.ratio is None else f"{result.ratio:.2f}",
            NONE if result.spread is None else "{:.2f}..{:.2f}".format(*result.spread),
            _cpu(result.ours),
            NONE if raw is None else _cpu(raw),
            f"{result.ours.lost}/{NONE if raw is None else raw.lost}",
            "yes" if result.stable else "no",
        )
    ]
    for other, versus in result.others.items():
        found.append(
            (
                f"  beside {other}", "", _speed(versus.figures), f"{versus.ratio:.2f}",
                "{:.2f}..{:.2f}".format(*versus.spread), "", _cpu(versus.figures),
                f"/{versus.figures.lost}", "yes" if versus.stable else "no",
            )
        )  # fmt: skip
    return found


def _params(result: Result) -> str:
    return way(result) or " ".join(f"{name} {value}" for name, value in result.params.items())


def _speed(figures: Figures) -> str:
    if figures.p50_us is not None and figures.p99_us is not None:
        return f"p50 {figures.p50_us:,.0f} p99 {figures.p99_us:,.0f} us"
    return f"{figures.rate:,.0f}/s"


def _cpu(figures: Figures) -> str:
    parts = (figures.cpu_us_pub, figures.cpu_us_sub, figures.cpu_us_server)
    return "/".join(f"{part:.2f}" for part in parts if part is not None)
