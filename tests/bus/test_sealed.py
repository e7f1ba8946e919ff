"""Buses with a cluster key (rule 18): who has only the broker's password changes nothing, and is counted.

The same on Memory and on real servers. The key is changed while events flow: by file, by restarts, by
reconfigure.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from bus import Bus, Change, ConfigError, Event, Loss, Up, node as node_module
from bus.config import File
from bus.protocol import frame as wire
from bus.testing.brokers import Broker
from tests.bus.cluster import Note, cluster_name, notes, take, until
from tests.bus.intruder import Intruder, intruder

KEY, NEW = "7c6f1b0c" * 8, "a90e33d1" * 8


@pytest.fixture(params=["memory", "nats_server", "redis_server"])
def url(request: pytest.FixtureRequest) -> str:
    """Of a system that others can reach, too."""
    if request.param == "memory":
        return "memory://"
    server: Broker = request.getfixturevalue(request.param)
    return server.url


@asynccontextmanager
async def sealed(url: str, *names: str, cluster: str, key: object = KEY) -> AsyncGenerator[list[Bus]]:
    """Buses with the key that know each other."""
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(Bus.open(url, node=name, cluster=cluster, key=key))
            for name in names
        ]
        for bus in opened:
            await bus.ready(peers=len(names) - 1)
        yield opened


def refused(bus: Bus) -> int:
    """How many frames it has refused; its own are none."""
    return sum(bus.status().refused.values())


async def recording(eve: Intruder, url: str, cluster: str) -> list[bytes]:
    """What two nodes said who are no more: hello, data, repeats, goodbye."""
    async with sealed(url, "a", "b", cluster=cluster) as (a, b):
        for number in range(50):
            a.publish(Note(number))
            b.publish(Note(number))
            await anyio.sleep(0.01)
        await a.confirm(50)
    await anyio.sleep(0.1)
    kinds = {wire.parse(frame).kind for frame in eve.frames}
    assert kinds >= {wire.DATA, wire.HEARTBEAT}
    assert all(wire.parse(frame).flags & wire.SEALED for frame in eve.frames)
    return eve.frames


def count_own(frames: Sequence[bytes], bus: Bus) -> int:
    """How many of them look like the node's own echo: these are dropped before anything else is looked at."""
    own = bus.status().epoch.to_bytes(8, "little")
    return sum(len(one) >= 40 and one[:2] == b"\x5c\xb0" and one[8:16] == own for one in frames)


def flipped(frames: Sequence[bytes], dice: random.Random) -> bytes:
    """One of them with one bit that is another."""
    damaged = bytearray(dice.choice(frames))
    damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def attack(recorded: Sequence[bytes], current: Sequence[bytes], count: int) -> Iterator[bytes]:
    """Random bytes, some with a good beginning; a recording of the dead; frames of the living, changed."""
    dice = random.Random(count)
    for number in range(count):
        if number % 3 == 0:
            start = dice.choice(current)[: dice.choice((0, 0, 4, 40, 52))]
            yield start + dice.randbytes(dice.randrange(1, 300))
        elif number % 3 == 1:
            yield dice.choice(recorded)
        else:
            yield flipped([*recorded, *current], dice)


async def test_ten_thousand_frames_without_the_key_are_counted_and_nothing_else(url: str) -> None:
    cluster = cluster_name()
    async with intruder(url, cluster) as eve:
        recorded = await recording(eve, url, cluster)
        async with sealed(url, "a", "b", cluster=cluster) as (a, b), AsyncExitStack() as stack:
            inboxes = [await stack.enter_async_context(bus.subscribe(Note)) for bus in (a, b)]
            a.publish(Note(1))
            b.publish(Note(1))
            for inbox in inboxes:
                assert await take(inbox, 1) == [Note(1)]
            current = eve.frames[len(recorded) :]
            before = [refused(bus) for bus in (a, b)]
            members = [bus.status().peers for bus in (a, b)]
            frames = list(attack(recorded, current, 10_000))
            await eve.send(frames)
            for bus, count in zip((a, b), before, strict=True):
                due = count + 10_000 - count_own(frames, bus)
                await until(lambda bus=bus, due=due: refused(bus) >= due)  # type: ignore[misc]
                assert refused(bus) == due, bus.status().refused
            a.publish(Note(2))
            b.publish(Note(2))
            for inbox, bus, peers in zip(inboxes, (a, b), members, strict=True):
                assert await take(inbox, 1) == [Note(2)]
                status = bus.status()
                assert status.state == "READY"
                assert [peer.epoch for peer in status.peers] == [peer.epoch for peer in peers]
                assert [peer.lost for peer in status.peers] == [0]
                assert set(status.refused) >= {"unsealed", "forged", "replayed"}


