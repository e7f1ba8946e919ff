"""Cases of the matrix whose mechanism is in the core or around it: on Memory, on NATS and on Zenoh.

What needs a process of its own is in test_processes.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest

from bus import Bus, Event, Gap, Loss, Overflow, Resync
from bus.protocol import control, frame as wire
from bus.testing.brokers.broker import Broker
from bus.testing.conformance.cluster import Node, all_heard, cluster_name, nodes
from bus.testing.conformance.harness import Harness
from bus.testing.conformance.station import Station, until

SYSTEMS = ("memory", "nats", "zenoh")
SECONDS = 10.0
BACK = 6.0


@pytest.fixture(params=SYSTEMS)
def harness(request: pytest.FixtureRequest) -> Harness:
    """One of the three systems."""
    return harness_of(request.param, request)


def harness_of(system: str, request: pytest.FixtureRequest) -> Harness:
    if system == "nats":
        server: Broker = request.getfixturevalue("nats_server")
        return Harness(coordinator=lambda: server.url)
    return Harness(coordinator=lambda: f"{system}://")


@pytest.fixture
def all_three(request: pytest.FixtureRequest) -> list[Harness]:
    """For what takes long: the three systems in one test."""
    return [harness_of(system, request) for system in SYSTEMS]


@asynccontextmanager
async def pairs_on(harnesses: list[Harness]) -> AsyncGenerator[list[list[Node]]]:
    """Two nodes on each."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(nodes(harness, 2)) for harness in harnesses]


def connects(node: Node) -> list[int]:
    """How often each link of it was made."""
    return [link.connects for link in node.bus.status().links]


class Note(Event, tag="everywhere.note"):
    number: int


class Old(Event, tag="everywhere.shape"):
    number: int


# The same type in the next release: one more field at the end.
class New(Event, tag="everywhere.shape"):
    number: int
    more: str = "more"


class Unknown(Event, tag="everywhere.unknown"):
    number: int


# -- load and resources (36 to 49) -----------------------------------------------------------------


async def test_a_slow_reader_is_told_exactly_what_it_missed(harness: Harness) -> None:
    """36. Who reads at once has everything."""
    async with nodes(harness, 2) as (sender, reader):
        got: list[int] = []
        reader.bus.on(Note, lambda note: got.append(note.number))
        async with reader.bus.subscribe(Note, capacity=100) as slow:
            for number in range(5_000):
                sender.bus.publish(Note(number))
            await until(lambda: len(got) == 5_000, SECONDS, lambda: f"{len(got)} came")
            assert got == list(range(5_000))
            waiting = await slow.batch()
            kept = [item.number for item in waiting if isinstance(item, Note)]
            missed = sum(item.count for item in waiting if isinstance(item, Overflow))
            assert kept == list(range(5_000 - len(kept), 5_000))
            assert (len(kept) + missed, len(kept) <= 100) == (5_000, True)


async def test_handlers_that_raise_or_hang_or_are_cancelled_hurt_nobody_else(harness: Harness) -> None:
    """37."""
    async with nodes(harness, 2) as (sender, reader):
        got: list[int] = []

        def fails(note: Note) -> None:
            raise RuntimeError(f"no {note.number}")

        async def hangs() -> None:
            async with reader.bus.subscribe(Note) as inbox:
                await anext(inbox)
                await asyncio.Event().wait()

        failing = reader.bus.on(Note, fails)
        reader.bus.on(Note, lambda note: got.append(note.number))
        hanging = [asyncio.create_task(hangs()) for _ in range(3)]
        await asyncio.sleep(0)
        for number in range(200):
            sender.bus.publish(Note(number))
        await until(lambda: len(got) == 100 or len(got) == 200, SECONDS, lambda: f"{len(got)} came")
        hanging[0].cancel()
        sender.bus.publish(Note(200))
        await until(lambda: got == list(range(201)), SECONDS, lambda: f"{len(got)} came")
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)
        failing.close()


