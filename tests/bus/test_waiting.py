"""ready(), confirm(), status() and membership(): what a node knows of itself and of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from bus import (
    Bus,
    Change,
    Confirmed,
    Down,
    Duplicate,
    Limits,
    LinkStatus,
    PeerStatus,
    Restarted,
    Status,
    Up,
    UsageError,
)
from bus.testing.fake import FakeSystem, hangs, raises
from bus.testing.faults import MemoryFaults
from bus.testing.simloop import run_sim
from bus.waiting import Membership
from tests.bus.cluster import (
    PATIENCE,
    Note,
    buses,
    cluster_name,
    cluster_of,
    epoch,
    notes,
    open_beside,
    simulated,
    take,
    until,
)


async def changes(stream: AsyncIterator[Change], count: int) -> list[Change]:
    """The next `count` changes."""
    with anyio.fail_after(PATIENCE):
        return [await anext(stream) for _ in range(count)]


def no_change(stream: Membership) -> bool:
    return not stream._inbox  # pyright: ignore[reportPrivateUsage]  # reading would wait


# -- ready -----------------------------------------------------------------------------------------


@pytest.mark.loops
async def test_ready_waits_for_proof_and_not_for_peers_unless_asked() -> None:
    async with Bus.open("memory://", node="a", cluster=cluster_name()) as a:
        await a.ready(PATIENCE)
        assert a.status().state == "READY"
        with pytest.raises(TimeoutError) as caught:
            await a.ready(0.02, peers=1)
        assert "Memory is READY" in str(caught.value)
        assert "0 of 1 peers hear us and are heard" in str(caught.value)


@pytest.mark.loops
async def test_ready_with_peers_means_both_directions() -> None:
    cluster = cluster_name()
    with MemoryFaults() as faults:
        faults.cut("b", "a")
        async with (
            Bus.open("memory://", node="a", cluster=cluster) as a,
            Bus.open("memory://", node="b", cluster=cluster) as b,
        ):
            # b hears a; a does not hear b: neither has a peer on both sides.
            await until(lambda: not b.status().alone)
            for bus in (a, b):
                with pytest.raises(TimeoutError, match="0 of 1 peers"):
                    await bus.ready(0.05, peers=1)
            faults.heal()
            for bus in (a, b):
                await bus.ready(PATIENCE, peers=1)


@pytest.mark.loops
async def test_after_ready_no_event_is_missed() -> None:
    cluster = cluster_name()
    async with (
        Bus.open("memory://", node="a", cluster=cluster) as a,
        Bus.open("memory://", node="b", cluster=cluster) as b,
        b.subscribe(Note) as inbox,
    ):
        await a.ready(PATIENCE, peers=1)
        for note in notes(1, 100):
            a.publish(note)
        assert await take(inbox, 100) == notes(1, 100)


@pytest.mark.loops
async def test_ready_says_what_is_wrong_with_the_link() -> None:
    with FakeSystem(connect=[raises(OSError("connection refused")), hangs]) as system:
        async with Bus.open(system.coordinator, node="a") as a:
            with pytest.raises(TimeoutError) as caught:
                await a.ready(0.05)
            text = str(caught.value)
            assert "not ready within 0.05 s: Fake is" in text
            assert "connection refused" in text


# -- confirm ---------------------------------------------------------------------------------------


@pytest.mark.loops
async def test_confirm_names_the_nodes_that_have_an_event() -> None:
    async with buses("a", "b", "c") as (a, _, _):
        seq = a.publish(Note(1))
        with anyio.fail_after(PATIENCE):
            assert await a.confirm(seq) == Confirmed(frozenset({"b", "c"}), frozenset())


@pytest.mark.loops
async def test_confirm_knows_only_numbers_that_were_published() -> None:
    async with buses("a") as (a,):
        a.publish(Note(1))
        for seq in (0, 2, -1):
            with pytest.raises(UsageError, match=rf"seq is {seq}; this node has published 1 to 1"):
                await a.confirm(seq)
        assert await a.confirm(1) == Confirmed(frozenset(), frozenset())


@simulated
async def test_confirm_returns_what_it_knows_when_the_time_is_over() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b", "c") as (a, _, _):
            faults.partition("a", "c")
            seq = a.publish(Note(1))
            before = asyncio.get_running_loop().time()
            expected = Confirmed(frozenset({"b"}), frozenset({"c"}))
            assert await a.confirm(seq, timeout=2) == expected
            assert asyncio.get_running_loop().time() - before == pytest.approx(2, abs=0.01)
            faults.heal()
            assert await a.confirm(seq, timeout=5) == Confirmed(frozenset({"b", "c"}), frozenset())


@simulated
async def test_a_node_that_goes_down_while_we_wait_is_missing() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b") as (a, _):
            faults.partition("a", "b")
            seq = a.publish(Note(1))
            assert await a.confirm(seq, timeout=60) == Confirmed(frozenset(), frozenset({"b"}))
            assert asyncio.get_running_loop().time() < 20, "it waited for a node that is down"


@simulated
async def test_a_node_that_told_a_gap_over_an_event_is_missing_it() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b", limits=Limits(log_events=10)) as (a, _):
            seqs: list[int] = []
            faults.partition("a", "b")
            for note in notes(1, 50):
                seqs.append(a.publish(note))
                await asyncio.sleep(0.1)
            faults.heal()
            first = a.status().log_first
            last_lost = await a.confirm(first - 1, timeout=10)
            assert last_lost == Confirmed(frozenset(), frozenset({"b"}))
            assert await a.confirm(seqs[0], timeout=10) == last_lost
            assert await a.confirm(first, timeout=10) == Confirmed(frozenset({"b"}), frozenset())
            assert asyncio.get_running_loop().time() < 15, "a known gap needs no timeout"


@simulated
async def test_a_node_that_came_later_does_not_have_what_was_before() -> None:
    async with buses("a") as (a,):
        await asyncio.sleep(5)
        seq = a.publish(Note(1))
        await asyncio.sleep(130)  # longer than the log keeps it
        async with open_beside(a, "b") as b:
            await b.ready(peers=1)
            assert await a.confirm(seq, timeout=5) == Confirmed(frozenset(), frozenset({"b"}))
            seq = a.publish(Note(2))
            assert await a.confirm(seq, timeout=5) == Confirmed(frozenset({"b"}), frozenset())


# -- status ----------------------------------------------------------------------------------------


@pytest.mark.loops
async def test_status_is_the_truth_about_links_and_peers() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        for note in notes(1, 3):
            a.publish(note)
        await take(inbox, 3)
        status = b.status()
        assert isinstance(status, Status)
        assert (status.node, status.state, status.alone, status.published) == ("b", "READY", False, 0)
        (link,) = status.links
        assert isinstance(link, LinkStatus)
        assert (link.type, link.channel, link.state, link.error) == (
            "Memory", f"bus.{cluster_of(b)}", "READY", None,
        )  # fmt: skip
        assert 0 <= link.since < PATIENCE
        (peer,) = status.peers
        assert isinstance(peer, PeerStatus)
        assert (peer.node, peer.epoch, peer.state) == ("a", epoch(a), "UP")
        assert (peer.position, peer.delivered, peer.lost, peer.duplicates) == (3, 3, 0, 0)


@simulated
async def test_status_tells_latency_and_time_in_state() -> None:
    with MemoryFaults(delay=(0.02, 0.02)):
        async with buses("a", "b") as (a, _):
            await asyncio.sleep(10)
            (peer,), (link,) = a.status().peers, a.status().links
            assert peer.latency_ms == pytest.approx(20, abs=1)
            assert link.since == pytest.approx(10, abs=1.5)


@pytest.mark.loops
async def test_a_node_without_peers_is_alone() -> None:
    async with buses("a") as (a,):
        assert a.status().alone
        async with open_beside(a, "b") as b:
            await b.ready(PATIENCE, peers=1)
            assert not a.status().alone
        await until(lambda: a.status().alone)
        (peer,) = a.status().peers
        assert peer.state == "ENDED"


# -- membership ------------------------------------------------------------------------------------


@pytest.mark.loops
async def test_membership_starts_with_who_is_here_and_tells_who_comes_and_goes() -> None:
    async with buses("a", "b") as (a, b):
        stream = a.membership()
        assert await changes(stream, 1) == [Up("b", epoch(b))]
        async with open_beside(a, "c") as c:
            assert await changes(stream, 1) == [Up("c", epoch(c))]
        assert await changes(stream, 1) == [Down("c", epoch(c))]


@pytest.mark.loops
async def test_a_node_that_comes_back_under_its_name_is_up_after_its_goodbye() -> None:
    async with buses("a") as (a,):
        stream = a.membership()
        async with open_beside(a, "b") as old:
            assert await changes(stream, 1) == [Up("b", epoch(old))]
        assert await changes(stream, 1) == [Down("b", epoch(old))]
        async with open_beside(a, "b") as new:
            assert await changes(stream, 1) == [Up("b", epoch(new))]


@simulated
async def test_a_node_that_died_and_comes_back_restarted() -> None:
    with MemoryFaults() as faults:
        async with buses("a") as (a,):
            stream = a.membership()
            async with open_beside(a, "b") as old:
                await old.ready(peers=1)
                faults.partition("a", "b")
            faults.heal()
            async with open_beside(a, "b") as new:
                await new.ready(peers=1)
                assert await changes(stream, 2) == [
                    Up("b", epoch(old)),
                    Restarted("b", epoch(old), epoch(new)),
                ]


@simulated
async def test_a_silent_node_is_down_after_ten_seconds_and_up_when_heard_again() -> None:
    with MemoryFaults() as faults:
        async with buses("a", "b") as (a, b):
            stream = a.membership()
            await changes(stream, 1)
            faults.cut("b", "a")
            await asyncio.sleep(8.5)
            assert no_change(stream)
            await asyncio.sleep(2.5)
            assert await changes(stream, 1) == [Down("b", epoch(b))]
            faults.heal()
            assert await changes(stream, 1) == [Up("b", epoch(b))]


@simulated
async def test_two_processes_with_one_name_are_told_on_every_side() -> None:
    async with buses("a") as (a,):
        streams = [a.membership()]
        async with (
            open_beside(a, "twin") as one,
            open_beside(a, "twin") as other,
        ):
            streams += [one.membership(), other.membership()]
            await asyncio.sleep(20)
            told = Duplicate("twin", tuple(sorted((epoch(one), epoch(other)))))
            for stream in streams:
                seen: list[Change] = []
                while not no_change(stream):
                    seen += await changes(stream, 1)
                assert told in seen, seen


def test_a_name_that_two_processes_have_is_in_the_log_of_each_node_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def twins() -> None:
        async with buses("a") as (a,), open_beside(a, "twin"), open_beside(a, "twin"):
            await asyncio.sleep(60)

    run_sim(twins)
    lines = [one.message for one in caplog.records if "have the name" in one.message]
    assert lines == ["2 live processes have the name twin: give each its own"] * 3


@pytest.mark.loops
async def test_membership_ends_with_the_bus() -> None:
    async with buses("a", "b") as (a, b):
        stream = a.membership()
        await a.aclose()
        with anyio.fail_after(PATIENCE):
            assert [change async for change in stream] == [Up("b", epoch(b))]


@pytest.mark.loops
async def test_two_readers_of_one_membership_are_told() -> None:
    async with buses("a") as (a,), anyio.create_task_group() as group:
        stream = a.membership()
        group.start_soon(anext, stream)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(UsageError, match="two tasks read one membership"):
            await anext(stream)
        group.cancel_scope.cancel()
