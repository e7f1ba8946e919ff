"""The ledger: what became of every event, per peer and at every local queue, and what others have of ours."""

from __future__ import annotations

import anyio
import pytest

from bus import Bus, Event, Message
from bus.signals import Balance, QueueStatus
from bus.testing import MemoryFaults, run_sim
from tests.bus.cluster import Anything, Note, Word, buses, cluster_name, epoch, notes, take, until


@pytest.mark.loops
async def test_every_queue_says_what_waits_and_what_was_dropped() -> None:
    async with (
        buses("a", "b") as (a, b),
        b.subscribe(Note, Word, capacity=10) as slow,
        b.subscribe(Message, topic="mail.*") as filtered,
    ):
        handle = b.on(Note, lambda note: 1 // note.number)
        for number in range(25):
            a.publish(Note(number))
        await until(lambda: b.status().balance().delivered == 25)
        queues = b.status().queues
        assert queues[:2] == (
            QueueStatus("Note, Word", 10, 10, 15), QueueStatus("Message mail.*", 65_536, 0, 0),
        )  # fmt: skip
        assert queues[2].name.startswith("Note -> ")
        assert (queues[2].capacity, queues[2].dropped, queues[2].errors) == (0, 0, 1)
        assert b.status().balance() == Balance(due=25, delivered=25, lost=0, unexplained=0, dropped=15)
        handle.close()
        slow.close()
        filtered.close()
        assert b.status().queues == ()


def test_the_balance_holds_while_frames_are_lost_repeated_and_repaired() -> None:
    async def main() -> None:
        name = cluster_name()
        with MemoryFaults(seed=5, drop=0.2, duplicate=0.2):
            async with (
                Bus.open("memory://", node="a", cluster=name) as a,
                Bus.open("memory://", node="b", cluster=name) as b,
                b.subscribe(Note) as inbox,
            ):
                await b.ready(10, peers=1)
                for number in range(200):
                    a.publish(Note(number))
                    await anyio.sleep(0.001)
                assert await take(inbox, 200) == notes(0, 199)
                status = b.status()
                (peer,) = status.peers
                assert peer.repaired > 0
                assert peer.duplicates > 0
                assert peer.unexplained == 0
                assert status.balance() == Balance(due=200, delivered=200, lost=0, unexplained=0, dropped=0)
                confirmed = await a.confirm(200, 5)
                assert confirmed.heard == {"b"}
                (ours,) = a.status().peers
                assert (ours.has_of_us, ours.lost_of_us, ours.gaps_of_us) == (200, 0, ())

    run_sim(main)


@pytest.mark.loops
async def test_a_sender_sees_what_a_peer_has_lost_of_its_log() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Wide, Note):
        for event in (Note(1), WideText("x"), Note(2)):
            a.publish(event)
        found = await a.confirm(2, 5)
        assert found.missing == {"b"}
        (peer,) = a.status().peers
        assert (peer.has_of_us, peer.lost_of_us, peer.gaps_of_us) == (3, 1, ((2, 2),))
        (other,) = b.status().peers
        assert (other.gaps, other.lost, b.status().balance().lost) == (((2, 2),), 1, 1)


class Wide(Event, tag="standing.wide"):
    number: int


class WideText(Event, tag="standing.wide"):
    number: int | str


@pytest.mark.loops
async def test_events_that_nobody_here_knows_are_counted() -> None:
    async with buses("a", "b") as (a, b):
        a.publish(Anything(1))
        await until(lambda: b.status().refused.get("unknown tag") == 1)
        assert b.status().ready
        assert epoch(b) != epoch(a)