@pytest.mark.timeout(60)
async def test_a_loop_that_stands_still_for_five_seconds_is_no_dead_broker(
    all_three: list[Harness],
) -> None:
    """40."""
    async with pairs_on(all_three) as pairs:
        time.sleep(5)  # noqa: ASYNC251  # that is the fault
        for harness, pair in zip(all_three, pairs, strict=True):
            for node in pair:
                node.publish(10)
            await all_heard(harness, pair, SECONDS)
            for node in pair:
                await node.bus.ready(BACK, peers=1)
                assert connects(node) == [1]


@pytest.mark.timeout(60)
async def test_a_hundred_thousand_events_of_one_tick_are_delivered_or_told(harness: Harness) -> None:
    """41."""
    async with nodes(harness, 2) as (sender, reader):
        count = lost = 0

        def take(note: Note) -> None:
            nonlocal count
            count += 1

        def lose(loss: Loss) -> None:
            nonlocal lost
            assert isinstance(loss, Gap), loss
            lost += loss.count

        reader.bus.on(Note, take, on_loss=lose)
        for number in range(100_000):
            sender.bus.publish(Note(number))
        await until(lambda: count + lost >= 100_000, 3 * SECONDS, lambda: f"{count} came, {lost} told")
        assert count + lost == 100_000


async def test_subscribing_and_leaving_ten_thousand_times_leaves_nothing(harness: Harness) -> None:
    """42. A thousand at the same time get everything; all of it is one subscription at the broker."""
    async with nodes(harness, 2) as (sender, reader):
        for _ in range(10_000):
            reader.bus.on(Note, lambda note: None).close()
        got = [0] * 1_000

        def taker(at: int) -> Callable[[Note], None]:
            def take(note: Note) -> None:
                got[at] += 1

            return take

        handles = [reader.bus.on(Note, taker(at)) for at in range(1_000)]
        for number in range(10):
            sender.bus.publish(Note(number))
        await until(lambda: set(got) == {10}, SECONDS, lambda: f"{min(got)} to {max(got)} came")
        for handle in handles:
            handle.close()
        assert connects(reader) == [1]
        for number in range(10):
            reader.bus.publish(Note(number))
        await sender.bus.flush(SECONDS)
        assert set(got) == {10}


async def test_a_full_pool_of_threads_holds_up_neither_opening_nor_closing(harness: Harness) -> None:
    """49."""
    import threading

    release = threading.Event()
    loop = asyncio.get_running_loop()
    busy = [loop.run_in_executor(None, release.wait, 30) for _ in range(64)]
    try:
        async with nodes(harness, 2) as pair:
            pair[0].publish(10)
            await all_heard(harness, pair)
            started = loop.time()
            for node in pair:
                await node.bus.aclose()
            assert loop.time() - started <= 4.0
    finally:
        release.set()
        await asyncio.gather(*busy)


# -- malformed input and versions (50 to 55) -------------------------------------------------------


@asynccontextmanager
async def vandal(harness: Harness, cluster: str) -> AsyncGenerator[Station]:
    """Somebody on our channel who sends bytes."""
    station = Station(harness, f"bus.{cluster}", "vandal")
    try:
        await station.connect()
        yield station
    finally:
        await station.drop()


def nonsense(genuine: bytes) -> Iterator[bytes]:
    """What a stranger may send: garbage, bombs, and a frame of ours with bits flipped or cut anywhere."""
    noise = Random(50)
    yield from (noise.randbytes(size) for size in (1, 39, 40, 41, 500, 60_000))
    yield bytes(60_000)
    ghost = noise.getrandbits(62)
    beat = control.Heartbeat(name="ghost", counter=1, uptime_us=0, last=3, sent=3)
    yield wire.pack(wire.HEARTBEAT, 0, ghost, 1, control.encode(beat))
    bombs = (b"\x91" * 50_000, b"\xff\xff\xff\xff", b"\xa2\xff\xff")
    for number, bomb in enumerate(bombs, start=1):
        yield wire.pack_events(ghost, number, 10 + number, [bomb])
        yield wire.pack(wire.HEARTBEAT, 0, ghost + 1, number, bomb)
    for bit in range(8 * len(genuine)):
        flipped = bytearray(genuine)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    yield from (genuine[:size] for size in range(1, len(genuine)))


