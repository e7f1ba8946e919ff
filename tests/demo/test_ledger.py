"""The ledger is exact: whatever the fate of a number, it is in one column, and a lie shows."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest

from bus.demo.account import Account
from bus.demo.ledger import Journal, Life, balance, unsettled

A, B, A2, B2 = 11, 22, 111, 222


def account(epoch: int, baseline: int = 1, upto: int = 0) -> Account:
    found = Account.since(epoch, baseline)
    for sequence in range(baseline, upto + 1):
        found.take(sequence)
    return found


def life(
    node: str, epoch: int, *accounts: Account, born: float = 0.0, died: float | None = None,
    dropped: int = 0, stale: int = 0,
) -> Life:  # fmt: skip
    return Life(node, epoch, born, died, dropped, stale, accounts)


def journals(**last: int) -> dict[int, Journal]:
    epochs = {"a": A, "b": B, "a2": A2, "b2": B2}
    return {epochs[name]: Journal(count, count) for name, count in last.items()}


def row(lives: list[Life], of: dict[int, Journal], sender: str = "a") -> tuple[int, ...]:
    """published, delivered, lost_told, unexplained of the row from `sender`."""
    ledger = balance("memory", lives, of)
    found = next(pair for pair in ledger.pairs if pair.sender == sender)
    return found.published, found.delivered, found.lost_told, found.unexplained


FATES = ("delivered", "gap", "dropped", "vanished")


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_every_fate_of_every_number_is_booked_exactly(length: int) -> None:
    """All sequences of fates, without a Resync and with one after each number."""
    for fates in itertools.product(FATES, repeat=length):
        for after in (None, *range(length + 1)):
            taken = Account.since(A, 1)
            if after == 0:
                taken.resynced(0)
            for sequence, fate in enumerate(fates, 1):
                if fate == "delivered":
                    taken.take(sequence)
                elif fate == "gap":
                    taken.gap(sequence, sequence)
                if sequence == after:
                    taken.resynced(sequence)
            told_from = length if after is None else after
            vanished = fates[:told_from].count("vanished")
            # An Overflow has no place: what it dropped after a Resync (which tells of that, too)
            # may as well have been what vanished before.
            unexplained = max(0, vanished - fates[told_from:].count("dropped"))
            delivered = fates.count("delivered")
            lives = [life("a", A), life("b", B, taken, dropped=fates.count("dropped"))]
            expected = (length, delivered, length - delivered - unexplained, unexplained)
            assert row(lives, journals(a=length)) == expected, (fates, after)


def test_all_delivered_is_balanced() -> None:
    lives = [life("a", A, account(B, upto=5)), life("b", B, account(A, upto=7))]
    ledger = balance("memory", lives, journals(a=7, b=5))
    assert ledger.balanced
    assert row(lives, journals(a=7, b=5)) == (7, 7, 0, 0)
    assert row(lives, journals(a=7, b=5), "b") == (5, 5, 0, 0)
    assert ledger.published == 12


def test_a_missing_tail_is_unexplained() -> None:
    assert row([life("a", A), life("b", B, account(A, upto=6))], journals(a=7)) == (7, 6, 0, 1)


def test_a_sender_that_was_never_heard_is_unexplained_as_a_whole() -> None:
    assert row([life("a", A), life("b", B)], journals(a=7)) == (7, 0, 0, 7)


def test_a_resync_tells_the_tail_that_never_came() -> None:
    taken = account(A, upto=6)
    taken.resynced(6)
    assert row([life("a", A, died=1.0), life("b", B, taken)], journals(a=7)) == (7, 6, 1, 0)


def test_a_resync_does_not_tell_what_is_below_its_after() -> None:
    taken = account(A, upto=4)
    taken.resynced(5)
    assert row([life("a", A, died=1.0), life("b", B, taken)], journals(a=7)) == (7, 4, 2, 1)


def test_numbers_before_the_baseline_are_not_due() -> None:
    taken = account(A, baseline=5, upto=7)
    assert row([life("a", A), life("b", B, taken)], journals(a=7)) == (3, 3, 0, 0)


def test_a_killed_receiver_counts_up_to_what_it_took_and_its_next_life_from_its_baseline() -> None:
    lives = [
        life("a", A),
        life("b", B, account(A, upto=4), died=5.0),
        life("b", B2, account(A, baseline=7, upto=9), born=6.0),
    ]
    assert row(lives, journals(a=9)) == (4 + 3, 4 + 3, 0, 0)
    assert balance("zenoh", lives, journals(a=9)).balanced


def test_what_a_killed_receiver_missed_before_its_last_receipt_is_not_forgiven() -> None:
    taken = account(A, upto=2)
    taken.take(4)
    lives = [life("a", A), life("b", B, taken, died=5.0)]
    assert row(lives, journals(a=9)) == (4, 3, 0, 1)


def test_the_epochs_of_a_killed_sender_add_up() -> None:
    first, second = account(A, upto=4), account(A2, upto=3)
    first.resynced(4)
    lives = [
        life("a", A, died=5.0),
        life("a", A2, born=6.0),
        life("b", B, first, second),
    ]
    assert row(lives, journals(a=6, a2=3)) == (6 + 3, 4 + 3, 2, 0)
    assert balance("zenoh", lives, journals(a=6, a2=3)).published == 9


def test_lives_that_never_met_owe_each_other_nothing() -> None:
    lives = [life("a", A, died=5.0), life("b", B, born=6.0)]
    assert row(lives, journals(a=6)) == (0, 0, 0, 0)


def test_a_receiver_that_was_killed_before_it_heard_anything_owes_nothing() -> None:
    lives = [life("a", A), life("b", B, died=5.0)]
    assert row(lives, journals(a=6)) == (0, 0, 0, 0)


def test_a_node_owes_nothing_to_its_own_other_life() -> None:
    lives = [life("a", A, died=5.0), life("a", A2, born=4.0), life("b", B, account(A2))]
    assert [(p.sender, p.receiver) for p in balance("zenoh", lives, {}).pairs] == [
        ("a", "b"),
        ("b", "a"),
    ]


def test_an_overflow_explains_as_many_missing_numbers_as_it_counts() -> None:
    taken = account(A, upto=2)
    taken.take(5)
    assert row([life("a", A), life("b", B, taken, dropped=2)], journals(a=5)) == (5, 3, 2, 0)
    assert row([life("a", A), life("b", B, taken, dropped=1)], journals(a=5)) == (5, 3, 1, 1)


def test_an_overflow_explains_a_tail_and_spreads_over_senders() -> None:
    lives = [
        life("a", A),
        life("c", 33),
        life("b", B, account(A, upto=3), account(33, upto=4), dropped=3),
    ]
    ledger = balance("memory", lives, {A: Journal(5, 5), 33: Journal(5, 5)})
    told = {pair.sender: pair.lost_told for pair in ledger.pairs if pair.receiver == "b"}
    assert told == {"a": 2, "c": 1}


def test_an_overflow_that_tells_more_than_is_missing_does_not_balance() -> None:
    lives = [life("a", A), life("b", B, account(A, upto=5), dropped=2)]
    assert row(lives, journals(a=5)) == (5, 5, 2, -2)
    assert not balance("memory", lives, journals(a=5)).balanced


def test_what_was_dropped_after_a_resync_was_lost_once() -> None:
    taken = account(A, upto=2)
    taken.resynced(2)
    taken.take(5)
    assert row([life("a", A), life("b", B, taken, dropped=2)], journals(a=5)) == (5, 3, 2, 0)


def test_a_killed_receiver_may_have_been_told_of_drops_beyond_its_last_event() -> None:
    lives = [life("a", A), life("b", B, account(A, upto=3), died=5.0, dropped=4)]
    assert row(lives, journals(a=9)) == (3, 3, 0, 0)


def test_an_event_that_came_twice_does_not_balance() -> None:
    taken = account(A, upto=5)
    taken.take(5)
    ledger = balance("memory", [life("a", A), life("b", B, taken)], journals(a=5))
    assert [pair.unexplained for pair in ledger.pairs] == [0, 0]
    assert not ledger.balanced


@pytest.mark.parametrize("journal", [Journal(4, 4), Journal(5, 4), Journal(6, 6), Journal(0, 0)])
def test_a_journal_that_is_not_what_was_published_does_not_balance(journal: Journal) -> None:
    lives = [life("a", A), life("b", B, account(A, upto=5))]
    assert balance("memory", lives, {A: Journal(5, 5)}).balanced
    assert not balance("memory", lives, {A: journal}).balanced


def test_a_journal_with_holes_never_balances_also_when_the_count_is_right() -> None:
    lives = [life("a", A), life("b", B, account(A, upto=5))]
    ledger = balance("memory", lives, {A: Journal(9, 5)})
    assert [pair.unexplained for pair in ledger.pairs] == [0, 0]
    assert (ledger.broken, ledger.balanced) == (("a",), False)


@pytest.mark.parametrize("journal", [Journal(2, 2), Journal(5, 4), Journal(0, 0)])
def test_a_broken_journal_shows_at_a_killed_receiver_too(journal: Journal) -> None:
    lives = [life("a", A), life("b", B, account(A, upto=4), died=5.0)]
    assert balance("memory", lives, {A: Journal(5, 5)}).balanced
    assert not balance("memory", lives, {A: journal}).balanced


def test_stale_reads_of_all_lives_add_up() -> None:
    lives = [life("a", A, stale=1), life("a", A2, stale=2), life("b", B, stale=4)]
    assert balance("memory", lives, {}).stale_reads == 7


def test_json_has_exactly_the_promised_shape() -> None:
    lives = [life("a", A, account(B)), life("b", B, account(A, upto=2))]
    line = balance("memory", lives, journals(a=3)).to_json()
    assert "\n" not in line
    assert json.loads(line) == {
        "backend": "memory",
        "nodes": 2,
        "published": 3,
        "pairs": [
            {
                "from": "a",
                "to": "b",
                "published": 3,
                "delivered": 2,
                "lost_told": 0,
                "unexplained": 1,
            },
            {
                "from": "b",
                "to": "a",
                "published": 0,
                "delivered": 0,
                "lost_told": 0,
                "unexplained": 0,
            },
        ],
        "stale_reads": 0,
        "balanced": False,
    }


# -- when is it over? ------------------------------------------------------------------------------


def test_a_pair_is_settled_when_the_last_number_is_accounted_for() -> None:
    sender, taken = life("a", A, account(B)), account(A, upto=4)
    assert unsettled([sender, life("b", B, taken)], journals(a=5)) == [("a", "b")]
    taken.gap(5, 5)
    assert unsettled([sender, life("b", B, taken)], journals(a=5)) == []


def test_a_dead_sender_is_settled_by_its_resync() -> None:
    taken = account(A, upto=4)
    lives = [life("a", A, died=1.0), life("b", B, taken)]
    assert unsettled(lives, journals(a=5)) == [("a", "b")]
    taken.resynced(4)
    assert unsettled(lives, journals(a=5)) == []


def test_a_live_sender_is_not_settled_by_a_resync() -> None:
    taken = account(A, upto=4)
    taken.resynced(4)
    assert unsettled([life("a", A), life("b", B, taken)], journals(a=5)) == [("a", "b")]


def test_nobody_waits_for_a_dead_receiver() -> None:
    lives = [life("a", A), life("b", B, account(A), died=1.0)]
    assert unsettled(lives, journals(a=5)) == []


def test_a_live_sender_that_was_never_heard_is_waited_for() -> None:
    assert unsettled([life("a", A), life("b", B)], journals(a=1)) == [("a", "b")]


# -- one account -----------------------------------------------------------------------------------


def test_account_takes_gaps_between_events() -> None:
    taken = account(A, upto=3)
    taken.gap(4, 6)
    taken.take(7)
    assert (taken.delivered, taken.told, taken.skipped, taken.twice) == (4, 3, 0, 0)


def test_account_notes_what_a_gap_leaves_out() -> None:
    taken = account(A, upto=3)
    taken.gap(6, 6)
    assert (taken.told, taken.skipped, taken.position) == (1, 2, 6)


def test_account_counts_a_gap_over_what_came_as_twice() -> None:
    taken = account(A, upto=3)
    taken.gap(2, 5)
    assert (taken.told, taken.twice, taken.position) == (2, 2, 5)
    taken.gap(1, 1)
    assert taken.twice == 3


def test_account_after_a_resync_of_everybody_is_open_from_where_it_stood() -> None:
    taken = account(A, upto=3)
    taken.resynced(None)
    taken.take(6)
    assert (taken.delivered, taken.open, taken.skipped) == (4, 2, 0)


def test_account_has_every_number_in_one_column() -> None:
    taken = account(A, baseline=10, upto=12)
    taken.take(15)
    taken.gap(17, 18)
    taken.resynced(20)
    taken.take(30)
    columns = taken.delivered + taken.told + taken.skipped + taken.open
    assert columns == taken.position - taken.baseline + 1
    assert msgspec.structs.asdict(taken) == {
        "epoch": A,
        "baseline": 10,
        "position": 30,
        "delivered": 5,
        "told": 2,
        "skipped": 2 + 1 + 2,
        "open": 9,
        "twice": 0,
        "resync": 21,
    }
