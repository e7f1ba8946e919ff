"""The long runs go on where they were stopped, and judge a cell by what its histories say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.faults.__main__ import chosen, jobs
from tests.faults.cells import RATE, Cell, judged
from tests.faults.history import Delivered, Gapped, History, Line, Opened, Published, State
from tests.faults.results import Result, passed

CELL = Cell("nats", "kill", 1, 3, 7)
TOLD = Gapped(at=12, epoch=1, ranges=((1001, 1001),), reason="gone")


def result(cell: object, *problems: str) -> Result:
    return Result(cell=str(cell), problems=problems)


def test_the_last_line_of_a_cell_counts(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    assert passed(results) == set()
    lines = [
        result("one"),
        result("two", "lost"),
        result("three", "lost"),
        result("three"),
        result("one", "lost"),
    ]
    results.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    assert passed(results) == {"three"}


def test_names_of_cells_are_unique_and_chosen_by_their_words() -> None:
    names = [job.name for job in jobs(20)]
    assert len(set(names)) == len(names)
    assert str(CELL) == "nats kill 1s 3 nodes #7"
    assert [job.name for job in chosen(20, ["nats", "1s", "#7"])] == [str(CELL)]
    assert [job.name for job in chosen(20, [])] == names
    assert [job.name for job in chosen(20, ["17", "nats"])] == ["17 nats"]
    assert chosen(20, ["nat"]) == []


def run_of_two(*lines: Line, leaves: bool = True, count: int = 4 * RATE) -> list[History]:
    """Two nodes, a fault from 10 to 11; b had `lines` of a, a had all of b."""
    step = RATE // 50
    away: list[Line] = [State(at=10.1, state="BACKOFF", error=None)] if leaves else []
    out: list[Line] = [
        Published(at=8 + 0.02 * number, first=number * step + 1, last=(number + 1) * step)
        for number in range(count // step)
    ]
    a = [Opened(at=0, node="a", epoch=1), *out, *away, Delivered(at=16, epoch=2, first=1, last=count)]
    b = [Opened(at=0, node="b", epoch=2), *out, *away, *lines]
    return [History("a", 1, a), History("b", 2, b)]


def came(first: int, last: int, at: float = 12.0) -> Delivered:
    return Delivered(at=at, epoch=1, first=first, last=last)


def test_a_good_run_has_no_problem() -> None:
    found = judged(CELL, run_of_two(came(1, 2000)), 10, 11)
    assert found.problems == ()
    assert (found.published, found.delivered, found.recovered) == (4000, 4000, 5.0)


@pytest.mark.parametrize(
    ("histories", "said"),
    [
        (run_of_two(came(1, 1999)), "1 unexplained"),
        (run_of_two(came(1, 1000), TOLD, came(1002, 2000)), "told Gap(gone) 1001-1001 of a"),
        (run_of_two(came(1, 1500), came(1501, 2000, at=17.5)), "recovered after 6.5 s"),
        (run_of_two(came(1, 1500)), "recovered after None s"),
        (run_of_two(came(1, 2000), leaves=False), "READY all the time"),
        (run_of_two(came(1, 200), count=200), "published 200 events, 3500 were wanted"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_a_problem(histories: list[History], said: str) -> None:
    assert said in "\n".join(judged(CELL, histories, 10, 11).problems)


def test_a_failover_is_noticed_by_those_who_were_with_that_master() -> None:
    cell = Cell("redis-cluster", "failover", 3, 3, 1)
    a, b = run_of_two(came(1, 2000))
    unaware = b._replace(lines=[line for line in b.lines if not isinstance(line, State)])
    assert judged(cell, [a, unaware], 10, 11).problems == ()
    assert judged(CELL, [a, unaware], 10, 11).problems != ()
    assert judged(cell, run_of_two(came(1, 2000), leaves=False), 10, 11).problems != ()
