"""The judge sees every way in which the promise can be broken, and nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.faults import history
from tests.faults.history import (
    Delivered,
    Gapped,
    History,
    Line,
    Opened,
    Overflown,
    Published,
    Resynced,
    judge,
)

A, B = 11, 22


def sent(count: int) -> History:
    return History("a", A, [Opened(at=0, node="a", epoch=A), Published(at=1, first=1, last=count)])


def heard(*lines: Line) -> History:
    return History("b", B, [Opened(at=0, node="b", epoch=B), *lines])


def came(first: int, last: int | None = None, at: float = 2) -> Delivered:
    return Delivered(at=at, epoch=A, first=first, last=first if last is None else last)


def gap(*ranges: tuple[int, int]) -> Gapped:
    return Gapped(at=2, epoch=A, ranges=ranges, reason="gone")


def resync(after: int | None, epoch: int | None = A) -> Resynced:
    return Resynced(at=2, epoch=epoch, after=after, reason="silent")


def verdict(count: int, *lines: Line) -> history.Verdict:
    return judge([sent(count), heard(*lines)])


@pytest.mark.parametrize(
    "lines",
    [
        (came(1, 10),),
        (came(1, 4), came(5), came(6, 10)),
        (came(1, 4), gap((5, 6)), came(7, 10)),
        (gap((1, 2)), came(3, 10)),
        (came(1, 8), gap((9, 10))),
        (gap((1, 3), (4, 10)),),
        (came(1, 4), resync(4), came(8, 10)),
        (came(1, 4), resync(None, None), came(10)),
        (resync(0),),
        (came(1, 4), resync(4), came(5, 10)),
        (came(1, 4), Overflown(at=2, count=3), came(8, 10)),
    ],
)
def test_what_is_in_order_and_complete_or_told_is_not_wrong(lines: tuple[Line, ...]) -> None:
    assert verdict(10, *lines).wrong == []
    assert verdict(10, *lines).unexplained == 0


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "10 unexplained"),
        ((came(1, 9),), "1 unexplained"),
        ((came(2, 10),), "(0, 2)"),
        ((came(1, 4), came(6, 10)), "1 unexplained"),
        ((came(1, 4), came(6, 10)), "(4, 6)"),
        ((came(1, 10), came(10)), "1 twice"),
        ((came(1, 10), came(3, 5)), "3 twice"),
        ((came(1, 4), came(6), came(5), came(7, 10)), "out of order"),
        # The count is right, and yet one is missing.
        ((came(1, 4), came(4), came(6, 10)), "1 unexplained"),
        ((came(1, 4), gap((4, 4)), came(5, 10)), "1 twice"),
        ((came(1, 4), gap((6, 7)), came(8, 10)), "1 unexplained"),
        ((came(1, 4), resync(4), came(3), came(8, 10)), "out of order"),
        ((came(1, 4), resync(4), came(6, 7), came(9, 10)), "(7, 9)"),
        ((came(1, 11),), "(10, 11)"),
    ],
)
def test_disorder_repetition_and_silent_loss_are_told(lines: tuple[Line, ...], said: str) -> None:
    assert said in "\n".join(verdict(10, *lines).wrong)


def test_told_and_delivered_are_counted_apart() -> None:
    pair = verdict(10, came(1, 3), gap((4, 5)), came(6, 7), resync(7), came(9, 10)).pairs[-1]
    assert (pair.sender, pair.receiver) == ("a", "b")
    assert (pair.published, pair.delivered, pair.told, pair.resynced) == (10, 7, 2, 1)


def test_told_losses_are_listed_with_their_names() -> None:
    found = verdict(
        10, gap((1, 2), (4, 4)), came(5, 9), resync(9), resync(None, None), Overflown(at=3, count=7)
    )
    assert found.losses == (
        "b was told Gap(gone) 1-2, 4-4 of a",
        "b was told Resync(silent) after 9 of a",
        "b was told Resync(silent) after None of everybody",
        "b was told Overflow of 7",
    )
    assert set(found.losses) < set(found.lost)


def test_what_an_inbox_dropped_is_explained_by_its_overflow() -> None:
    assert verdict(10, came(1, 4), Overflown(at=2, count=6)).unexplained == 0
    assert verdict(10, came(1, 4), Overflown(at=2, count=6)).wrong == []
    assert verdict(10, came(1, 4), Overflown(at=2, count=5)).unexplained == 1
    assert verdict(10, came(1, 4), Overflown(at=2, count=5)).wrong == ["a -> b: 6 unexplained"]


def test_recovery_counts_from_events_published_after_the_moment_and_at_every_node() -> None:
    a = History(
        "a", A, [Published(at=at, first=first, last=first + 9) for at, first in ((9, 1), (10, 11), (11, 21))]
    )
    b = History("b", B, [Published(at=11, first=1, last=1), Published(at=12, first=2, last=2)])
    old = came(1, 20, at=14)
    to_a = Delivered(at=13, epoch=B, first=1, last=2)
    with_a = History("a", A, [*a.lines, to_a])
    assert history.recovered([with_a, History("b", B, [*b.lines, old])], 10.5) is None
    assert history.recovered([with_a, History("b", B, [*b.lines, old, came(21, at=15.5)])], 10.5) == 5.0
    assert history.recovered([a, History("b", B, [*b.lines, came(1, 21, at=15.5)])], 10.5) is None


def test_a_file_is_read_back_without_the_line_that_a_kill_cut(tmp_path: Path) -> None:
    lines: list[Line] = [Opened(at=1.5, node="a", epoch=A), came(1, 3), gap((4, 5)), resync(5), came(9)]
    text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    (tmp_path / "a.jsonl").write_bytes(text + b'{"what":"deliver","at":3,"ep')
    assert history.histories(tmp_path) == [History("a", A, lines)]
