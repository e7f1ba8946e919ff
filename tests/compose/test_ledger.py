"""The ledger of the compose demo can fail: it finds what neither came nor was told."""

from __future__ import annotations

from typing import Any

from bus import Gap, Overflow, Resync
from demos import ledger
from demos.tally import Tally


def document(
    node: str, epoch: int, published: int, tally: Tally | None = None, **more: Any
) -> dict[str, Any]:
    """As a node saves it."""
    found = {"node": node, "epoch": epoch, "asked": published, "published": published}
    return {**found, **(tally or Tally()).document(), **more}


def heard(*counts: int, first: int = 1) -> Tally:
    """A tally that took these of node a."""
    tally = Tally()
    for count in counts:
        tally.take("a", 1, count, first, 1.0)
    return tally


def row(tally: Tally, published: int = 5) -> ledger.Row:
    """From a, which published, to b."""
    found = ledger.rows([document("a", 1, published), document("b", 2, 0, tally)])
    return next(one for one in found if one.sender == "a")


def test_what_came_once_balances() -> None:
    assert row(heard(1, 2, 3, 4, 5)).is_balanced


def test_a_hole_that_nobody_told_does_not_balance() -> None:
    found = row(heard(1, 2, 4, 5))
    assert (found.due, found.delivered, found.told, found.unexplained) == (5, 4, 0, 1)
    assert not found.is_balanced


def test_a_missing_end_does_not_balance() -> None:
    assert row(heard(1, 2, 3)).unexplained == 2


def test_what_came_twice_does_not_balance() -> None:
    found = row(heard(1, 2, 2, 3, 4, 5))
    assert (found.unexplained, found.twice) == (0, 1)
    assert not found.is_balanced


def test_what_never_was_heard_does_not_balance() -> None:
    assert row(Tally()).unexplained == 5


def test_a_gap_explains_as_much_as_it_covers() -> None:
    tally = heard(1, 2, 5)
    tally.lost(Gap("a", 1, ((3, 3),), "gone"))
    assert row(tally).unexplained == 1
    tally.lost(Gap("a", 1, ((4, 4),), "gone"))
    assert (row(tally).told, row(tally).is_balanced) == (2, True)


def test_a_gap_of_another_epoch_explains_nothing() -> None:
    tally = heard(1, 2, 3, 4)
    tally.lost(Gap("a", 7, ((5, 5),), "gone"))
    assert row(tally).unexplained == 1


def test_a_gap_over_events_that_are_not_ours_explains_no_more_than_is_missing() -> None:
    tally = heard(1, 2, 4, 5)
    tally.lost(Gap("a", 1, ((3, 9),), "gone"))
    assert (row(tally).told, row(tally).is_balanced) == (1, True)


def test_a_resync_explains_the_end_of_its_epoch() -> None:
    tally = heard(1, 2)
    tally.lost(Resync("a", 1, 2, "down"))
    assert (row(tally).told, row(tally).is_balanced) == (3, True)


def test_an_overflow_explains_as_many_as_it_dropped() -> None:
    tally = heard(1, 2, 5)
    tally.lost(Overflow(1))
    assert row(tally).unexplained == 1
    tally.lost(Overflow(1))
    assert row(tally).is_balanced


def test_what_was_published_before_one_joined_is_not_due() -> None:
    assert row(heard(3, 4, 5, first=3)).due == 3


def test_it_is_settled_only_when_all_is_published_and_balanced() -> None:
    def pair(published: int, asked: int, tally: Tally) -> list[ledger.Document]:
        return [document("a", 1, published, asked=asked), document("b", 2, 0, tally)]

    assert ledger.settled(pair(2, 2, heard(1, 2)))
    assert not ledger.settled(pair(2, 3, heard(1, 2)))
    assert not ledger.settled(pair(2, 2, heard(1)))


def test_a_second_life_of_a_sender_is_a_window_of_its_own() -> None:
    tally = heard(1, 2, 3)
    tally.take("a", 9, 1, 1, 1.0)
    documents = [document("a", 1, 3), document("a", 9, 1), document("b", 2, 0, tally)]
    found = next(one for one in ledger.rows(documents) if one.sender == "a")
    assert (found.due, found.delivered, found.is_balanced) == (4, 4, True)
