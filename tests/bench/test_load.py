"""Events, tallies, pacing and the window: what was due is counted from when it was due."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus import Gap, Overflow, Resync
from bus.bench import window as window_module
from bus.bench.load import Counter, Tally, UntoldLoss, together
from bus.bench.pace import paced
from bus.bench.raw import Queue, Receiver
from bus.bench.window import Window
from bus.bench.work import CacheInvalidated, Sized, Work, encoded_size, event_of


def test_the_usual_event_has_the_promised_size() -> None:
    assert 120 <= encoded_size(event_of(0)(1_000_000)) <= 130


@pytest.mark.parametrize("size", [16, 17, 128, 271, 272, 1_024, 8_192, 65_536, 65_800])
def test_an_event_of_any_size_has_exactly_that(size: int) -> None:
    assert encoded_size(event_of(size)(1_000_000)) == size


def test_an_event_cannot_be_smaller_than_its_tag_and_number() -> None:
    with pytest.raises(ValueError, match="16 or more"):
        event_of(15)


def test_tally_counts_received_and_told_until_all_are_accounted_for() -> None:
    tally = Tally(10)
    tally.add(4, 100)
    began = tally.began
    tally.tell(Gap("a", 1, ((5, 7),), "gone"))
    tally.tell(Overflow(2))
    assert not tally.is_complete
    assert tally.left == 1
    tally.add(1, 11)
    assert tally.is_complete
    assert (tally.count, tally.checksum, tally.lost) == (5, 111, 5)
    assert tally.began == began <= tally.ended


def test_loss_without_a_count_ends_the_repetition() -> None:
    with pytest.raises(UntoldLoss, match="nobody knows"):
        Tally(10).tell(Resync(None, None, None, "restarted"))


async def test_counter_adds_now_and_then_and_at_the_end() -> None:
    tally = Tally(150)
    counter = Counter(tally, is_timed=False)
    for account in range(148):
        counter.got(event_of(0)(account))
    assert 0 < tally.count < 148
    counter.settle()
    assert (tally.count, tally.checksum) == (148, 148 * 147 // 2)
    counter.told(Overflow(1))
    assert not counter.is_over
    counter.got(event_of(16)(7))
    assert counter.is_over
    assert counter.over.is_set()


async def test_timed_counter_takes_the_delay_of_each_event() -> None:
    tally = Tally(2)
    tally.log = []
    counter = Counter(tally, is_timed=True)
    due = time.perf_counter_ns() - 1_000
    for _ in range(2):
        counter.got(event_of(0)(due))
    assert len(tally.delays) == 2
    assert min(tally.delays) >= 1_000
    assert [entry[1] for entry in tally.log] == [due, due]
    assert counter.is_over


async def test_subscribers_that_received_different_things_are_no_result() -> None:
    async def receive(tally: Tally, count: int) -> None:
        tally.add(count, count)

    tallies = Tally(3).copies(2)
    with pytest.raises(UntoldLoss, match="did not receive the same"):
        await together(tallies, [receive(tallies[0], 3), receive(tallies[1], 2)])


@pytest.mark.loops
async def test_paced_events_are_marked_with_when_they_were_due_even_when_the_loop_stalls() -> None:
    due: list[int] = []

    def publish(event: CacheInvalidated | Sized) -> None:
        if len(due) == 20:
            time.sleep(0.03)  # the stall
        due.append(event.account)

    checksum = await paced(publish, Work(count=100, per_second=1_000))
    assert {later - earlier for earlier, later in pairwise(due)} == {1_000_000}
    assert len(due) == 100
    assert checksum == sum(due)
    assert due[-1] <= time.perf_counter_ns()


@pytest.mark.loops
async def test_paced_by_the_loop_s_own_timer_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.bench.pace.HAS_TIMERFD", False)
    due: list[int] = []

    def publish(event: CacheInvalidated | Sized) -> None:
        due.append(event.account)

    assert await paced(publish, Work(count=30, per_second=1_000)) == sum(due)
    assert {later - earlier for earlier, later in pairwise(due)} == {1_000_000}


@pytest.fixture
def window(tmp_path: Path) -> Any:
    made = Window(tmp_path / "window", 0)
    made.watch((0,), 1)
    yield made
    made.close()


@pytest.mark.parametrize("subscribers", [1, 3])
@pytest.mark.parametrize("per_second", [0, 1_000_000])
async def test_queue_hands_over_every_event(per_second: int, subscribers: int, window: Window) -> None:
    queue, tally = Queue(), Tally(250)
    work = Work(count=250, per_second=per_second, subscribers=subscribers)
    async with asyncio.timeout(10):
        receiving = asyncio.create_task(queue.listen(tally, work))
        await queue.bulk(work, window)
        await receiving
    assert (tally.count, tally.checksum) == (250, 250 * 249 // 2)
    assert len(tally.delays) == (250 if per_second else 0)


@pytest.mark.parametrize("delivery", ["callback", "batch"])
async def test_receiver_hands_every_event_to_each_subscriber(delivery: Any) -> None:
    receiver, tally = Receiver(), Tally(100)
    received = receiver.listen(tally, Work(count=100, fan=True, subscribers=3, delivery=delivery))
    async with asyncio.timeout(10):
        for account in range(100):
            receiver.take(msgspec.msgpack.encode(event_of(0)(account)))
        await received  # which fails when one of the three has something else
    assert (tally.count, tally.checksum) == (100, 100 * 99 // 2)


async def test_publisher_waits_for_the_slowest_receiver(window: Window, tmp_path: Path) -> None:
    other = Window(tmp_path / "window", 1)
    window.watch((0, 1), 1)
    try:
        window.show(1_000)
        other.show(400)
        await window.room(1_000, 0)  # no window: never waits
        await window.room(900, 500)
        waiting = asyncio.create_task(window.room(1_000, 500))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        other.show(500)
        async with asyncio.timeout(5):
            await waiting
    finally:
        other.close()


async def test_publisher_goes_on_when_what_is_missing_is_lost(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_module, "STALLED", 0.02)
    window.show(100)
    async with asyncio.timeout(5):
        await window.room(1_000, 500)
        await window.room(1_400, 500)  # those are written off


async def test_all_publish_alike_so_each_expects_of_the_others_what_it_sent(window: Window) -> None:
    window.watch((0,), 3)
    window.show(1_400)
    await window.room(500, 100)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await window.room(501, 100)
