"""The inbox against a naive list: bounds are exact, what was dropped is told exactly and in its place.

The model handles one event at a time and knows nothing of batches; between two kept events it merges the
losses by the words of rule 11: one Overflow, one Gap per epoch of at most 16 ranges, one Resync per epoch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from bus.protocol.inbox import DropPolicy, Inbox
from bus.signals import Gap, GapReason, Loss, Overflow, Resync

Ranges = tuple[tuple[int, int], ...]


def gap(epoch: int, *ranges: tuple[int, int], reason: GapReason = "gone") -> Gap:
    return Gap(f"node-{epoch}", epoch, ranges, reason)


def ranges_of(numbers: set[int]) -> Ranges:
    """The numbers as ranges, the slow way."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def merged(losses: Sequence[Loss]) -> list[Loss]:
    """What stands between two kept events when all this was lost there."""
    dropped, final = 0, False
    told: list[Gap | Resync] = []

    def known(kind: type[Loss], epoch: int | None) -> int | None:
        return next((at for at, one in enumerate(told) if type(one) is kind and one.epoch == epoch), None)

    def add_resync(loss: Resync) -> None:
        at = known(Resync, loss.epoch)
        if at is None:
            told.append(loss)
        else:
            old = told[at]
            assert isinstance(old, Resync)
            both = (old.after, loss.after)
            after = None if None in both else min(both[0] or 0, both[1] or 0)
            told[at] = Resync(old.node, old.epoch, after, old.reason)

    for loss in losses:
        if isinstance(loss, Overflow):
            dropped, final = dropped + loss.count, final or loss.final
        elif isinstance(loss, Resync):
            add_resync(loss)
        elif isinstance(loss, Gap):
            at = known(Gap, loss.epoch)
            old = told[at] if at is not None else loss
            assert isinstance(old, Gap)
            numbers = {n for first, last in (*old.ranges, *loss.ranges) for n in range(first, last + 1)}
            new = Gap(loss.node, loss.epoch, ranges_of(numbers), old.reason)
            if len(new.ranges) > 16:
                if at is not None:
                    del told[at]
                add_resync(Resync(loss.node, loss.epoch, min(numbers) - 1, "many gaps"))
            elif at is None:
                told.append(new)
            else:
                told[at] = new
    overflow: list[Loss] = [Overflow(dropped, final)] if dropped else []
    return [*overflow, *told]


class Event:
    """An event of the model: `each` is what it weighs."""

    def __init__(self, number: int, each: int) -> None:
        self.number = number
        self.each = each

    def __repr__(self) -> str:
        return f"e{self.number}({self.each})"


def tidy(items: Sequence[Event | Loss]) -> list[Event | Loss]:
    """Each run of losses merged."""
    result: list[Event | Loss] = []
    for _, run in itertools.groupby(items, lambda item: isinstance(item, Loss)):
        alike = list(run)
        losses = [one for one in alike if isinstance(one, Loss)]
        result += merged(losses) if losses else alike
    return result


class NaiveInbox:
    """A plain list, one event at a time."""

    def __init__(self, capacity: int, max_bytes: int, drop: DropPolicy) -> None:
        self.items: list[Event | Loss] = []
        self.capacity, self.max_bytes, self.drop = capacity, max_bytes, drop
        self.is_closed = False

    @property
    def events(self) -> list[Event]:
        return [item for item in self.items if isinstance(item, Event)]

    @property
    def bytes(self) -> int:
        return sum(one.each for one in self.events)

    @property
    def is_over(self) -> bool:
        return len(self.events) > self.capacity or self.bytes > self.max_bytes

    def offer(self, events: list[Event]) -> int:
        """Returns how many were dropped."""
        if self.is_closed:
            return 0
        dropped = 0
        for event in events:
            self.items.append(event)
            while self.is_over:
                self.items.remove(event if self.drop != "oldest" else self.events[0])
                dropped += 1
        if dropped:
            told = Overflow(dropped, final=self.drop == "close")
            self.items.insert(0 if self.drop == "oldest" else len(self.items), told)
        self.items = tidy(self.items)
        self.is_closed = bool(dropped) and self.drop == "close"
        return dropped

    def tell(self, loss: Loss) -> None:
        if not self.is_closed:
            self.items = tidy([*self.items, loss])


@st.composite
def gaps(draw: st.DrawFn) -> Gap:
    """Of one of two epochs; every other one has so many ranges that they may be too many."""
    epoch = draw(st.integers(1, 2))
    reason: GapReason = draw(st.sampled_from(["gone", "timeout"]))
    if draw(st.booleans()):
        first = draw(st.integers(1, 60))
        return gap(epoch, (first, first + draw(st.integers(0, 3))), reason=reason)
    return gap(epoch, *ranges_of(draw(st.sets(st.integers(1, 80), min_size=1, max_size=40))), reason=reason)


