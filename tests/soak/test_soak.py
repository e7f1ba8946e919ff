"""The long runs are judged by their histories: every limit can be broken, and a good run breaks none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.faults.history import Closed, Delivered, History, Line, Logged, Met, Opened, Published, Sample
from tests.soak import __main__ as command
from tests.soak.result import MIB, Result, Run, append, judged, pairs_of, results

RUN = Run(pairs=[(20, 24), (30, 33)], before=(0, 10), away=(50, 60), after=(70, 80))
EMPTY = Result(system="nats", nodes=2, seconds=40, seed=1)


def sample(at: float, **changes: float) -> Sample:
    usual = {"cpu": at * 0.005, "rss": 50 * MIB, "fds": 20, "tasks": 9, "threads": 1}
    return msgspec.convert({"what": "sample", "at": at, **usual, **changes}, Sample)


def node(name: str, epoch: int, other: int, *more: Line, late: float = 0.0) -> History:
    """It publishes ten events in each of 45 s; hears the other one's at once, or `late` after 24 s."""
    lines: list[Line] = [
        Opened(at=0, node=name, epoch=epoch),
        Met(at=0, node="other", epoch=other, baseline=0),
        *(sample(at) for at in range(80)),
    ]
    for second in range(45):
        first = 10 * second + 1
        lines.append(Published(at=second, first=first, last=first + 9))
        at = second + 0.1 + (late if second >= 24 else 0.0)
        lines.append(Delivered(at=at, epoch=other, first=first, last=first + 9))
    end = Closed(
        at=90, longest_cpu=0.001, longest_wall=0.01, usual_wall=0.001, repaired=3, duplicates=0, close=0.1,
        left=(),
    )  # fmt: skip
    return History(name, epoch, [*sorted([*lines, *more], key=lambda line: line.at), end])


def run(*more: Line, late: float = 0.0) -> Result:
    return judged(EMPTY, [node("a", 1, 2), node("b", 2, 1, *more, late=late)], RUN)


def grown(**changes: float) -> list[Line]:
    return [sample(at, **{"cpu": at * 0.005, **changes}) for at in range(70, 81)]


def without(history: History, start: float, end: float) -> History:
    """No samples in that span."""
    lines = [line for line in history.lines if not (isinstance(line, Sample) and start <= line.at <= end)]
    return history._replace(lines=lines)


def test_a_good_run_has_no_problem() -> None:
    found = run()
    assert found.problems == ()
    assert (found.delivered, found.faults, found.unexplained) == (900, 4, 0)
    assert found.idle == found.away == 0.005
    assert found.recovered is not None
    assert found.recovered < 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rss": 83 * MIB}, "memory grew by 33.0 MiB"),
        ({"fds": 21}, "1 more descriptors"),
        ({"tasks": 11}, "2 more tasks"),
        ({"threads": 2}, "1 more threads"),
    ],
)
def test_what_grows_is_a_problem(changes: dict[str, float], words: str) -> None:
    other = without(node("b", 2, 1), 70, 80)
    lines = sorted([*other.lines[:-1], *grown(**changes)], key=lambda line: line.at)
    found = judged(EMPTY, [node("a", 1, 2), other._replace(lines=[*lines, other.lines[-1]])], RUN)
    assert words in "\n".join(found.problems)


@pytest.mark.parametrize(("spans", "words"), [(((0, 10), (70, 80)), "idle"), (((50, 60),), "disconnected")])
def test_cpu_is_a_problem(spans: Sequence[tuple[int, int]], words: str) -> None:
    other = node("b", 2, 1)
    end = other.lines[-1]
    for first, last in spans:
        other = without(other, first, last)
        busy = [sample(at, cpu=at * 0.05) for at in range(first, last + 1)]
        lines = sorted([*other.lines[:-1], *busy], key=lambda line: line.at)
        other = other._replace(lines=[*lines, end])
    found = judged(EMPTY, [node("a", 1, 2), other], RUN)
    assert f"{words} node used 5.0% of a CPU" in "\n".join(found.problems)


def test_a_flood_in_the_log_and_a_slow_recovery_are_problems() -> None:
    lines = [Logged(at=20 + number, level="WARNING", text="x", trace=False) for number in range(11)]
    assert "11 lines of the log in one minute" in "\n".join(run(*lines).problems)
    single = RUN._replace(pairs=[(20, 24)])
    found = judged(EMPTY, [node("a", 1, 2), node("b", 2, 1, late=7.0)], single)
    assert "recovered" in "\n".join(found.problems)


def test_loss_that_nobody_told_is_a_problem() -> None:
    other = node("b", 2, 1)
    gone = [line for line in other.lines if not (isinstance(line, Delivered) and line.first == 101)]
    found = judged(EMPTY, [node("a", 1, 2), other._replace(lines=gone)], RUN)
    assert "unexplained" in "\n".join(found.problems)


def test_faults_that_overlap_are_one_span() -> None:
    moments = [(1.0, True), (2.0, True), (3.0, False), (4.0, False), (9.0, True), (10.0, False)]
    assert pairs_of(moments) == [(1.0, 4.0), (9.0, 10.0)]


def test_a_system_that_passed_for_as_long_is_not_run_again(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    assert command.passed(10, file) == set()
    append(msgspec.structs.replace(EMPTY, nodes=3, seconds=600), file)
    assert command.passed(10, file) == {"nats"}
    assert command.passed(11, file) == set()
    append(msgspec.structs.replace(EMPTY, nodes=3, seconds=600, problems=("lost",)), file)
    assert command.passed(10, file) == set()


@pytest.mark.parametrize(
    "system",
    ["memory", "nats", "redis", "valkey", "redis-cluster", "redis-sentinel", "kafka", "zenoh"],
)
def test_the_last_long_run_was_good(system: str, record_property: Callable[[str, object], None]) -> None:
    """Of those that were recorded in results.jsonl; ten minutes at least."""
    found = [one for one in results() if one.system == system and one.seconds >= 600]
    assert found, f"none is recorded: python -m tests.soak {system}"
    last = found[-1]
    for name in ("repaired", "told", "unexplained", "recovered"):
        record_property(name, getattr(last, name) or 0)
    record_property("note", f"{last.seconds:g} s, seed {last.seed}, {last.faults} faults")
    assert last.problems == ()
