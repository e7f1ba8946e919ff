"""The bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys

import pytest

from bus.bench.progress import Progress


def test_elsewhere_every_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(2)
    progress.say("  pair 1: ratio 2.00")
    progress.row("throughput memory: ratio 2.00")
    progress.end()
    assert capsys.readouterr().err == "  pair 1: ratio 2.00\nthroughput memory: ratio 2.00\n"


def test_on_a_terminal_rows_stay_and_steps_move_the_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = Progress(2)
    progress.say("pair 1")
    progress.row("first")
    progress.say("pair 2" + "x" * 500)
    progress.row("second")
    progress.end()
    drawn = capsys.readouterr().err
    assert drawn.count("\n") == 2  # the two rows
    assert "0/2" in drawn
    assert "1/2 about" in drawn
    assert "█" * 12 + "░" * 12 in drawn
    assert drawn.endswith("\r\x1b[K")
    assert max(map(len, drawn.split("\r"))) < 200


def test_no_rows_at_all_are_no_division() -> None:
    Progress(0).row("nothing")
