"""Line charts and bar charts as SVG text: enough for a benchmark, and no dependency. Pure."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 76, 168, 54, 54
COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#4b5563")
INK, FAINT, PAPER = "#1f2937", "#e5e7eb", "#ffffff"
FONT = "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


class Line(msgspec.Struct, frozen=True):
    """One series of a line chart: points (x, y), ascending in x."""

    name: str
    points: list[tuple[float, float]]
    colour: int
    is_dashed: bool = False


class Bar(msgspec.Struct, frozen=True):
    """One bar; `low` and `high` are the ends of its whisker."""

    group: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None


def lines(
    title: str, subtitle: str, series: Sequence[Line], *, x_label: str, y_label: str,
    x_ticks: Sequence[tuple[float, str]], x_scale: Callable[[float], float], is_log: bool = False,
) -> str:  # fmt: skip
    """A line chart. `x_scale` maps x to a linear axis; `is_log`: the y axis is logarithmic."""
    values = [y for one in series for _, y in one.points]
    bottom, top, ticks = _axis(values, is_log=is_log)
    left, right = x_scale(x_ticks[0][0]), x_scale(x_ticks[-1][0])

    def across(x: float) -> float:
        share = (x_scale(x) - left) / ((right - left) or 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        low, high, at = (log10(bottom), log10(top), log10(y)) if is_log else (bottom, top, y)
        return HEIGHT - BOTTOM - (at - low) / ((high - low) or 1.0) * (HEIGHT - TOP - BOTTOM)

    parts = _frame(title, subtitle, y_label, [(up(tick), short(tick)) for tick in ticks], HEIGHT)
    for x, text in x_ticks:
        parts.append(_text(across(x), HEIGHT - BOTTOM + 18, text, anchor="middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_label, anchor="middle", is_faint=True))
    for number, one in enumerate(series):
        colour = COLOURS[one.colour % len(COLOURS)]
        dash = ' stroke-dasharray="5 4"' if one.is_dashed else ""
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in one.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts += [
            f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.6" fill="{colour}"/>' for x, y in one.points
        ]
        y = TOP + 6 + number * 19
        key = f'<line x1="{WIDTH - RIGHT + 14}" y1="{y}" x2="{WIDTH - RIGHT + 38}" y2="{y}"'
        parts.append(f'{key} stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(_text(WIDTH - RIGHT + 44, y + 4, one.name))
    return _whole(parts, HEIGHT)


def bars(title: str, subtitle: str, given: Sequence[Bar], *, x_label: str, mark: float | None = None) -> str:
    """Horizontal bars under the names of their groups; `mark` is a line that matters, such as 1."""
    names = list(dict.fromkeys(bar.name for bar in given))
    groups = list(dict.fromkeys(bar.group for bar in given))
    row, gap, first = 17, 9, TOP + 6
    height = first + len(given) * row + len(groups) * gap + BOTTOM
    label = 16 + max(len(group) for group in groups) * 7.0
    values = [bar.high or bar.value for bar in given]
    _, top, ticks = _axis([*values, mark or 0.0], is_log=False)
    room = WIDTH - label - 150

    def across(value: float) -> float:
        return label + value / top * room

    parts = _heading(title, subtitle)
    for tick in ticks:
        x = across(tick)
        parts.append(_rule(x, first - 4, x, height - BOTTOM + 2))
        parts.append(_text(x, height - BOTTOM + 18, short(tick), anchor="middle"))
    parts.append(_text(label + room / 2, height - 14, x_label, anchor="middle", is_faint=True))
    y = float(first)
    for group in groups:
        mine = [bar for bar in given if bar.group == group]
        parts.append(_text(label - 8, y + len(mine) * row / 2 + 4, group, anchor="end"))
        for bar in mine:
            colour = COLOURS[names.index(bar.name) % len(COLOURS)]
            parts.append(
                f'<rect x="{label:.1f}" y="{y + 2:.1f}" width="{max(1.0, across(bar.value) - label):.1f}" '
                f'height="{row - 4}" rx="2" fill="{colour}"/>'
            )
            middle, end = y + row / 2, across(bar.value)
            if bar.low is not None and bar.high is not None:
                end = max(end, across(bar.high))
                parts.append(_rule(across(bar.low), middle, across(bar.high), middle, INK))
            parts.append(_text(end + 6, middle + 4, f"{short(bar.value)} {bar.name}"))
            y += row
        y += gap
    if mark is not None:
        parts.append(_rule(across(mark), first - 4, across(mark), height - BOTTOM + 2, INK, "4 3"))
    return _whole(parts, int(height))


def short(value: float) -> str:
    """1,250,000 as 1.25 M."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _axis(values: Sequence[float], *, is_log: bool) -> tuple[float, float, list[float]]:
    """Bottom, top and ticks that hold all values."""
    most = max(values, default=1.0) or 1.0
    if is_log:
        positive = [value for value in values if value > 0] or [1.0]
        low, high = floor(log10(min(positive))), ceil(log10(max(positive)))
        high = max(high, low + 1)
        return 10.0**low, 10.0**high, [10.0**power for power in range(low, high + 1)]
    size = 10.0 ** floor(log10(most))
    step = next(size * part for part in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5) if most / (size * part) <= 6)
    count = ceil(most / step)
    return 0.0, count * step, [number * step for number in range(count + 1)]


def _frame(
    title: str, subtitle: str, y_label: str, ticks: Sequence[tuple[float, str]], height: int
) -> list[str]:
    parts = _heading(title, subtitle)
    for y, text in ticks:
        parts.append(_rule(LEFT, y, WIDTH - RIGHT, y))
        parts.append(_text(LEFT - 8, y + 4, text, anchor="end"))
    middle = (TOP + height - BOTTOM) / 2
    parts.append(
        f'<text x="16" y="{middle}" transform="rotate(-90 16 {middle})" text-anchor="middle" '
        f'fill="{INK}" opacity="0.65">{escape(y_label)}</text>'
    )
    return parts


def _heading(title: str, subtitle: str) -> list[str]:
    return [
        f'<text x="14" y="24" font-size="15" font-weight="600" fill="{INK}">{escape(title)}</text>',
        _text(14, 41, subtitle, is_faint=True),
    ]


def _text(x: float, y: float, text: str, *, anchor: str = "start", is_faint: bool = False) -> str:
    faint = ' opacity="0.65"' if is_faint else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}"{faint}>{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str = FAINT, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'


def _whole(parts: Sequence[str], height: int) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="{FONT}" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="{PAPER}"/>\n{body}\n</svg>\n'
    )