afters = st.none() | st.integers(0, 9)
resyncs = st.builds(Resync, st.just("node-1"), st.just(1), afters, st.just("restarted"))
losses: st.SearchStrategy[Loss] = st.one_of(gaps(), resyncs, st.just(Resync(None, None, None, "a new link")))


class Offer(NamedTuple):
    """So many events of so many bytes together."""

    events: int
    size: int


class Take(NamedTuple):
    """Take so many; 0: all at once."""

    most: int


steps = st.lists(
    st.builds(Offer, st.integers(0, 20), st.integers(0, 200)) | st.builds(Take, st.integers(0, 5)) | losses,
    min_size=5,
    max_size=40,
)
policies = st.sampled_from(["oldest", "newest", "close"])


@settings(max_examples=150)
@given(policies, st.integers(1, 12), st.integers(1, 120), steps, st.integers(0, 200))
def test_an_inbox_is_like_a_list_whatever_comes(
    drop: DropPolicy, capacity: int, max_bytes: int, steps: list[Offer | Take | Loss], closed_after: int
) -> None:
    inbox: Inbox[Event] = Inbox(capacity, max_bytes, drop)
    naive = NaiveInbox(capacity, max_bytes, drop)
    offered = dropped = accounted = 0

    def take(most: int) -> int:
        """Take from both; returns how many events are accounted for by that."""
        count = min(most, len(naive.items))
        got = [inbox.take() for _ in range(count)] if most else inbox.take_all()
        expected, naive.items = naive.items[: len(got)], naive.items[len(got) :]
        assert got == expected
        return sum(one.count if isinstance(one, Overflow) else isinstance(one, Event) for one in got)

    for number, step in enumerate([*steps, Take(0)]):
        if number == closed_after:
            inbox.close()
            naive.is_closed = True
        if isinstance(step, Offer):
            each = max(1, -(-step.size // max(1, step.events)))
            batch = [Event(offered + n, each) for n in range(step.events)]
            offered += 0 if naive.is_closed else step.events
            same = list(batch)
            inbox.offer(batch, step.size)
            assert batch == same  # shared with other inboxes
            dropped += naive.offer(same)
        elif isinstance(step, Take):
            accounted += take(step.most)
        else:
            inbox.tell(step)
            naive.tell(step)
        assert not naive.is_over
        assert (inbox.count, inbox.bytes) == (len(naive.events), naive.bytes)
        assert (bool(inbox), inbox.is_closed) == (bool(naive.items), naive.is_closed)
        assert inbox.dropped == dropped
    # Every event that was offered was handed out or counted as dropped, once.
    assert accounted == offered
    with pytest.raises(IndexError):
        inbox.take()


def offered(drop: DropPolicy, *batches: int, capacity: int = 5) -> Inbox[int]:
    """An inbox that was offered batches of numbers, of one byte each."""
    inbox: Inbox[int] = Inbox(capacity, 1_000, drop)
    at = 0
    for count in batches:
        inbox.offer(list(range(at, at + count)), count)
        at += count
    return inbox


@pytest.mark.parametrize("drop", ["oldest", "newest", "close"])
def test_what_is_exactly_full_is_not_too_full(drop: DropPolicy) -> None:
    for bounds in ((5, 1_000), (1_000, 10)):
        inbox: Inbox[int] = Inbox(*bounds, drop)
        inbox.offer([1, 2, 3], 6)
        inbox.offer([4, 5], 4)
        assert (inbox.count, inbox.bytes, inbox.dropped, inbox.is_closed) == (5, 10, 0, False)
        assert [inbox.take() for _ in range(5)] == [1, 2, 3, 4, 5]


def test_an_inbox_says_how_much_it_holds() -> None:
    assert Inbox[int](7, 100).capacity == 7


def test_oldest_drops_from_the_front_and_tells_it_at_the_head() -> None:
    assert offered("oldest", 3, 4).take_all() == [Overflow(2), 2, 3, 4, 5, 6]


def test_newest_keeps_what_fits_and_tells_the_rest_behind_it() -> None:
    inbox = offered("newest", 3, 4)
    assert inbox.take_all() == [0, 1, 2, 3, 4, Overflow(2)]
    inbox.offer([7], 1)
    assert inbox.take_all() == [7]


def test_close_ends_with_a_final_overflow() -> None:
    inbox = offered("close", 3, 4, 4)
    assert inbox.is_closed
    inbox.tell(gap(1, (1, 1)))
    assert inbox.take_all() == [0, 1, 2, 3, 4, Overflow(2, final=True)]


def test_a_batch_larger_than_the_inbox_leaves_its_newest_part() -> None:
    assert offered("oldest", 2, 12).take_all() == [Overflow(9), 9, 10, 11, 12, 13]
    assert offered("newest", 12).take_all() == [0, 1, 2, 3, 4, Overflow(7)]


def test_an_event_larger_than_the_inbox_is_told_and_nothing_else() -> None:
    for drop in ("oldest", "newest"):
        inbox: Inbox[int] = Inbox(5, 100, drop)
        inbox.offer([1], 101)
        assert inbox.take_all() == [Overflow(1)]
        assert (inbox.count, inbox.bytes) == (0, 0)


def test_losses_stay_in_their_place_and_are_never_evicted() -> None:
    inbox: Inbox[int] = Inbox(4, 1_000)
    inbox.offer([1, 2], 2)
    inbox.tell(gap(1, (3, 4)))
    inbox.offer([5, 6], 2)
    inbox.tell(gap(2, (1, 1)))
    inbox.offer([7], 1)
    assert list(inbox.take_all()) == [Overflow(1), 2, gap(1, (3, 4)), 5, 6, gap(2, (1, 1)), 7]
    inbox.offer([1, 2], 2)
    inbox.tell(gap(1, (3, 4)))
    inbox.offer([5, 6, 7, 8], 4)
    assert inbox.take_all() == [Overflow(2), gap(1, (3, 4)), 5, 6, 7, 8]


def test_a_thousand_losses_without_an_event_stay_few() -> None:
    inbox: Inbox[int] = Inbox(1, 1)
    for number in range(1_000):
        for epoch in (1, 2):
            inbox.tell(gap(epoch, (number * 3 + 1, number * 3 + 2)))
        inbox.offer([number], 2)
    taken = inbox.take_all()
    assert len(taken) <= 5
    assert taken[0] == Overflow(1_000)
    # Sixteen ranges are exact, the seventeenth makes a Resync from the first of them on.
    resyncs = [item for item in taken if isinstance(item, Resync)]
    assert [(item.node, item.epoch, item.after) for item in resyncs] == [
        ("node-1", 1, 0), ("node-2", 2, 0),
    ]  # fmt: skip
    assert all(len(item.ranges) <= 16 for item in taken if isinstance(item, Gap))


def test_sixteen_ranges_are_exact_and_the_seventeenth_makes_a_resync() -> None:
    inbox: Inbox[int] = Inbox(1, 1)
    ranges = [(3 * n + 2, 3 * n + 3) for n in range(17)]
    for one in ranges[:16]:
        inbox.tell(gap(1, one))
    inbox.offer([1], 1)
    for one in ranges:
        inbox.tell(gap(1, one))
    assert inbox.take_all() == [gap(1, *ranges[:16]), 1, Resync("node-1", 1, 1, "many gaps")]


def test_neighbouring_gaps_become_one_range_and_keep_the_first_reason() -> None:
    inbox: Inbox[int] = Inbox(1, 1)
    for part in (gap(1, (5, 6), reason="timeout"), gap(1, (7, 9)), gap(1, (1, 2)), gap(1, (8, 12))):
        inbox.tell(part)
    assert inbox.take_all() == [gap(1, (1, 2), (5, 12), reason="timeout")]


@pytest.mark.parametrize(
    ("one", "two", "after"), [(7, 5, 5), (5, 7, 5), (None, 5, None), (5, None, None), (0, 3, 0)]
)
def test_two_resyncs_of_one_peer_are_one_that_covers_both(
    one: int | None, two: int | None, after: int | None
) -> None:
    inbox: Inbox[int] = Inbox(1, 1)
    inbox.tell(Resync("a", 1, one, "silent"))
    inbox.tell(Resync("a", 1, two, "restarted"))
    assert inbox.take_all() == [Resync("a", 1, after, "silent")]


def test_losses_are_taken_one_by_one() -> None:
    inbox = offered("newest", 7)
    inbox.tell(gap(1, (1, 1)))
    inbox.tell(Resync("a", 1, 1, "silent"))
    taken = [inbox.take() for _ in range(7)]
    inbox.tell(gap(1, (3, 3)))
    taken += [inbox.take() for _ in range(2)]
    assert taken[5:] == [Overflow(2), gap(1, (1, 1)), Resync("a", 1, 1, "silent"), gap(1, (3, 3))]
    assert not inbox


@pytest.mark.parametrize("loss", [Loss(), Overflow(0)])
def test_a_loss_of_nothing_wakes_nobody(loss: Loss) -> None:
    inbox: Inbox[int] = Inbox(1, 1)
    inbox.tell(loss)
    assert not inbox
    inbox.tell(gap(1, (1, 1)))
    inbox.tell(loss)
    inbox.offer([1], 1)
    assert [inbox.take(), inbox.take()] == [gap(1, (1, 1)), 1]
    assert not inbox


def test_one_batch_is_shared_by_many_inboxes_and_changed_by_none() -> None:
    batch = list(range(10))
    inboxes = [
        Inbox[int](capacity, 1_000, drop) for capacity in (1, 5, 10) for drop in ("oldest", "newest", "close")
    ]
    for inbox in inboxes:
        inbox.offer(batch, 10)
    for inbox in inboxes:
        inbox.take()
        assert inbox.take_all() is not batch
    assert batch == list(range(10))