async def test_a_recording_of_the_dead_means_nothing_to_a_node_that_just_started(url: str) -> None:
    cluster = cluster_name()
    async with intruder(url, cluster) as eve:
        recorded = await recording(eve, url, cluster)
        async with sealed(url, "c", cluster=cluster) as (c,), c.subscribe(Note) as inbox:
            changes: list[Change] = []

            async def note_changes() -> None:
                async for change in c.membership():
                    changes.append(change)  # noqa: PERF401  # looked at while it goes on

            async with anyio.create_task_group() as group:
                group.start_soon(note_changes)
                for _ in range(3):
                    await eve.send(recorded)
                    await anyio.sleep(0.2)
                await until(lambda: refused(c) >= 3 * len(recorded))
                assert not c.status().peers
                assert c.status().state == "READY"
                # ... and neither when somebody is there.
                async with sealed(url, "d", cluster=cluster) as (d,):
                    await eve.send(recorded)
                    d.publish(Note(99))
                    assert await take(inbox, 1) == [Note(99)]
                    assert changes == [Up("d", d.status().epoch)]
                group.cancel_scope.cancel()


async def test_what_the_living_said_is_delivered_once_however_often_it_is_sent(url: str) -> None:
    cluster = cluster_name()
    async with intruder(url, cluster) as eve, sealed(url, "a", "b", cluster=cluster) as (a, b):
        async with b.subscribe(Note) as inbox:
            for note in notes(1, 200):
                a.publish(note)
            assert await take(inbox, 200) == notes(1, 200)
            for _ in range(3):
                await eve.send(eve.frames)
            a.publish(Note(201))
            assert await take(inbox, 1) == [Note(201)]
        (peer,) = b.status().peers
        assert (peer.delivered, peer.lost) == (201, 0)
        assert peer.duplicates >= 200


async def test_nodes_without_the_key_are_told_once_and_stay_outside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = cluster_name()
    async with sealed("memory://", "a", "b", cluster=cluster) as (a, b), b.subscribe(Note) as inbox:
        with caplog.at_level(logging.WARNING, "bus"):
            async with (
                Bus.open("memory://", node="c", cluster=cluster) as c,
                Bus.open("memory://", node="d", cluster=cluster, key=NEW) as d,
                c.subscribe(Note) as heard,
            ):
                await d.ready()
                c.publish(Note(7))
                d.publish(Note(8))
                a.publish(Note(9))
                await until(lambda: a.status().refused.get("unsealed", 0) > 2, 10)
                await until(lambda: c.status().refused.get("sealed", 0) > 2, 10)
                with pytest.raises(
                    TimeoutError,
                    match=r'0 of 1 peers.* refused as "sealed": is the cluster key the same on all nodes',
                ):
                    await c.ready(0.2, peers=1)
                assert await take(inbox, 1) == [Note(9)]
                assert len(a.status().peers) == len(b.status().peers) == 1
                assert not c.status().peers
                assert not d.status().peers
                a.publish(Note(10))
                assert await take(inbox, 1) == [Note(10)]
                with anyio.move_on_after(0.1):
                    assert not await heard.batch()
    said = [record.getMessage() for record in caplog.records]
    assert sum("has no cluster key" in text for text in said) == 1  # c
    assert sum("frames without the cluster key come" in text for text in said) == 3  # a, b and d, once each
    assert not any(KEY in text or NEW in text for text in said)


# -- another key -----------------------------------------------------------------------------------


class Steady(Event, tag="test.steady"):
    node: str
    number: int


class Chorus:
    """Nodes that all publish all the time and write down what they hear."""

    def __init__(self) -> None:
        self.heard: dict[str, list[Event | Loss]] = {}
        self.sent: dict[str, int] = {}
        self.is_over = False

    async def sing(self, bus: Bus, name: str) -> None:
        while not self.is_over:
            self.sent[name] = self.sent.get(name, 0) + 1
            bus.publish(Steady(name, self.sent[name]))
            await anyio.sleep(0.003)

    async def listen(self, bus: Bus, name: str) -> None:
        async with bus.subscribe(Steady) as inbox:
            async for item in inbox:
                self.heard.setdefault(name, []).append(item)

    def is_complete(self, names: Sequence[str]) -> bool:
        """Everybody has everything of everybody else, in order, and nothing was told lost."""
        return all(
            self.of(one, other) == list(range(1, self.sent[other] + 1))
            for one in names for other in names if one != other
        )  # fmt: skip

    def of(self, one: str, other: str) -> list[int]:
        return [
            item.number for item in self.heard.get(one, [])
            if isinstance(item, Steady) and item.node == other
        ]  # fmt: skip

    def losses(self) -> list[Loss]:
        return [item for items in self.heard.values() for item in items if isinstance(item, Loss)]


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "LOOK_AT_KEY", 0.03)


