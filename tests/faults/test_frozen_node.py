"""One of three Zenoh nodes is frozen under load: the others never wait, and nothing is lost untold."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.crew import Crew, pause
from tests.faults.history import Closed, judge


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seconds", [5, 30])
def test_after_a_freeze_every_event_is_delivered_in_order(tmp_path: Path, seconds: int) -> None:
    with Crew("zenoh://", tmp_path) as crew:
        crew.go()
        pause(2)
        frozen = crew.members[2]
        frozen.signal(signal.SIGSTOP)
        try:
            pause(seconds)
        finally:
            frozen.signal(signal.SIGCONT)
        pause(3)
        histories = crew.finish()
    verdict = judge(histories)
    assert verdict.wrong == []
    for pair in verdict.pairs:
        # All of it fits the log, and the sender lives: nothing may be lost, though after 30 s it is feared.
        assert pair.delivered == pair.published > 1_500
    for history in histories[:2]:
        end = history.lines[-1]
        # CPU time, since the machine may be busy: `publish` itself never waits.
        assert isinstance(end, Closed)
        assert end.longest_cpu < 0.05
