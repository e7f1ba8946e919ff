"""What is made of a result: the table, the charts, the comparison of two, the goals. All pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from bus.bench import plot, report
from bus.bench.figures import Figures, Result, Versus, way
from bus.bench.svg import Bar, Line, bars, lines, short

SIDE = Figures(rate=2e6, cpu_us_pub=0.4, cpu_us_sub=None, lost=0, p50_us=None, p99_us=None)
ABOUT: dict[str, object] = {
    "cores": 2, "python": "CPython 3.11", "load_before": [0.1, 0.2, 0.3], "versions": {"msgspec": "0.22"},
}  # fmt: skip


def row(scenario: str = "throughput", **changes: Any) -> Result:
    params = {"burst": 100, "delivery": "batch", "subscribers": 1, **changes.pop("params", {})}
    plain = Result(
        scenario=scenario, backend="memory", loop="asyncio", params=params,
        ours=SIDE, raw=None, ratio=None, spread=None, pairs=1, stable=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def beside(ratio: float, low: float, high: float, **changes: Any) -> Result:
    return row(raw=SIDE, ratio=ratio, spread=(low, high), **changes)


def test_table_shows_every_row_and_what_is_missing() -> None:
    title, versions, heads, first, second = report.as_text(ABOUT, [row(), row(stable=False)]).splitlines()
    assert "CPython 3.11 on 2 cores" in title
    assert versions == "msgspec 0.22"
    assert heads.split()[:3] == ["bus", "raw", "ratio"]
    assert first.split()[-8:] == ["2,000,000/s", "-", "-", "-", "0.40", "-", "0/-", "yes"]
    assert second.endswith("no")


def test_table_shows_further_opponents_and_what_only_a_scenario_measures() -> None:
    other = Versus(figures=SIDE, ratio=0.7, spread=(0.6, 0.8), stable=True)
    text = report.as_text(ABOUT, [row(others={"tcp": other}, measured={"unready": 0})])
    assert "beside tcp" in text
    assert "0.60..0.80" in text
    assert text.splitlines()[-1] == "throughput memory batch x1: unready 0"


def test_columns_are_aligned() -> None:
    assert report.columns([("what", "n"), ("a", "100")]) == ["what    n", "a     100"]


def test_rows_are_named_by_what_distinguishes_them() -> None:
    assert way(row()) == "batch x1"
    assert way(row(params={"burst": 1, "nodes": 4})) == "batch x1 burst 1 nodes 4"
    assert way(row(params={"bytes": 16, "sealed": 1})) == "batch x1 bytes 16 sealed"


# -- charts ----------------------------------------------------------------------------------------


def paced(p50: float) -> Figures:
    return msgspec.structs.replace(
        SIDE, p50_us=p50, p99_us=9 * p50, curve=[(50, p50), (99, 9 * p50), (99.9, 20 * p50)]
    )


EVERYTHING = [
    beside(2.0, 1.5, 2.5, others={"tcp": Versus(figures=SIDE, ratio=0.7, spread=(0.6, 0.8), stable=True)}),
    row("latency", ours=paced(80), raw=paced(100), ratio=0.8),
    *(row("nodes", raw=SIDE, params={"nodes": nodes}) for nodes in (2, 4, 8)),
    *(row("size", params={"bytes": size}) for size in (16, 65_536)),
    *(row("fanout", raw=SIDE, params={"subscribers": count}) for count in (1, 10, 50)),
]


def test_every_chart_is_well_formed_svg_with_its_data(tmp_path: Path) -> None:
    written = {path.stem: path.read_text() for path in plot.write(tmp_path / "new", ABOUT, EVERYTHING)}
    assert written.keys() == {"ratios", "rates", "latency", "nodes", "size", "fanout-memory"}
    for text in written.values():
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert "CPython 3.11 on 2 cores" in text
    assert "2 x raw" in written["ratios"]
    assert "0.7 x tcp" in written["ratios"]
    assert "memory raw" in written["latency"]
    assert written["nodes"].count("<polyline") == 2


def test_without_data_there_are_no_charts() -> None:
    assert plot.charts(ABOUT, [row("growth", ours=msgspec.structs.replace(SIDE, rate=0.0))]) == {}


def test_names_cannot_break_a_chart() -> None:
    text = bars("<b>", "&", [Bar("a<b", "c&d", 0.0)], x_label='"')
    assert "a&lt;b" in text
    ElementTree.fromstring(text)


@pytest.mark.parametrize("is_log", [True, False])
def test_every_point_of_a_line_is_inside_the_chart(is_log: bool) -> None:
    points = [(1.0, 0.3), (2.0, 70_000.0)]
    text = lines("t", "s", [Line("l", points, 0)], x_label="x", y_label="y",
                 x_ticks=[(1.0, "1"), (2.0, "2")], x_scale=lambda x: x, is_log=is_log)  # fmt: skip
    circles = [one.attrib for one in ElementTree.fromstring(text).iter() if one.tag.endswith("circle")]
    assert len(circles) == 2
    assert all(0 < float(one["cx"]) < 720 and 40 < float(one["cy"]) < 340 for one in circles)
    assert float(circles[0]["cy"]) > float(circles[1]["cy"])


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.654, "0.654"), (12.0, "12"), (1_500, "1.5 k"), (2_130_000, "2.13 M")]
)
def test_numbers_on_charts_are_short(value: float, text: str) -> None:
    assert short(value) == text
