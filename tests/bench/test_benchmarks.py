"""`benchmarks/`: two results compared, the goals, and the grid that goes on where it was stopped."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import compare, full, goals
from benchmarks.compare import changes
from benchmarks.goals import GOALS
from bus.bench import report
from bus.bench.cases import BACKENDS, SCENARIOS
from bus.bench.figures import Result, Versus
from tests.bench.test_report import ABOUT, SIDE, beside, paced, row


def saved(path: Path, *results: Result) -> Path:
    path.write_text(f"a table\n{report.as_json(ABOUT, results)}\n")
    return path


def verdict(old: Result, new: Result) -> str:
    (change,) = changes([old], [new])
    return change.verdict


def test_a_change_is_one_where_the_spreads_do_not_meet() -> None:
    old = beside(2.0, 1.8, 2.2)
    assert verdict(old, beside(2.3, 2.1, 2.5)) == "same"
    assert verdict(old, beside(2.5, 2.3, 2.7)) == "better"
    assert verdict(old, beside(1.5, 1.4, 1.7)) == "worse"
    assert verdict(old, beside(1.5, 1.4, 1.7, stable=False)) == "unsure"


def test_a_smaller_delay_is_better() -> None:
    old = beside(1.2, 1.1, 1.3, ours=paced(120))
    assert verdict(old, beside(0.9, 0.8, 1.0, ours=paced(90))) == "better"
    assert verdict(old, beside(1.5, 1.4, 1.6, ours=paced(150))) == "worse"


def test_rows_without_an_opponent_are_compared_by_cpu() -> None:
    def costs(us: float) -> Result:
        return row("growth", ours=msgspec.structs.replace(SIDE, cpu_us_pub=us))

    assert verdict(costs(1.0), costs(1.05)) == "same"
    assert verdict(costs(1.0), costs(1.2)) == "worse"
    assert verdict(costs(1.0), costs(0.8)) == "better"


def test_different_rows_are_not_compared() -> None:
    assert changes([row()], [row("latency")]) == []
    assert changes([row()], [row(params={"burst": 1})]) == []


def test_the_command_says_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = saved(tmp_path / "old", beside(2.0, 1.8, 2.2), beside(2.0, 1.8, 2.2, params={"burst": 1}))
    new = saved(tmp_path / "new", beside(1.5, 1.4, 1.7), beside(2.0, 1.8, 2.2, params={"burst": 1}))
    assert compare.main([str(old), str(new)]) == 1
    told = capsys.readouterr().out
    assert "-25%" in told
    assert "worse" in told
    assert "2 rows in both, 1 of them the same" in told
    assert compare.main([str(old), str(old)]) == 0
    assert compare.main([str(old), str(saved(tmp_path / "x", row("latency")))]) == 2


def test_what_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    with pytest.raises(SystemExit, match=r"a result of `python -m bus\.bench --json` is needed"):
        compare.main([str(tmp_path / "empty"), str(tmp_path / "empty")])


def test_goals_name_rows_that_the_benchmark_has() -> None:
    assert {goal.scenario for goal in GOALS} <= set(SCENARIOS)
    assert {goal.backend for goal in GOALS} <= set(BACKENDS)
    assert all(goal.goal <= goal.floor if goal.less else goal.goal >= goal.floor for goal in GOALS)


@pytest.mark.parametrize(
    ("ratio", "expected"), [(2.6, "goal"), (2.5, "goal"), (2.1, "floor"), (1.9, "missed")]
)
def test_a_goal_is_judged(ratio: float, expected: str) -> None:
    goal = next(
        goal for goal in GOALS if (goal.backend, goal.scenario, goal.floor) == ("memory", "throughput", 2)
    )
    assert goal.verdict(goal.value([beside(ratio, ratio, ratio)])) == expected
    assert goal.verdict(goal.value([])) == "not measured"
    assert any(line.endswith(f"| {expected} |") for line in goals.table([beside(ratio, ratio, ratio)]))


def test_cells_of_the_grid_have_names_of_their_own_and_arguments_that_exist() -> None:
    cells = (*full.GRID, *full.MORE)
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        assert cell.arguments[0] in SCENARIOS
        assert cell.arguments[2] in BACKENDS


def test_the_grid_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def measure(command: list[str], **_more: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command[3])
        if len(ran) == 2:
            return subprocess.CompletedProcess(command, 3, "", "")
        return subprocess.CompletedProcess(
            command, 0, "table\n" + report.as_json(ABOUT, [beside(3, 2.9, 3.1)]), ""
        )

    monkeypatch.setattr(full, "HERE", tmp_path)
    monkeypatch.setattr(full, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(full, "CHARTS", tmp_path / "charts")
    monkeypatch.setattr(subprocess, "run", measure)
    words = ["nats"]
    cells = [cell.name for cell in full.GRID if "nats" in cell.name.split("-")]
    assert full.main(words) == 1
    assert "failed: " in capsys.readouterr().err
    assert len(ran) == len(cells)
    assert full.main(words) == 0  # only the one that failed
    assert len(ran) == len(cells) + 1
    assert full.main(words) == 0
    assert len(ran) == len(cells) + 1
    joined = compare.read(tmp_path / "results.json")
    assert len(joined.results) == 1  # all of one name: each row once
    assert (tmp_path / "charts" / "ratios.svg").exists()
    assert "## Floors and goals" in (tmp_path / "RESULTS.md").read_text()


def test_a_later_row_of_the_same_name_adds_its_opponents() -> None:
    tcp, peer = (Versus(figures=SIDE, ratio=ratio, spread=(1, 2), stable=True) for ratio in (0.7, 30))
    first, second = beside(3, 2.9, 3.1, others={"tcp": tcp}), row(others={"faststream": peer})
    (found,) = full.merged([first, second])
    assert (found.ratio, found.others) == (3, {"tcp": tcp, "faststream": peer})


def test_the_list_of_the_grid_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert full.main(["--list", "--again", "kafka"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names
    assert all("kafka" in name for name in names)
