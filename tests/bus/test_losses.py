"""Loss is a value, in order, where the missing events would have been; only what is known to be lost.

The faults are real ones of links, scripted, on a virtual clock: an outage of half a minute is over
in milliseconds.
"""

from __future__ import annotations

import asyncio

import pytest

from bus import Bus, Event, Gap, Limits, Loss, Message, Overflow, Resync, Subscription
from bus.testing.faults import MemoryFaults
from bus.testing.simloop import run_sim
from tests.bus.cluster import (
    Note,
    Word,
    buses,
    cluster_name,
    cluster_of,
    epoch,
    notes,
    open_beside,
    simulated,
    take,
)

SMALL = Limits(log_events=10)


def waiting(inbox: Subscription[Event]) -> list[object]:
    """What waits in an inbox now."""
    return list(inbox._inbox.take_all())  # pyright: ignore[reportPrivateUsage]  # batch() would wait


@simulated
async def test_an_outage_that_the_log_outlives_costs_nothing() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
            faults.partition("a", "b")
            for note in notes(1, 100):
                a.publish(note)
                await asyncio.sleep(0.1)
            assert waiting(inbox) == []
            faults.heal()
            await asyncio.sleep(2)
            assert waiting(inbox) == notes(1, 100)
            (peer,) = b.status().peers
            assert (peer.delivered, peer.repaired, peer.lost) == (100, 100, 0)


@simulated
async def test_what_the_log_could_not_keep_is_one_gap_in_its_place() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b", limits=SMALL) as (a, b), b.subscribe(Note) as inbox:
            a.publish(Note(1))
            await asyncio.sleep(0.1)
            faults.partition("a", "b")
            for note in notes(2, 50):
                a.publish(note)
                await asyncio.sleep(0.1)
            faults.heal()
            await asyncio.sleep(3)
            first, gap, *kept = waiting(inbox)
            assert first == Note(1)
            assert isinstance(gap, Gap)
            held = a.status().log_first
            assert held > 2
            assert gap == Gap("a", epoch(a), ((2, held - 1),), "gone")
            assert gap.count == held - 2
            assert kept == notes(held, 50)
            (peer,) = b.status().peers
            assert (peer.lost, peer.position) == (gap.count, 50)


@simulated
async def test_a_loss_comes_to_every_subscriber_whatever_its_types() -> None:
    seen: list[Loss] = []
    with MemoryFaults() as faults:
        async with buses("a", "b", limits=SMALL) as (a, b), b.subscribe(Word) as inbox:
            b.on(Message, print, on_loss=seen.append)
            faults.partition("a", "b")
            for note in notes(1, 50):
                a.publish(note)
                await asyncio.sleep(0.1)
            faults.heal()
            await asyncio.sleep(3)
            (gap,) = waiting(inbox)
            assert seen == [gap]


@simulated
async def test_a_node_that_dies_is_told_as_one_resync() -> None:
    with MemoryFaults() as faults:
        async with buses("b") as (b,), b.subscribe(Note) as inbox, open_beside(b, "a") as a:
            await a.ready(peers=1)
            for note in notes(1, 3):
                a.publish(note)
            await asyncio.sleep(0.5)
            faults.partition("a", "b")
            await asyncio.sleep(60)
            assert waiting(inbox) == [*notes(1, 3), Resync("a", epoch(a), 3, "silent")]
            (peer,) = b.status().peers
            assert peer.state == "DOWN"
            # It was only cut off: its log goes on in place, without a second Resync.
            a.publish(Note(4))
            faults.heal()
            await asyncio.sleep(5)
            assert waiting(inbox) == [Note(4)]


@simulated
async def test_a_restart_tells_the_end_of_the_old_log_before_the_new_one() -> None:
    with MemoryFaults() as faults:
        async with buses("b") as (b,), b.subscribe(Note) as inbox:
            async with open_beside(b, "a") as old:
                await old.ready(peers=1)
                old.publish(Note(1))
                await asyncio.sleep(0.5)
                faults.partition("a", "b")
                old.publish(Note(2))
                await asyncio.sleep(0.5)
            faults.heal()
            async with open_beside(b, "a") as new:
                await new.ready(peers=1)
                new.publish(Note(3))
                await asyncio.sleep(1)
                assert waiting(inbox) == [
                    Note(1),
                    Resync("a", epoch(old), 1, "restarted"),
                    Note(3),
                ]


