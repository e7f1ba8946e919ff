"""Bus.open() checks everything before any I/O, and says what was found and what is allowed."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from bus import Bus, ConfigError, Event, Limits, UnknownEventType, config, opening
from bus.backend import Features
from bus.config import Default, Disabled, Memory, Redis
from bus.testing.fake import FakeSystem
from tests.bus.cluster import PATIENCE, Note, Word, buses, cluster_name, rest, take, until

loops = pytest.mark.loops


@pytest.mark.parametrize(
    "source",
    ["memory://", {"@type": "Memory"}, '{"@type": "Memory"}', Memory()],
    ids=["url", "dict", "json", "variant"],
)
@loops
async def test_every_way_to_write_a_configuration_opens(source: object) -> None:
    cluster = cluster_name()
    async with (
        Bus.open(source, node="a", cluster=cluster) as a,
        Bus.open("memory://", node="b", cluster=cluster) as b,
        b.subscribe(Note) as inbox,
    ):
        await a.ready(PATIENCE, peers=1)
        a.publish(Note(1))
        assert await take(inbox, 1) == [Note(1)]


async def test_a_file_opens(tmp_path: Path) -> None:
    path = tmp_path / "bus.toml"
    path.write_text('[coordinator]\n"@type" = "Memory"\n')
    for source in (path, str(path)):
        async with Bus.open(source, cluster=cluster_name()) as a:
            await a.ready(PATIENCE)


def test_an_unknown_type_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        Bus.open({"@type": "Carrier-Pigeon"})
    text = str(caught.value)
    for known in ("Disabled", "Default", "Kafka", "Nats", "Zenoh", "Redis", "Memory"):
        assert known in text
    assert "Carrier-Pigeon" in text


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown scheme pigeon://") as caught:
        Bus.open("pigeon://somewhere")
    assert "zenoh://" in str(caught.value)


def test_a_missing_client_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zenoh", None)
    with pytest.raises(ConfigError) as caught:
        Bus.open("zenoh://")
    text = str(caught.value)
    assert "the Zenoh backend needs eclipse-zenoh, which is not installed" in text
    assert "pip install 'coordinator-bus[zenoh]'" in text


def test_a_type_without_an_installed_backend_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pigeon(config.Coordinator, frozen=True, kw_only=True):
        pass

    with pytest.raises(ConfigError) as caught:
        Bus.open(Pigeon())
    text = str(caught.value)
    assert "no backend for @type 'Pigeon' is installed" in text
    assert "Memory" in text
    assert "bus.backends" in text


@pytest.mark.parametrize("cluster", ["", "a b", "ä", "x" * 49, "a.b", None, 5])
def test_a_bad_cluster_is_refused(cluster: object) -> None:
    with pytest.raises(ConfigError, match=r"cluster is .*1 to 48 of the characters"):
        Bus.open("memory://", cluster=cluster)  # type: ignore[arg-type]  # an untyped caller


@pytest.mark.parametrize("node", ["", "x" * 129, "ä" * 65, 5])
def test_a_bad_node_name_is_refused(node: object) -> None:
    with pytest.raises(ConfigError, match=r"node is .*1 to 128 bytes"):
        Bus.open("memory://", node=node)  # type: ignore[arg-type]  # an untyped caller


async def test_the_default_name_is_host_and_process() -> None:
    async with Bus.open("memory://", cluster=cluster_name()) as a:
        assert a.status().node == f"{socket.gethostname()}:{os.getpid()}"


def test_bad_event_types_are_refused() -> None:
    class Twin(Event, tag="test.note"):
        pass

    with pytest.raises(UnknownEventType, match="used twice"):
        Bus.open("memory://", events=[Note, Twin])
    with pytest.raises(UnknownEventType, match="is no event type"):
        Bus.open("memory://", events=[Note, int])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # an untyped caller
    untyped: Any = Note
    with pytest.raises(UnknownEventType, match=r"write events=\[Note\]"):
        Bus.open("memory://", events=untyped)
    untyped = [Note(1)]
    with pytest.raises(UnknownEventType, match=r"events takes event types.*found an event"):
        Bus.open("memory://", events=untyped)
    # An iterator can be read but once.
    untyped = iter([Note, Twin])
    with pytest.raises(UnknownEventType, match="used twice"):
        Bus.open("memory://", events=untyped)


def test_a_key_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigError, match="openssl rand -hex 32"):
        Bus.open("memory://", key=b"secret")


async def test_two_clusters_of_one_process_do_not_meet() -> None:
    async with buses("a", "b"), buses("c", "d") as (c, d), d.subscribe(Note) as inbox:
        c.publish(Note(1))
        assert await take(inbox, 1) == [Note(1)]
        assert [peer.node for peer in d.status().peers] == ["c"]


# -- Disabled and Default --------------------------------------------------------------------------


@loops
async def test_disabled_is_a_bus_without_peers() -> None:
    async with Bus.open(Disabled(), node="a") as a, a.subscribe(Note, echo=True) as inbox:
        with anyio.fail_after(1):
            await a.ready()
            assert a.publish(Note(1)) == 1
            await a.flush()
            await a.room()
            confirmed = await a.confirm(1)
        assert (confirmed.heard, confirmed.missing) == (frozenset(), frozenset())
        assert await take(inbox, 1) == [Note(1)]
        status = a.status()
        assert (status.state, status.alone, status.links) == ("DISABLED", True, ())
        with pytest.raises(TimeoutError, match="0 of 1 peers"):
            await a.ready(0.01, peers=1)
        await a.aclose()
        assert await rest(inbox) == []
        assert a.status().state == "CLOSED"


@loops
async def test_disabled_keeps_no_more_than_the_log_holds() -> None:
    async with Bus.open(Disabled(), node="a", limits=Limits(log_events=100)) as a:
        for number in range(10_000):
            a.publish(Word(str(number)))
            if number % 100 == 0:
                await a.room()
        status = a.status()
        assert status.log_last == 10_000
        await until(lambda: a.status().log_last - a.status().log_first < 1_000)


def test_default_needs_a_store() -> None:
    with pytest.raises(ConfigError, match="no store was given") as caught:
        Bus.open(Default())
    assert "store=" in str(caught.value)
    with pytest.raises(ConfigError, match="the store is Memory"):
        Bus.open({"@type": "Default"}, store="memory://")


@pytest.mark.parametrize("store", [7, object(), socket.socket], ids=["number", "object", "class"])
def test_a_store_that_is_neither_configuration_nor_client_is_refused(store: object) -> None:
    with pytest.raises(ConfigError, match="the store is a builtins") as caught:
        Bus.open(Default(), store=store)
    for allowed in ("Redis", "RedisCluster", "RedisSentinel", "redis.Redis", "redis.asyncio"):
        assert allowed in str(caught.value)


@pytest.mark.parametrize(
    "store",
    [
        "redis+cluster://h:7000",
        {"@type": "RedisSentinel"},
        Redis(url="unix:///run/redis.sock"),
        '{"@type":"Redis"}',
    ],
    ids=["url", "dict", "variant", "json"],
)
def test_default_becomes_the_configuration_of_the_store(store: object) -> None:
    found = opening.coordinator_of(store, None)
    assert opening.coordinator_of(Default(), store) == found
    assert opening.coordinator_of({"@type": "Default"}, found) == found


def test_a_store_that_is_wrong_by_itself_is_told_so() -> None:
    with pytest.raises(ConfigError, match="poolMaxConnections"):
        Bus.open(Default(), store={"@type": "Redis", "poolMaxConnections": 0})


def test_a_store_counts_for_default_only() -> None:
    assert opening.coordinator_of("memory://", "redis://127.0.0.1") == Memory()


# -- the event loop --------------------------------------------------------------------------------


def test_a_backend_that_needs_asyncio_is_refused_on_trio_before_any_io() -> None:
    with FakeSystem(features=Features(asyncio_only=True)) as system:

        async def main() -> None:
            bus = Bus.open(system.coordinator, node="a")
            with pytest.raises(ConfigError, match=r"the Fake backend needs asyncio.*running trio"):
                async with bus:
                    pass
            async with Bus.open("memory://", node="a", cluster=cluster_name()) as other:
                with pytest.raises(ConfigError, match="needs asyncio"):
                    await other.reconfigure(system.coordinator)
                await other.ready(PATIENCE)

        anyio.run(main, backend="trio")
        assert not system.attempts


async def test_outside_of_an_event_loop_nothing_starts() -> None:
    def opens() -> None:
        bus = Bus.open("memory://", node="a", cluster=cluster_name())
        with pytest.raises(RuntimeError):
            bus.__aenter__().send(None)

    await anyio.to_thread.run_sync(opens)


async def test_a_later_default_is_the_store_of_open() -> None:
    async with Bus.open("memory://", store="redis://127.0.0.1:1") as bus:
        with pytest.raises(TimeoutError):
            await bus.reconfigure(Default(), timeout=0.1)
    async with Bus.open("memory://") as bus:
        with pytest.raises(ConfigError, match="no store was given"):
            await bus.reconfigure(Default(), timeout=0.1)


async def test_buses_of_one_process_have_names_of_their_own() -> None:
    cluster = cluster_name()
    own = f"{socket.gethostname()}:{os.getpid()}"
    first = Bus.open("memory://", cluster=cluster)
    second = Bus.open("memory://", cluster=cluster)
    async with first, second:
        assert (first.status().node, second.status().node) == (own, f"{own}.2")
        await first.ready(peers=1)
        await second.ready(peers=1)
    async with Bus.open("memory://", cluster=cluster) as third:
        assert third.status().node == own
