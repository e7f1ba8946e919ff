"""Random schedules: `--seeds N` (default 1000). A seed that fails is named with the line that replays it."""

from __future__ import annotations

import pytest

from bus.testing import replay
from bus.testing.schedule import Schedule, run_seed
from bus.testing.truth import Violation

# So many tests, each of every so many-th seed: none is long, and workers can share them.
PARTS = 40


@pytest.mark.parametrize("part", range(PARTS))
def test_every_promise_is_kept_whatever_happens(part: int, seeds: range) -> None:
    broken: list[str] = []
    for seed in seeds[part::PARTS]:
        try:
            run_seed(seed)
        except Exception as error:  # noqa: BLE001 (an exception of the core is a failure like any other)
            broken.append(f"seed {seed}: {type(error).__name__}: {error}")
            broken.append(f"    python -m bus.testing.replay {seed}")
    assert not broken, "\n".join(broken)


def test_a_seed_is_the_same_run_every_time() -> None:
    first, second = run_seed(7), run_seed(7)
    assert first.now == second.now
    assert first.sent == second.sent
    assert [node.received for node in first.nodes.values()] == [
        node.received for node in second.nodes.values()
    ]


def test_a_replay_shows_the_schedule_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main(["12"]) == 0
    shown = capsys.readouterr().out
    assert str(Schedule(12)) in shown
    assert "all promises kept" in shown


def test_a_replay_shows_what_went_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(*_: object) -> None:
        raise Violation("3.000 s: b/1234 of a/5678: something is missing")

    monkeypatch.setattr(Schedule, "play", play)
    assert replay.main(["12"]) == 1
    assert "BROKEN PROMISE: 3.000 s: b/1234 of a/5678: something is missing" in capsys.readouterr().out


def test_a_replay_wants_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main(["twelve"]) == 2
    assert "seeds are whole numbers" in capsys.readouterr().err