@pytest.mark.timeout(60)
async def test_nonsense_on_the_channel_delivers_nothing_and_harms_nothing(harness: Harness) -> None:
    """50, 51, 52."""
    async with nodes(harness, 2) as pair, vandal(harness, pair[0].cluster) as station:
        one, other = pair
        genuine = wire.pack_events(one.bus.status().epoch, 1, 1, [b"\x93\xa4note\x01\xa3abc"])
        for frame in nonsense(genuine):
            await station.send(frame)
        for node in pair:
            node.publish(100)
        await until(
            lambda: other.count(one) == one.count(other) == 100, SECONDS,
            lambda: f"{other.count(one)} and {one.count(other)} came",
        )  # fmt: skip
        other.check_order(one)
        epoch = one.bus.status().epoch
        assert not [x for x in other.losses if isinstance(x, Gap | Resync) and x.epoch == epoch]
        assert {peer.node for peer in other.bus.status().peers} <= {one.name, "ghost"}
        assert connects(one) == [1]


async def test_what_is_known_of_a_newer_release_is_delivered(harness: Harness) -> None:
    """53, 54: a field more, a type more, in both directions."""
    cluster, coordinator = cluster_name(), harness.coordinator
    async with (
        Bus.open(coordinator(), node="old", cluster=cluster, events=(Old,)) as old,
        Bus.open(coordinator(), node="new", cluster=cluster, events=(New, Unknown)) as new,
        old.subscribe(Old) as of_old,
        new.subscribe(New) as of_new,
    ):
        await old.ready(SECONDS, peers=1)
        await new.ready(SECONDS, peers=1)
        for number in range(50):
            new.publish(Unknown(number))
            new.publish(New(number, "x"))
            old.publish(Old(number))
        assert [await anext(of_old) for _ in range(50)] == [Old(number) for number in range(50)]
        assert [await anext(of_new) for _ in range(50)] == [New(number) for number in range(50)]


async def test_numbers_that_jump_or_wrap_cost_no_memory_and_no_event(harness: Harness) -> None:
    """55: of a ghost, which says that it has sent more than anybody could keep."""
    async with nodes(harness, 2) as pair, vandal(harness, pair[0].cluster) as station:
        one, other = pair
        ghost = Random(55).getrandbits(62)
        event = b"\x93\xbabus.testing.note\xa5ghost\x01"
        for at, last in enumerate([1 << 40, 1, (1 << 63) - 2, 1 << 62], start=1):
            beat = control.Heartbeat(name="ghost", counter=at, uptime_us=0, last=last, sent=last)
            await station.send(wire.pack(wire.HEARTBEAT, 0, ghost, 10 * at, control.encode(beat)))
            for first in (last, max(1, last - 1_000), 1):
                await station.send(wire.pack_events(ghost, first, 10 * at + 1, [event]))
        for node in pair:
            node.publish(100)
        await until(
            lambda: other.count(one) == one.count(other) == 100, SECONDS,
            lambda: f"{other.count(one)} and {one.count(other)} came",
        )  # fmt: skip
        other.check_order(one)
        epochs = {one.bus.status().epoch, other.bus.status().epoch}
        for node in pair:
            assert len(node.losses) < 20
            assert not [x for x in node.losses if isinstance(x, Gap | Resync) and x.epoch in epochs]


# -- time, cancellation, runtime (69 to 80) --------------------------------------------------------