def keys_in(path: Path, *keys: str) -> None:
    """As an operator does: a new file in the place of the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(f"{key}\n" for key in keys))
    fresh.chmod(0o600)
    fresh.replace(path)


async def test_the_key_is_changed_by_its_file_under_load(
    tmp_path: Path, looks_often: None, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("a", "b", "c")
    files = {name: tmp_path / name for name in names}
    for path in files.values():
        keys_in(path, KEY)
    cluster, chorus = cluster_name(), Chorus()
    async with AsyncExitStack() as stack:
        buses = {
            name: await stack.enter_async_context(
                Bus.open("memory://", node=name, cluster=cluster, key=File(str(files[name])))
            )
            for name in names
        }
        for bus in buses.values():
            await bus.ready(peers=2)
        async with anyio.create_task_group() as group:
            for name, bus in buses.items():
                group.start_soon(chorus.listen, bus, name)
            await anyio.sleep(0.05)
            for name, bus in buses.items():
                group.start_soon(chorus.sing, bus, name)
            for keys in ((KEY, NEW), (NEW, KEY), (NEW,)):
                for name in names:
                    with caplog.at_level(logging.INFO, "bus"):
                        caplog.clear()
                        keys_in(files[name], *keys)
                        await until(lambda name=name: f"{name} has a renewed cluster key" in caplog.text)  # type: ignore[misc]
                    await anyio.sleep(0.1)
            # A file that cannot be used changes nothing.
            caplog.clear()
            files["a"].write_text("short\n")
            await until(lambda: "a keeps its cluster key" in caplog.text)
            assert "has fewer than 16 bytes" in caplog.text
            chorus.is_over = True
            await until(lambda: chorus.is_complete(names), 10)
            group.cancel_scope.cancel()
        assert not chorus.losses()
        for bus in buses.values():
            assert not {"key", "forged", "unsealed"} & set(bus.status().refused)
            assert all(peer.lost == 0 for peer in bus.status().peers)


async def test_the_key_is_changed_by_restarts_one_by_one_under_load() -> None:
    names = ("a", "b", "c")
    cluster = cluster_name()
    heard: dict[str, list[Event | Loss]] = {name: [] for name in names}
    opened: dict[str, tuple[Bus, anyio.CancelScope]] = {}
    first: dict[str, Bus] = {}

    async def run(name: str, key: object, ended: anyio.Event) -> None:
        with anyio.CancelScope() as scope:
            async with Bus.open("memory://", node=name, cluster=cluster, key=key) as bus:
                opened[name] = bus, scope
                async with bus.subscribe(Note) as inbox, anyio.create_task_group() as group:

                    async def listen() -> None:
                        async for item in inbox:
                            heard[name].append(item)

                    group.start_soon(listen)
                    await bus.ready(peers=len(opened) - 1)
                    first[name] = bus
                    while True:
                        bus.publish(Note(1))
                        await anyio.sleep(0.005)
        ended.set()

    async with anyio.create_task_group() as group:
        ends: dict[str, anyio.Event] = {}
        for name in names:
            ends[name] = anyio.Event()
            group.start_soon(run, name, [KEY], ends[name])
        await until(lambda: len(first) == 3)
        for key in ([KEY, NEW], [NEW, KEY], [NEW]):
            for name in names:
                opened[name][1].cancel()
                await ends[name].wait()
                del first[name]
                ends[name] = anyio.Event()
                group.start_soon(run, name, key, ends[name])
                await until(lambda name=name: name in first)  # type: ignore[misc]
                await anyio.sleep(0.05)
        for bus, _ in opened.values():
            assert not {"key", "forged", "unsealed"} & set(bus.status().refused)
            for peer in bus.status().peers:
                assert peer.lost == 0
                assert peer.state == "ENDED" or peer.delivered > 0
        group.cancel_scope.cancel()
    assert not [item for items in heard.values() for item in items if isinstance(item, Loss)]


async def test_reconfigure_reads_the_key_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_name()
    monkeypatch.setenv("TEST_CLUSTER_KEY", KEY)
    key = {"@type": "EnvironmentVariable", "variableName": "TEST_CLUSTER_KEY"}
    async with sealed("memory://", "a", "b", cluster=cluster, key=key) as (a, b), b.subscribe(Note) as inbox:
        monkeypatch.setenv("TEST_CLUSTER_KEY", "short")
        with pytest.raises(ConfigError, match="the variable TEST_CLUSTER_KEY"):
            await a.reconfigure("memory://")
        for keys in (f"{KEY}\n{NEW}", f"{NEW}\n{KEY}", NEW):
            monkeypatch.setenv("TEST_CLUSTER_KEY", keys)
            for bus in (a, b):
                await bus.reconfigure("memory://")
        a.publish(Note(1))
        assert await take(inbox, 1) == [Note(1)]
        async with Bus.open("memory://", node="c", cluster=cluster, key=NEW) as c:
            await c.ready(peers=2)
