"""The tally and the pacing: what was due is counted from when it was due."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from bus import Gap, Overflow, Resync
from bus.bench.load import KEYS, KIND, CacheInvalidated, Tally, UntoldLoss
from bus.bench.pace import paced
from bus.bench.raw import Queue


def test_event_has_the_promised_size() -> None:
    assert 120 <= len(msgspec.msgpack.encode(CacheInvalidated(1_000_000, KIND, KEYS))) <= 130


def test_tally_counts_received_and_told_until_all_are_accounted_for() -> None:
    tally = Tally(10)
    tally.add(4, 100)
    began = tally.began
    tally.tell(Gap("a", 1, ((5, 7),), "gone"))
    tally.tell(Overflow(2))
    assert not tally.is_complete
    tally.add(1, 11)
    assert tally.is_complete
    assert (tally.count, tally.checksum, tally.lost) == (5, 111, 5)
    assert tally.began == began <= tally.ended


def test_loss_without_a_count_ends_the_repetition() -> None:
    with pytest.raises(UntoldLoss, match="nobody knows"):
        Tally(10).tell(Resync(None, None, None, "restarted"))


@pytest.mark.loops
async def test_paced_events_are_marked_with_when_they_were_due_even_when_the_loop_stalls() -> None:
    due: list[int] = []

    def publish(event: CacheInvalidated) -> None:
        if len(due) == 20:
            time.sleep(0.03)  # the stall
        due.append(event.account)

    checksum = await paced(publish, 100, 1_000)
    assert {later - earlier for earlier, later in pairwise(due)} == {1_000_000}
    assert len(due) == 100
    assert checksum == sum(due)
    assert due[-1] <= time.perf_counter_ns()


@pytest.mark.loops
async def test_paced_by_the_loop_s_own_timer_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.bench.pace.HAS_TIMERFD", False)
    due: list[int] = []

    def publish(event: CacheInvalidated) -> None:
        due.append(event.account)

    assert await paced(publish, 30, 1_000) == sum(due)
    assert {later - earlier for earlier, later in pairwise(due)} == {1_000_000}


@pytest.mark.parametrize("delivery", ["batch", "delay"])
async def test_queue_hands_over_every_event(delivery: Any) -> None:
    queue, tally = Queue(), Tally(250)
    async with asyncio.timeout(10):
        receiving = asyncio.create_task(queue.listen(tally, delivery))
        await queue.bulk(250)
        await receiving
    assert (tally.count, tally.checksum) == (250, 250 * 249 // 2)
    assert len(tally.delays) == (250 if delivery == "delay" else 0)
