"""MemoryFaults: each fault does what it says between exactly the nodes that were named."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from bus import Bus
from bus.testing import MemoryFaults
from bus_memory import MemoryLink
from tests.bus.cluster import PATIENCE, Note, buses, cluster_of, notes, simulated, take


def heard(bus: Bus) -> list[str]:
    return [peer.node for peer in bus.status().peers if peer.state == "UP"]


@simulated
async def test_a_cut_is_one_way_and_heals() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b", "c") as (a, b, c):
            inboxes = [bus.subscribe(Note) for bus in (a, b, c)]
            faults.cut("a", "b")
            a.publish(Note(1))
            b.publish(Note(2))
            await asyncio.sleep(1)
            assert [inbox.waiting for inbox in inboxes] == [1, 0, 2]
            faults.heal("b", "a")
            assert await take(inboxes[1], 1) == [Note(1)]


@simulated
async def test_healing_one_pair_leaves_the_others_cut() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b", "c") as (a, b, c):
            faults.partition("a", "b")
            faults.partition("a", "c")
            await asyncio.sleep(12)
            faults.heal("a", "b")
            await asyncio.sleep(3)
            assert [heard(bus) for bus in (a, b, c)] == [["b"], ["a", "c"], ["b"]]
            faults.heal()
            await asyncio.sleep(3)
            assert heard(a) == ["b", "c"]


@simulated
async def test_without_its_own_echo_a_node_makes_its_link_anew() -> None:
    with MemoryFaults() as faults:
        async with buses("a") as (a,):
            await asyncio.sleep(5)
            faults.cut("a", "a")
            await asyncio.sleep(4)
            assert a.status().state == "DEGRADED"
            faults.heal("a")
            await asyncio.sleep(1.5)
            assert a.status().state == "READY"


@simulated
async def test_a_lost_connection_is_made_anew_and_nothing_is_missing() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
            faults.lose("b", cluster_of(b))
            await asyncio.sleep(0)
            for note in notes(1, 10):
                a.publish(note)
                await asyncio.sleep(0.01)
            assert await take(inbox, 10) == notes(1, 10)
            await asyncio.sleep(1)
            assert (a.status().links[0].since > 1) and (b.status().links[0].since < 1.5)


@simulated
async def test_a_delay_is_kept_and_lets_frames_overtake_each_other() -> None:
    with MemoryFaults(seed=3) as faults:
        async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
            faults.delay = (0.5, 0.5)
            a.publish(Note(0))
            await asyncio.sleep(0.49)
            assert inbox.waiting == 0
            await asyncio.sleep(0.02)
            assert await take(inbox, 1) == [Note(0)]
            faults.delay = (0.0, 1.0)
            for note in notes(1, 20):
                a.publish(note)
                await asyncio.sleep(0.01)
            await asyncio.sleep(5)
            assert await take(inbox, 20) == notes(1, 20)
            (peer,) = b.status().peers
            assert peer.lost == 0


@simulated
async def test_what_comes_twice_is_delivered_once() -> None:
    with MemoryFaults(duplicate=1.0):
        async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
            for note in notes(1, 20):
                a.publish(note)
                await asyncio.sleep(0.1)
            assert await take(inbox, 20) == notes(1, 20)
            assert inbox.waiting == 0
            (peer,) = b.status().peers
            assert (peer.delivered, peer.duplicates) == (20, 20)


def test_the_seed_decides_and_pairs_do_not_disturb_each_other() -> None:
    def arrivals(seed: int, *, third: bool = False) -> list[bytes]:
        a, b, c = (cast(MemoryLink, SimpleNamespace(context=SimpleNamespace(node=name))) for name in "abc")
        decide = MemoryFaults(seed=seed, drop=0.5)._decide  # pyright: ignore[reportPrivateUsage]  # one frame, no bus
        arrived: list[bytes] = []
        for number in range(50):
            decide(a, b, bytes([number]), arrived.append)
            if third:
                decide(a, c, b"", lambda _: None)
                decide(b, a, b"", lambda _: None)
        return arrived

    assert 10 < len(arrivals(1)) < 40
    assert arrivals(1) == arrivals(1) == arrivals(1, third=True)
    assert arrivals(1) != arrivals(2)


def test_only_one_at_a_time() -> None:
    with MemoryFaults(), pytest.raises(RuntimeError, match="already decides"), MemoryFaults():
        pass
    with MemoryFaults():
        pass


def test_cuts_work_on_trio_too() -> None:
    async def main() -> None:
        with MemoryFaults() as faults:
            async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
                faults.cut("a", "b")
                a.publish(Note(1))
                await a.flush(PATIENCE)
                assert inbox.waiting == 0
                faults.heal()
                assert await take(inbox, 1) == [Note(1)]

    anyio.run(main, backend="trio")
