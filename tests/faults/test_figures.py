"""Every invariant of the lab can be broken, and then it is told; a good run has nothing to tell."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults.figures import Figures, Window, broken, deaf, figures
from tests.faults.history import (
    Closed,
    Delivered,
    Gapped,
    History,
    Line,
    Logged,
    Met,
    Opened,
    Published,
    Resynced,
    Sample,
    State,
    judge,
)
from tests.faults.lab import Expected, unexpected

A, B, C = 1, 2, 3
MIB = 1 << 20
WINDOW = Window(10, 12, ((10, 15),))
NOBODY = frozenset[int]()


def node(name: str, own: int, *lines: Line, others: Sequence[int] = (), silent: bool = False) -> History:
    """It runs for 30 s and publishes, and hears, ten events a second."""
    found: list[Line] = [Opened(at=0, node=name, epoch=own), State(at=0.1, state="READY", error=None)]
    for step in range(300):
        at = step / 10
        found.append(Published(at=at, first=step + 1, last=step + 1))
        if step % 5 == 0:
            found.append(Sample(at=at, cpu=at / 100, rss=100 * MIB, fds=9, tasks=9, threads=3))
        if not (silent and 10 < at < 20):
            found += [Delivered(at=at, epoch=other, first=step + 1, last=step + 1) for other in others]
    found += lines
    return History(name, own, sorted(found, key=lambda line: line.at))


def end(**more: object) -> Closed:
    fields = {"longest_cpu": 0.001, "longest_wall": 0.2, "repaired": 3, "duplicates": 0, "close": 0.1} | more
    return Closed(at=31, **fields)  # type: ignore[arg-type]  # fields of it


def pair(*lines: Line, last: Closed | None = None) -> list[History]:
    return [node("a", A, end(), others=[B]), node("b", B, *lines, last or end(), others=[A])]


def problems(runs: list[History], gone: frozenset[int] = NOBODY) -> list[str]:
    return broken(runs, judge(runs, gone), gone)


def test_a_good_run_has_no_problem() -> None:
    assert problems(pair()) == []


def test_its_figures_are_the_worst_of_all_nodes() -> None:
    away = State(at=11.5, state="DEGRADED", error=None)
    anew = State(at=12.5, state="BACKOFF", error=None)
    said = Logged(at=11, level="WARNING", text="it is away", trace=False)
    changed = Logged(at=11.5, level="WARNING", text="READY -> DEGRADED", trace=False)
    runs = pair(away, anew, said, changed, last=end(close=0.7, usual_wall=0.004))
    found = figures(runs, WINDOW, judge(runs), NOBODY)
    assert found == Figures(
        published=600, delivered=600, repaired=6, detected=1.5, recovered=0.0, publish_cpu=0.001,
        publish_wall=0.2, publish_usual=0.004, close=0.7, growth=0.0, cpu=0.01, lines=2.0, other_lines=1.0,
        rebuilds=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (pair(Delivered(at=30, epoch=B, first=1, last=1)), "its own events (I1)"),
        (pair(Delivered(at=30, epoch=A, first=7, last=7)), "1 twice"),
        ([node("a", A, end(), others=[B]), node("b", B, end())], "300 unexplained"),
        (pair(last=end(longest_cpu=0.06)), "0.060 s of CPU (I5)"),
        (pair(Sample(at=29, cpu=0, rss=133 * MIB, fds=9, tasks=9, threads=3)), "grew by 33 MiB"),
        (pair(last=end(close=2.5)), "closed in 2.50 s"),
        (pair(last=end(left=("task x",))), "left behind (I8): task x"),
        (pair(Logged(at=5, level="ERROR", text="no", trace=False)), "an error in its log: no"),
        (pair(Logged(at=5, level="WARNING", text="no", trace=True)), "an error in its log: no"),
        (pair(Logged(at=5, level="WARNING", text="ResourceWarning: x", trace=False)), "left something open"),
        ([node("a", A, end(), others=[B]), node("b", B, others=[A])], "did not end by itself"),
    ],
)
def test_what_breaks_an_invariant_is_told(runs: list[History], said: str) -> None:
    assert said in "\n".join(problems(runs))


def test_an_error_that_is_meant_is_no_problem() -> None:
    runs = pair(Logged(at=5, level="ERROR", text="two have the name", trace=False))
    assert broken(runs, judge(runs), NOBODY, "have the name") == []
    assert broken(runs, judge(runs), NOBODY, "another") != []


def test_who_is_ready_and_deaf_is_told_unless_the_others_are_away_too() -> None:
    a = node("a", A, others=[B])
    b = node("b", B, others=[A], silent=True)
    assert list(deaf([a, b], NOBODY)) == ["b was READY and heard nothing for 10.0 s (I11)"]
    assert (
        list(deaf([a, b._replace(lines=[*b.lines, State(at=12, state="DEGRADED", error=None)])], NOBODY))
        == []
    )
    assert (
        list(deaf([a._replace(lines=[*a.lines, State(at=12, state="BACKOFF", error=None)]), b], NOBODY)) == []
    )
    told = Gapped(at=15, epoch=A, ranges=((1, 2),), reason="gone")
    assert list(deaf([a, b._replace(lines=sorted([*b.lines, told], key=lambda line: line.at))], NOBODY)) == []
    given_up = Gapped(at=15, epoch=A, ranges=((1, 2),), reason="timeout")
    assert list(deaf([a, b._replace(lines=[*b.lines, given_up])], NOBODY)) != []
    frozen = [line for line in b.lines if not (isinstance(line, Sample) and 11 < line.at < 19)]
    assert list(deaf([a, b._replace(lines=frozen)], NOBODY)) == []


def test_who_died_is_not_asked_for_what_it_missed_but_what_it_had_is_judged() -> None:
    """a is killed, c comes later under its name; b is told, c never met a."""
    met_c = Met(at=20, node="a", epoch=C, baseline=0)
    feared = Resynced(at=20, epoch=A, after=250, reason="restarted")
    heard = [Delivered(at=n / 10, epoch=A, first=n + 1, last=n + 1) for n in range(250)]
    met_a = Met(at=0, node="a", epoch=A, baseline=0)
    b = History("b", B, [Opened(at=0, node="b", epoch=B), met_a, *heard, feared, met_c, end()])
    a = node("a", A, Met(at=0, node="b", epoch=B, baseline=0))
    c = History("a", C, [Opened(at=20, node="a", epoch=C), Met(at=20, node="b", epoch=B, baseline=0), end()])
    verdict = judge([a, b, c], frozenset({A}))
    assert verdict.wrong == []
    told = {(one.sender, one.receiver, one.published): (one.delivered, one.resynced) for one in verdict.pairs}
    assert told[("a", "b", 300)] == (250, 50)
    again = History("b", B, [*b.lines[:-1], Delivered(at=25, epoch=A, first=9, last=9), end()])
    assert "1 twice" in "\n".join(judge([a, again, c], frozenset({A})).wrong)


def test_what_was_published_before_somebody_came_is_not_for_him() -> None:
    a = node("a", A)
    met = Met(at=0, node="a", epoch=A, baseline=290)
    late = History(
        "b", B, [Opened(at=29, node="b", epoch=B), met, Delivered(at=30, epoch=A, first=291, last=300)]
    )
    assert judge([a, late]).wrong == []
    early = History("b", B, [*late.lines[:2], Delivered(at=30, epoch=A, first=290, last=300)])
    assert "out of order" in "\n".join(judge([a, early]).wrong)


GOOD = Figures(
    recovered=1.0, detected=3.0, publish_usual=0.001, publish_wall=0.1, cpu=0.01, lines=5, other_lines=1
)


@pytest.mark.parametrize(
    ("expected", "found", "noticed", "said"),
    [
        (Expected(), Figures(recovered=6.1), [1.0], "recovered after 6.1 s"),
        (Expected(), Figures(), [1.0], "recovered after None s"),
        (Expected(), GOOD, [1.0, None], "1 of 2 were READY all the time"),
        (Expected(noticed="some"), GOOD, [None, None], "2 of 2 were READY all the time"),
        (Expected(noticed="never"), GOOD, [None, 1.0], "1 of 2 left READY"),
        (Expected(detected=2.9), GOOD, [1.0], "detected after 3"),
        (Expected(rebuilds=0), Figures(recovered=1.0, rebuilds=1), [1.0], "links lost 1"),
        (Expected(usual=0.0005), GOOD, [1.0], "the usual publish took 0.001"),
        (Expected(longest=0.05), GOOD, [1.0], "the longest publish took 0.1"),
        (Expected(lines=4), GOOD, [1.0], "lines a minute in a log"),
        (Expected(), Figures(recovered=1.0, cpu=0.031), [1.0], "CPU while idle (I10)"),
        (Expected(), Figures(recovered=1.0, other_lines=11), [1.0], "beside those of the state"),
    ],
)
def test_what_was_not_expected_is_told(
    expected: Expected, found: Figures, noticed: list[float | None], said: str
) -> None:
    assert said in "\n".join(unexpected(expected, found, noticed))


@pytest.mark.parametrize("noticed", ["all", "some", "maybe"])
def test_what_was_expected_is_no_problem(noticed: str) -> None:
    limits = Expected(detected=3, rebuilds=0, usual=0.001, longest=0.1, lines=5, noticed=noticed)  # type: ignore[arg-type]  # these three
    assert list(unexpected(limits, GOOD, [1.0, 2.0])) == []
