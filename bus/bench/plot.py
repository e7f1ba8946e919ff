"""The charts of a report: ratios, rates, the latency curve, more nodes, larger events, more subscribers."""

from __future__ import annotations

from math import log2, log10
from typing import TYPE_CHECKING

from bus.bench.figures import way
from bus.bench.svg import Bar, Line, bars, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bus.bench.figures import Figures, Result

TAIL = ((50.0, "50"), (75.0, "75"), (90.0, "90"), (95.0, "95"), (99.0, "99"), (99.5, "99.5"), (99.9, "99.9"))


def write(folder: Path, about: dict[str, object], results: Sequence[Result]) -> list[Path]:
    """Write what there is data for; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, text in charts(about, results).items():
        (path := folder / f"{name}.svg").write_text(text)
        written.append(path)
    return written


def charts(about: dict[str, object], results: Sequence[Result]) -> dict[str, str]:
    """Name -> SVG; only charts that have something to show."""
    machine = f"{about.get('python', 'Python')} on {about.get('cores', '?')} cores; {about.get('cpu', '')}"
    found = {
        "ratios": _ratios(machine, results),
        "rates": _rates(machine, results),
        "latency": _latency(machine, results),
        "nodes": _scaling(machine, results, "nodes", "nodes", "All nodes publish and receive"),
        "size": _scaling(machine, results, "size", "bytes", "Events of different sizes"),
        **{
            f"fanout-{backend}": _fanout(machine, backend, results)
            for backend in dict.fromkeys(one.backend for one in results)
        },
    }
    return {name: text for name, text in found.items() if text is not None}


def _ratios(machine: str, results: Sequence[Result]) -> str | None:
    given = [
        Bar(f"{one.backend} {way(one)}", f"x {name}", ratio, *spread)
        for one in results
        if one.scenario == "throughput" and one.ratio is not None and one.spread is not None
        for name, ratio, spread in (
            ("raw", one.ratio, one.spread),
            *((name, other.ratio, other.spread) for name, other in one.others.items() if name == "tcp"),
        )
    ]
    if not given:
        return None
    title = "Throughput: our rate over the other's"
    return bars(
        title, f"median of pairs in one run, with min and max; {machine}", given, x_label="ratio", mark=1.0
    )


def _rates(machine: str, results: Sequence[Result]) -> str | None:
    given: list[Bar] = []
    for one in results:
        if one.scenario != "throughput" or way(one) not in ("batch x1", "batch x1 sealed"):
            continue
        sides = {"bus": one.ours, **({"raw": one.raw} if one.raw else {})}
        sides |= {name: other.figures for name, other in one.others.items()}
        given += [Bar(one.backend, name, side.rate) for name, side in sides.items()]
    if not given:
        return None
    subtitle = f"one publishing, one subscribing process, 100 events a loop turn; {machine}"
    return bars("Events per second", subtitle, given, x_label="events/s")


def _latency(machine: str, results: Sequence[Result]) -> str | None:
    series = [
        Line(
            f"{one.backend}{'' if side is one.ours else ' raw'}",
            [(at, us) for at, us in side.curve if at >= TAIL[0][0]],
            number,
            is_dashed=side is not one.ours,
        )
        for number, one in enumerate(one for one in results if one.scenario == "latency")
        for side in (one.ours, one.raw)
        if side is not None and side.curve
    ]
    if not series:
        return None
    return lines(
        "Latency at 1,000 events a second", f"from when an event was due; {machine}", series,
        x_label="percentile", y_label="microseconds", x_ticks=TAIL,
        # Each further nine is as far as the one before.
        x_scale=lambda percent: -log10(1 - percent / 100), is_log=True,
    )  # fmt: skip


def _scaling(machine: str, results: Sequence[Result], scenario: str, param: str, title: str) -> str | None:
    mine = [one for one in results if one.scenario == scenario]
    series = _by_backend(mine, param, lambda side: side.rate)
    if not series:
        return None
    places = sorted({float(one.params[param]) for one in mine})
    return lines(
        f"{title}: events received per second, over all processes", machine, series,
        x_label=param, y_label="events/s", x_ticks=[(place, f"{place:g}") for place in places],
        x_scale=log2, is_log=scenario == "size",
    )  # fmt: skip


def _by_backend(results: Sequence[Result], param: str, take: Callable[[Figures], float]) -> list[Line]:
    series: list[Line] = []
    for number, backend in enumerate(dict.fromkeys(one.backend for one in results)):
        for is_raw in (False, True):
            points = [
                (float(one.params[param]), take(side))
                for one in results
                if one.backend == backend and (side := one.raw if is_raw else one.ours) is not None
            ]
            if points:
                series.append(Line(f"{backend}{' raw' if is_raw else ''}", sorted(points), number, is_raw))
    return series


def _fanout(machine: str, backend: str, results: Sequence[Result]) -> str | None:
    mine = [one for one in results if one.scenario == "fanout" and one.backend == backend]
    if not mine:
        return None
    series: list[Line] = []
    for number, delivery in enumerate(dict.fromkeys(str(one.params["delivery"]) for one in mine)):
        rows = [one for one in mine if one.params["delivery"] == delivery]
        for line in _by_backend(rows, "subscribers", _cpu):
            name = f"{delivery}{' raw' if line.is_dashed else ''}"
            series.append(Line(name, line.points, number, line.is_dashed))
    places = sorted({float(one.params["subscribers"]) for one in mine})
    return lines(
        f"Subscribers in one process, {backend}: CPU per event for all of them", machine, series,
        x_label="subscribers", y_label="microseconds", x_ticks=[(place, f"{place:g}") for place in places],
        x_scale=lambda count: count, is_log=True,
    )  # fmt: skip


def _cpu(side: Figures) -> float:
    return side.cpu_us_pub if side.cpu_us_sub is None else side.cpu_us_sub