@pytest.mark.timeout(60)
async def test_a_wall_clock_that_jumps_two_days_changes_nothing(
    all_three: list[Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """69."""
    true = time.time
    async with pairs_on(all_three) as pairs:
        for days in (2, -2):
            monkeypatch.setattr(time, "time", lambda days=days: true() + days * 86_400)
            await asyncio.sleep(1.5)
            for harness, pair in zip(all_three, pairs, strict=True):
                for node in pair:
                    node.publish(10)
                await all_heard(harness, pair)
                assert [connects(node) for node in pair] == [[1], [1]]
        monkeypatch.undo()


@pytest.mark.timeout(90)
async def test_a_bus_that_is_cancelled_anywhere_ends_at_once_and_leaves_nothing(harness: Harness) -> None:
    """71: after each step of the loop, and then at more and more distant moments."""
    cluster = cluster_name()

    async def life() -> None:
        async with (
            Bus.open(harness.coordinator(), node="a", cluster=cluster) as bus,
            bus.subscribe(Note) as inbox,
        ):
            await bus.ready(SECONDS)
            bus.publish(Note(1))
            await bus.room()
            await bus.flush(SECONDS)
            await bus.confirm(1, 0.01)
            await anext(inbox)

    async def steps(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    moments: list[Callable[[], Awaitable[object]]] = [
        *(lambda count=count: steps(count) for count in range(24)),
        *(lambda seconds=seconds: asyncio.sleep(seconds) for seconds in (0.001, 0.01, 0.03, 0.1, 0.3)),
    ]  # fmt: skip
    for wait in moments:
        task = asyncio.create_task(life())
        await wait()
        task.cancel()
        _, late = await asyncio.wait({task}, timeout=4.0)
        assert not late, "it goes on"
        assert task.cancelled()
    # Nothing of all that is in the way of the next one.
    async with nodes(harness, 2, cluster) as pair:
        pair[0].publish(10)
        await all_heard(harness, pair)


@pytest.mark.parametrize("call", ["send", "run"])
@pytest.mark.parametrize("error", [asyncio.CancelledError, ValueError], ids=["cancelled", "raises"])
async def test_what_a_library_throws_at_us_costs_a_new_link_and_no_event(
    harness: Harness, call: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """72, 73."""
    async with nodes(harness, 2) as pair:
        one = pair[0]
        (link,) = one.bus._node.links  # pyright: ignore[reportPrivateUsage]  # there is no other way to it
        kind = type(link._link)  # pyright: ignore[reportPrivateUsage]  # as above
        true = getattr(kind, call)
        thrown: list[object] = []

        async def throws(self: object, *arguments: object) -> object:
            if not thrown:
                thrown.append(self)
                raise error("out of the library")
            return await true(self, *arguments)

        monkeypatch.setattr(kind, call, throws)
        if call == "run":
            # It is entered when a link is made.
            link._link.abort()  # type: ignore[union-attr]  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]  # as above
        one.publish(1)
        await until(lambda: thrown, SECONDS, "nothing was thrown")
        one.publish(50)
        await until(lambda: pair[1].count(one) == 51, 2 * SECONDS, lambda: f"{pair[1].count(one)} came")
        assert not pair[1].losses
        await one.bus.ready(BACK, peers=1)


async def test_what_was_published_right_before_the_end_is_delivered(harness: Harness) -> None:
    """80."""
    async with nodes(harness, 2) as (one, other):
        one.publish(1_000)
        await one.bus.aclose()
        await until(lambda: other.count(one) == 1_000, SECONDS, lambda: f"{other.count(one)} came")
        other.check_order(one)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("system", "count"), [("memory", 50), ("nats", 16), ("zenoh", 8)])
async def test_many_nodes_on_one_system_stay_ready(
    system: str, count: int, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """79: many, and one alone."""
    harness, cluster = harness_of(system, request), cluster_name()
    async with AsyncExitStack() as stack:
        buses = [
            await stack.enter_async_context(
                Bus.open(harness.coordinator(), node=f"node-{number}", cluster=cluster)
            )
            for number in range(count)
        ]
        for bus in buses:
            await bus.ready(3 * SECONDS, peers=count - 1)
        started, used = time.monotonic(), time.process_time()
        await asyncio.sleep(3)
        share = (time.process_time() - used) / (time.monotonic() - started) / count
        record_property("note", f"{count} nodes, {share:.2%} of a CPU each when idle")
        assert {bus.status().state for bus in buses} == {"READY"}
        assert {len(bus.status().peers) for bus in buses} == {count - 1}
        assert {link.connects for bus in buses for link in bus.status().links} == {1}
    async with Bus.open(harness.coordinator(), cluster=cluster_name()) as alone:
        await alone.ready(SECONDS)
        assert alone.status().alone
