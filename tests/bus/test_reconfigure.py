"""reconfigure() moves a running bus to another link; it loses nothing, or nothing has changed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import anyio
import pytest

from bus import Bus, Closed, ConfigError, UsageError
from bus.backend import Fault
from bus.config import Disabled
from bus.testing.fake import FakeSystem, hangs, ignores_cancel, raises
from tests.bus.cluster import PATIENCE, Note, buses, cluster_name, notes, simulated, take, until


@pytest.mark.loops
async def test_nothing_is_lost_or_doubled_on_the_way() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:

        async def publishes() -> None:
            for note in notes(1, 500):
                a.publish(note)
                await anyio.sleep(0.001)

        before = set(a._node.links)  # pyright: ignore[reportPrivateUsage]  # that it really moved
        async with anyio.create_task_group() as group:
            group.start_soon(publishes)
            await anyio.sleep(0.05)
            await a.reconfigure("memory://")
        assert await take(inbox, 500) == notes(1, 500)
        (after,) = a.status().links
        assert after.state == "READY"
        assert not before & set(a._node.links)  # pyright: ignore[reportPrivateUsage]  # as above
        (peer,) = b.status().peers
        assert (peer.delivered, peer.lost) == (500, 0)


@simulated
async def test_the_whole_cluster_moves_to_another_system() -> None:
    with FakeSystem() as old, FakeSystem() as new:
        cluster = cluster_name()
        async with (
            Bus.open(old.coordinator, node="a", cluster=cluster) as a,
            Bus.open(old.coordinator, node="b", cluster=cluster) as b,
            b.subscribe(Note) as inbox,
        ):
            await a.ready(peers=1)
            await b.ready(peers=1)

            async def publishes() -> None:
                for note in notes(1, 100):
                    a.publish(note)
                    await asyncio.sleep(0.1)

            async with anyio.create_task_group() as group:
                group.start_soon(publishes)
                await asyncio.sleep(1)
                # Each waits until the other lists it on the new link: they move together.
                group.start_soon(a.reconfigure, new.coordinator)
                await asyncio.sleep(3)
                assert len(a.status().links) == 2
                group.start_soon(b.reconfigure, new.coordinator)
            assert await take(inbox, 100) == notes(1, 100)
            assert not old.links
            assert len(new.links) == 2
            for bus in (a, b):
                assert [link.state for link in bus.status().links] == ["READY"]


@simulated
async def test_where_no_peer_is_it_is_rolled_back_and_says_why() -> None:
    with FakeSystem() as old, FakeSystem() as new:
        cluster = cluster_name()
        async with (
            Bus.open(old.coordinator, node="a", cluster=cluster) as a,
            Bus.open(old.coordinator, node="b", cluster=cluster) as b,
            b.subscribe(Note) as inbox,
        ):
            await a.ready(peers=1)
            before = asyncio.get_running_loop().time()
            with pytest.raises(TimeoutError) as caught:
                await a.reconfigure(new.coordinator, timeout=5)
            assert 5 <= asyncio.get_running_loop().time() - before < 7
            assert "not every peer lists us on it" in str(caught.value)
            assert "the old one goes on" in str(caught.value)
            assert not new.links
            a.publish(Note(1))
            assert await take(inbox, 1) == [Note(1)]
            assert [link.state for link in a.status().links] == ["READY"]
            # ... and the next try may succeed.
            await a.reconfigure(old.coordinator)


@simulated
async def test_a_configuration_that_fails_is_rolled_back_at_once() -> None:
    with FakeSystem() as old:
        async with Bus.open(old.coordinator, node="a") as a:
            await a.ready()
            refused = raises(PermissionError("wrong password"))
            with FakeSystem(connect=[refused], faults={PermissionError: Fault.AUTH}) as new:
                before = asyncio.get_running_loop().time()
                with pytest.raises(ConfigError, match="wrong password"):
                    await a.reconfigure(new.coordinator)
                assert asyncio.get_running_loop().time() - before < 1
            with pytest.raises(ConfigError, match="Carrier"):
                await a.reconfigure({"@type": "Carrier"})
            assert [link.state for link in a.status().links] == ["READY"]


@simulated
async def test_a_cancelled_caller_keeps_what_was_before() -> None:
    with FakeSystem() as old, FakeSystem(connect=[hangs], close=[hangs]) as new:
        async with Bus.open(old.coordinator, node="a") as a:
            await a.ready()
            with anyio.move_on_after(1) as scope:
                await a.reconfigure(new.coordinator)
            assert scope.cancelled_caught
            task = asyncio.create_task(a.reconfigure(new.coordinator))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            assert not new.links
            (link,) = a.status().links
            assert link.state == "READY"


@simulated
async def test_an_old_link_that_cannot_be_closed_does_not_keep_the_new_one() -> None:
    with FakeSystem(close=[ignores_cancel]) as old, FakeSystem() as new:
        async with Bus.open(old.coordinator, node="a") as a:
            await a.ready()
            before = asyncio.get_running_loop().time()
            await a.reconfigure(new.coordinator)
            assert asyncio.get_running_loop().time() - before < 2
            assert len(new.links) == 1


@pytest.mark.loops
async def test_to_disabled_and_back() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        await a.reconfigure(Disabled())
        assert (a.status().state, a.status().links) == ("DISABLED", ())
        a.publish(Note(1))
        await a.reconfigure("memory://")
        assert await take(inbox, 1) == [Note(1)]
        assert a.status().state == "READY"


@pytest.mark.loops
async def test_one_at_a_time() -> None:
    with FakeSystem(connect=[hangs]) as system:
        async with buses("a") as (a,), anyio.create_task_group() as group:
            group.start_soon(a.reconfigure, system.coordinator)
            await until(lambda: system.attempts)
            with pytest.raises(UsageError, match="already running"):
                await a.reconfigure("memory://")
            group.cancel_scope.cancel()


@pytest.mark.loops
async def test_closing_meanwhile_ends_it() -> None:
    with FakeSystem(connect=[hangs]) as system:
        async with buses("a") as (a,), anyio.create_task_group() as group:

            async def closes() -> None:
                await until(lambda: system.attempts)
                await a.aclose()

            group.start_soon(closes)
            with anyio.fail_after(PATIENCE), pytest.raises(Closed):
                await a.reconfigure(system.coordinator, timeout=60)
        assert a.status().state == "CLOSED"


@simulated
async def test_closing_meanwhile_leaves_neither_of_two_links_that_hang() -> None:
    with FakeSystem(connect=[hangs]) as old, FakeSystem(close=[ignores_cancel]) as new:
        bus = Bus.open(old.coordinator, node="a")
        async with bus, anyio.create_task_group() as group:

            async def moves() -> None:
                with pytest.raises(Closed):
                    await bus.reconfigure(new.coordinator, timeout=60)

            group.start_soon(moves)
            await until(lambda: new.links)
            before = asyncio.get_running_loop().time()
            await bus.aclose()
            assert asyncio.get_running_loop().time() - before <= 2
            assert not new.links


@simulated
async def test_a_fatal_bus_is_mended_by_another_configuration() -> None:
    refused = raises(PermissionError("wrong password"))
    with (
        FakeSystem(connect=[refused], faults={PermissionError: Fault.AUTH}) as bad,
        FakeSystem() as good,
    ):
        async with Bus.open(bad.coordinator, node="a") as a:
            with pytest.raises(ConfigError, match="wrong password"):
                await a.ready()
            assert a.status().state == "FATAL"
            a.publish(Note(1))
            await a.reconfigure(good.coordinator)
            await a.ready()
            await a.flush()
            assert a.status().state == "READY"


async def moved(buses: list[Bus], to: FakeSystem, starts: list[float], timeout: float = 15) -> list[bool]:
    """Who is on the new system in the end, when each begins at its own time."""
    found = [False] * len(buses)

    async def moves(place: int) -> None:
        await asyncio.sleep(starts[place])
        with suppress(TimeoutError):
            await buses[place].reconfigure(to.coordinator, timeout)
            found[place] = True

    async with anyio.create_task_group() as group:
        for place in range(len(buses)):
            group.start_soon(moves, place)
    return found


LATE = [tenths / 10 for tenths in range(130, 181, 4)]
SCHEDULES = [[0.0, start] for start in LATE] + [[0.0, early, start] for early in (0, 8, 14) for start in LATE]


@pytest.mark.parametrize("starts", SCHEDULES, ids=str)
def test_late_or_not_at_all_they_end_on_one_system(starts: list[float]) -> None:
    """However they begin, also while the first one gives up: nobody is left alone on either side."""

    @simulated
    async def end_on_one_system() -> None:
        with FakeSystem() as old, FakeSystem() as new:
            cluster = cluster_name()
            async with AsyncExitStack() as stack:
                nodes = [
                    await stack.enter_async_context(Bus.open(old.coordinator, node=name, cluster=cluster))
                    for name in "abc"[: len(starts)]
                ]
                for node in nodes:
                    await node.ready(peers=len(nodes) - 1)
                found = await moved(nodes, new, starts)
        assert len(set(found)) == 1, found
        # Well before the end of the time they go, well after it they stay.
        assert found[0] or starts[-1] > 13
        assert not found[0] or starts[-1] < 16

    end_on_one_system()


@simulated
async def test_who_missed_it_hears_both_links_and_may_follow() -> None:
    with FakeSystem() as old, FakeSystem() as new:
        cluster = cluster_name()
        async with (
            Bus.open(old.coordinator, node="a", cluster=cluster) as a,
            Bus.open(old.coordinator, node="b", cluster=cluster) as b,
            Bus.open(old.coordinator, node="c", cluster=cluster) as c,
            c.subscribe(Note) as inbox,
        ):
            for bus in (a, b, c):
                await bus.ready(peers=2)

            async def publishes() -> None:
                for note in notes(1, 400):
                    a.publish(note)
                    await asyncio.sleep(0.1)

            async with anyio.create_task_group() as group:
                group.start_soon(publishes)
                assert await moved([a, b], new, [0, 1], timeout=10) == [False, False]
                assert [len(bus.status().links) for bus in (a, b, c)] == [1, 1, 1]
                assert await moved([a, b, c], new, [0, 0.5, 9], timeout=10) == [True, True, True]
            assert await take(inbox, 400) == notes(1, 400)
            assert not old.links
            assert all(peer.lost == 0 for bus in (a, b, c) for peer in bus.status().peers)


@simulated
async def test_who_dies_meanwhile_is_waited_for_until_the_end() -> None:
    """It may start again on the old link: only then is it known who has to give way."""
    with FakeSystem() as old, FakeSystem() as new:
        cluster = cluster_name()
        async with (
            Bus.open(old.coordinator, node="a", cluster=cluster) as a,
            Bus.open(old.coordinator, node="b", cluster=cluster) as b,
        ):
            await a.ready(peers=1)
            await b.ready(peers=1)
            # Its heart stops: no tick, no frame, no goodbye.
            (link,) = b._node.links  # pyright: ignore[reportPrivateUsage]  # a process cannot die in a test
            await link.stop(1)
            before = asyncio.get_running_loop().time()
            await a.reconfigure(new.coordinator, timeout=30)
            assert asyncio.get_running_loop().time() - before >= 30
            assert [state.state for state in a.status().peers] == ["DOWN"]


@simulated
async def test_who_says_goodbye_meanwhile_is_not_waited_for() -> None:
    with FakeSystem() as old, FakeSystem() as new:
        cluster = cluster_name()
        async with Bus.open(old.coordinator, node="a", cluster=cluster) as a:
            async with Bus.open(old.coordinator, node="b", cluster=cluster) as b:
                await a.ready(peers=1)
                await b.ready(peers=1)
                moving = asyncio.create_task(a.reconfigure(new.coordinator, timeout=60))
                await asyncio.sleep(2)
                assert not moving.done()
            before = asyncio.get_running_loop().time()
            await moving
            # With nobody to hear, the new link looks for others once, and is ready alone.
            assert asyncio.get_running_loop().time() - before < 15
