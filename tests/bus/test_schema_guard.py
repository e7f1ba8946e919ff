"""The schema guard: a peer that means something else by a tag is refused for that tag, and only for that.

Nothing is delivered wrongly, whatever is known when it arrives; what is refused is told, and counted as lost.
"""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from bus import Bus, Event, Gap, Loss, Message
from bus.isolation import current_loop
from bus.protocol import frame as wire
from bus.testing import MemoryFaults, run_sim
from tests.bus.cluster import Note, buses, cluster_name, epoch, open_beside, take, until


class Price(Event, tag="test.price"):
    cents: int
    currency: str


class PriceSwapped(Event, tag="test.price"):
    # Decodes without an error, and means something else: the worst case.
    amount: int
    currency: str


class PriceLonger(Event, tag="test.price"):
    cents: int
    currency: str
    tax: int = 0


class PriceText(Event, tag="test.price"):
    cents: str
    currency: str


class Numbered(Event, tag=78):
    number: int


class NumberedText(Event, tag=78):
    number: str


@pytest.mark.loops
@pytest.mark.parametrize("other", [PriceSwapped(7, "EUR"), PriceText("7", "EUR")], ids=["swapped", "text"])
async def test_a_type_that_means_something_else_is_a_gap_to_its_subscribers_and_all_else_flows(
    other: Event, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        buses("a", "b") as (a, b),
        b.subscribe(Price) as prices,
        b.subscribe(Price, Note, Message) as all_of_them,
        b.subscribe(Note) as notes,
    ):
        for event in (Note(1), other, other, Message("m", b""), Note(2), other):
            a.publish(event)
        first, second = (Gap("a", epoch(a), ranges, "schema") for ranges in (((2, 3),), ((6, 6),)))
        got = await take(all_of_them, 5)
        assert got == [Note(1), first, Message("m", b""), Note(2), second]
        assert await take(prices, 1) == [Gap("a", epoch(a), ((2, 3), (6, 6)), "schema")]
        assert await take(notes, 2) == [Note(1), Note(2)]
        status = b.status()
        (peer,) = status.peers
        assert (peer.position, peer.delivered, peer.lost, peer.unexplained) == (6, 3, 3, 0)
        assert list(peer.refused_types) == ["test.price"]
        assert "here and" in peer.refused_types["test.price"]
        # Its own events of that type are as good as they were.
        assert b.publish(Price(7, "EUR")) == 1
    assert caplog.text.count("refused and told as gaps") == len({"b refuses a", "a refuses b"})


@pytest.mark.loops
async def test_a_field_with_a_default_at_the_end_is_read_by_old_and_new() -> None:
    async with (
        buses("old", "new") as (old, new),
        old.subscribe(Price) as at_old,
        new.subscribe(PriceLonger) as at_new,
    ):
        new.publish(PriceLonger(1, "EUR", 19))
        old.publish(Price(2, "USD"))
        assert await take(at_old, 1) == [Price(1, "EUR")]
        assert await take(at_new, 1) == [PriceLonger(2, "USD", 0)]
        assert not old.status().peers[0].refused_types


@pytest.mark.loops
async def test_numbers_for_tags_and_callbacks_are_guarded_as_well() -> None:
    async with buses("a", "b") as (a, b):
        got: list[Event | Loss] = []
        b.on(Numbered, got.append, on_loss=got.append)
        b.on(Message, got.append, on_loss=got.append)
        a.publish(NumberedText("one"))
        a.publish(Message("after", b""))
        await until(lambda: len(got) == 2)
        assert got == [Gap("a", epoch(a), ((1, 1),), "schema"), Message("after", b"")]


def test_events_that_come_before_the_types_are_known_wait_and_are_judged() -> None:
    """Every word about types is lost for two seconds: nothing is delivered, and nothing is lost for it."""

    async def main() -> None:
        loop = current_loop()
        end = loop.now() + 2.0

        def drop(frame: bytes) -> bool:
            return frame[3] == wire.TYPES and loop.now() < end

        name = cluster_name()
        with MemoryFaults() as faults:
            async with (
                Bus.open("memory://", node="a", cluster=name) as a,
                Bus.open("memory://", node="b", cluster=name) as b,
                b.subscribe(Price, Numbered, Note) as inbox,
            ):
                faults.loses = drop
                await until(lambda: a.status().peers and b.status().peers)
                a.publish(Price(1, "EUR"))
                a.publish(NumberedText("x"))
                a.publish(Note(1))
                await anyio.sleep(1.5)
                assert inbox.waiting == 0
                assert b.status().peers[0].position == 0
                got = await take(inbox, 3)
                assert got == [Price(1, "EUR"), Gap("a", epoch(a), ((2, 2),), "schema"), Note(1)]
                assert b.status().balance().unexplained == 0

    run_sim(main, limit=60)


def test_a_sender_whose_types_never_come_is_told_lost_for_what_nobody_can_judge() -> None:
    async def main() -> None:
        name = cluster_name()
        with MemoryFaults() as faults:
            faults.loses = lambda frame: frame[3] == wire.TYPES
            async with (
                Bus.open("memory://", node="a", cluster=name, events=[Note]) as a,
                Bus.open("memory://", node="b", cluster=name) as b,
                b.subscribe(Price, Message) as inbox,
            ):
                await until(lambda: a.status().peers and b.status().peers)
                a.publish(Message("first", b""))
                a.publish(Price(1, "EUR"))
                a.publish(Message("last", b""))
                with anyio.fail_after(20):
                    got: list[Any] = [await anext(inbox) for _ in range(3)]
                gap = Gap("a", epoch(a), ((2, 2),), "schema")
                assert got == [Message("first", b""), gap, Message("last", b"")]

    run_sim(main, limit=60)


@pytest.mark.loops
async def test_the_younger_of_two_nodes_whose_types_disagree_is_not_ready_and_says_why() -> None:
    async with buses("old") as (old,), open_beside(old, "new") as new:
        await new.ready(5, peers=1)
        async with old.subscribe(Price), new.subscribe(PriceSwapped):
            await until(lambda: new.status().problems)
            (problem,) = new.status().problems
            assert "'test.price' is not compatible with that of old: field 1 is amount here" in problem
            assert not new.status().ready
            with pytest.raises(TimeoutError, match="not compatible with that of old"):
                await new.ready(0.2, peers=1)
            # Who serves goes on serving.
            await until(lambda: old.status().peers[0].refused_types)
            assert old.status().ready
            await old.ready(1, peers=1)
    # The next one that comes finds nobody who disagrees.


@pytest.mark.loops
async def test_two_live_nodes_of_one_name_are_not_ready_until_one_has_gone() -> None:
    async with buses("twin") as (one,):
        async with open_beside(one, "twin") as other:
            await until(lambda: one.status().problems and other.status().problems)
            assert "another live process has the name twin" in one.status().problems[0]
            with pytest.raises(TimeoutError, match="another live process has the name twin"):
                await other.ready(0.2)
            assert not other.status().ready
        await until(lambda: one.status().ready)
        await one.ready(1)


def test_a_type_is_refused_once_in_the_log_and_a_hundred_times_in_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with buses("a", "b") as (a, b), b.subscribe(Price) as inbox:
            for number in range(100):
                a.publish(PriceSwapped(number, ""))
            assert await take(inbox, 1) == [Gap("a", epoch(a), ((1, 100),), "schema")]

    with caplog.at_level(logging.ERROR, "bus"):
        run_sim(main)
    assert sorted(record.getMessage().partition(" are ")[0] for record in caplog.records) == [
        "events 'test.price' of a", "events 'test.price' of b",
    ]  # fmt: skip