@simulated
async def test_an_outage_and_a_slow_reader_are_told_one_behind_the_other() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b", limits=SMALL) as (a, b), b.subscribe(Note, capacity=5) as inbox:
            for note in notes(1, 8):
                a.publish(note)
            await asyncio.sleep(0.5)
            faults.partition("a", "b")
            for note in notes(9, 60):
                a.publish(note)
                await asyncio.sleep(0.1)
            held = a.status().log_first
            faults.heal()
            await asyncio.sleep(3)
            # 1 to 8 came, and no room was left for them: counted in front of the Gap.
            assert waiting(inbox) == [
                Overflow(8 + (60 - held + 1) - 5),
                Gap("a", epoch(a), ((9, held - 1),), "gone"),
                *notes(56, 60),
            ]


@pytest.mark.parametrize("seed", range(5))
def test_under_every_fault_at_once_each_event_is_delivered_once_or_told(seed: int) -> None:
    async def main() -> None:
        with MemoryFaults(seed=seed, drop=0.2, duplicate=0.2, delay=(0.0, 0.3)) as faults:
            async with buses("a", "b", "c") as made:
                inboxes = [bus.subscribe(Note) for bus in made]
                for round in range(60):
                    for index, bus in enumerate(made):
                        bus.publish(Note(1_000 * index + round + 1))
                    if round == 20:
                        faults.partition("a", "c")
                    if round == 40:
                        faults.heal()
                        faults.lose("b", cluster_of(made[0]))
                    await asyncio.sleep(0.2)
                faults.drop = 0.0
                await asyncio.sleep(15)
                for me, inbox in enumerate(inboxes):
                    items = waiting(inbox)
                    assert all(isinstance(item, Note) for item in items), items
                    for sender in {0, 1, 2} - {me}:
                        mine = [n for n in items if isinstance(n, Note) and n.number // 1_000 == sender]
                        assert mine == notes(1_000 * sender + 1, 1_000 * sender + 60)
                assert faults.dropped > 50

    run_sim(main, seed=seed)


# -- events that cannot be read --------------------------------------------------------------------


class Changed(Event, tag="test.changed"):
    value: int


class ChangedByOthers(Event, tag="test.changed"):
    # Wider, so that it is not refused as a whole: what is no number fails here, and only that.
    value: int | str


class Unheard(Event, tag="test.unheard"):
    value: int


class UnheardNumber(Event, tag=99):
    value: int


@pytest.mark.loops
async def test_an_undecodable_event_is_a_gap_to_the_subscribers_of_its_type_only() -> None:
    async with (
        buses("a", "b") as (a, b),
        b.subscribe(Changed) as mine,
        b.subscribe(Note, Changed) as both,
        b.subscribe(Note) as others,
    ):
        for event in (Note(1), ChangedByOthers("no number"), Note(2), Note(3)):
            a.publish(event)
        gap = Gap("a", epoch(a), ((2, 2),), "undecodable")
        assert await take(both, 4) == [Note(1), gap, Note(2), Note(3)]
        assert await take(mine, 1) == [gap]
        assert await take(others, 3) == notes(1, 3)
        assert (mine.waiting, others.waiting) == (0, 0)
        (peer,) = b.status().peers
        assert (peer.delivered, peer.lost, peer.position) == (3, 1, 4)


@pytest.mark.loops
async def test_unknown_tags_are_counted_and_nobody_is_disturbed() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        for event in (Unheard(1), Note(1), UnheardNumber(2), Note(2), Unheard(3)):
            a.publish(event)
        await a.flush()
        assert await inbox.batch() == notes(1, 2)
        assert b._router.unknown == 3  # pyright: ignore[reportPrivateUsage]  # doctor's
        (peer,) = b.status().peers
        assert (peer.lost, peer.position) == (0, 5)


@pytest.mark.loops
async def test_types_named_at_opening_are_known_without_a_subscriber() -> None:
    cluster = cluster_name()
    async with (
        Bus.open("memory://", node="b", cluster=cluster, events=[Unheard]) as b,
        Bus.open("memory://", node="a", cluster=cluster) as a,
    ):
        await a.ready(peers=1)
        a.publish(Unheard(1))
        await a.flush()
        assert b._router.unknown == 0  # pyright: ignore[reportPrivateUsage]  # doctor's


@pytest.mark.loops
async def test_new_fields_with_a_default_and_fields_that_are_gone_are_read() -> None:
    class Old(Event, tag="test.release"):
        number: int

    class New(Event, tag="test.release"):
        number: int
        text: str = "default"

    async with buses("a", "b") as (a, b), a.subscribe(Old) as old, b.subscribe(New) as new:
        a.publish(Old(1))
        b.publish(New(2, "text"))
        assert await take(new, 1) == [New(1)]
        assert await take(old, 1) == [Old(2)]
