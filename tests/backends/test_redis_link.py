"""A Redis link on bad wires, its clocks, its end; and the sharded channel whose slot moves."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from bus import Bus, ConfigError
from bus.config import Uri
from bus.errors import LinkError
from bus.testing.brokers.certificates import Certificates
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.process import until as wait_until
from bus.testing.brokers.redis import RedisServer
from bus.testing.brokers.redis_cluster import RedisCluster
from bus.testing.brokers.resp import slot_of
from bus.testing.conformance.cluster import all_heard, all_ready, cluster_name, fresh_both_ways, node
from bus.testing.conformance.harness import Harness
from bus.testing.conformance.station import numbered, until
from bus.testing.proxy import Proxy, Toxics
from bus_redis.connection import parse
from tests.backends.redis_kit import (
    CHANNEL,
    SECONDS,
    End,
    asked,
    clients,
    cluster,
    ends,
    hears,
    redis,
    script,
)

loops = pytest.mark.loops
WIRES = ("_hearing", "_publishing")
RESP = pytest.mark.parametrize("version", [2, 3])


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", redis_server.port)) as made:
        yield made


def at(proxy: Proxy, version: int = 2, **fields: object) -> dict[str, object]:
    return redis(f"redis://{proxy.address}?protocol={version}", **fields)


# -- before anything is opened ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "address", "shown", "options"),
    [
        ("redis://h", ("h", 6379), "h:6379", {"db": "0"}),
        ("redis://h/3?db=4", ("h", 6379), "h:6379", {"db": "4"}),
        (
            "valkeys://u%3A:p%40%2F@[::1]:7/2",
            ("::1", 7),
            "[::1]:7",
            {"db": "2", "username": "u:", "password": "p@/"},
        ),
        ("redis://:p@h?username=u", ("h", 6379), "h:6379", {"db": "0", "username": "u", "password": "p"}),
        ("unix:///run/my%20redis?db=1", ("/run/my redis", 0), "/run/my redis", {"db": "1"}),
    ],
)
def test_a_uri_is_an_address_and_options(
    uri: str, address: tuple[str, int], shown: str, options: dict[str, str]
) -> None:
    found, given = parse(Uri(uri), 6379)
    assert (found, str(found), given) == (address, shown, options)


def test_a_missing_parser_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hiredis", None)
    for url in "redis://h", "redis+cluster://h", "redis+sentinel://h":
        with pytest.raises(ConfigError, match=r"needs hiredis.*pip install 'coordinator-bus\[redis\]'"):
            Bus.open(url)


# -- bytes -----------------------------------------------------------------------------------------


@RESP
@loops
async def test_frames_arrive_whole_however_they_are_cut(proxy: Proxy, version: int) -> None:
    frames = [bytes(range(256)) * 4, b"", b"\r\n$5\r\n*3\r\n", b"x" * 5_000]
    async with ends(at(proxy, version), at(proxy, version)) as (one, other):
        proxy.up = proxy.down = Toxics(slice=1)
        for frame in frames:
            await one.link.send(frame)
        for end in one, other:
            await until(lambda: len(end.heard) == len(frames), 20, "not all frames came")  # noqa: B023  # at once
            assert end.heard == frames
        assert {type(frame) for frame in other.heard} == {bytes}


@RESP
@pytest.mark.parametrize("limit", [1, 30, 70, 500, 1_050])
async def test_a_connection_that_is_cut_inside_of_a_frame_delivers_nothing_of_it(
    redis_server: RedisServer, proxy: Proxy, version: int, limit: int
) -> None:
    async with ends(at(proxy, version), redis_server.url) as (cut, sender):
        proxy.down = Toxics(limit=limit)
        await sender.link.send(b"x" * 1_000)
        await hears(sender, b"x" * 1_000)
        error = await cut.ended()
        assert isinstance(error, LinkError)
        assert cut.heard in ([], [b"x" * 1_000])
        # Whoever is the first to notice, the status says why.
        with pytest.raises(LinkError) as caught:
            await cut.link.send(b"more")
        assert caught.value is error


async def test_bytes_that_make_no_sense_end_the_link(redis_server: RedisServer, proxy: Proxy) -> None:
    async with ends(at(proxy), redis_server.url) as (damaged, sender):
        proxy.down = Toxics(corrupt=0)
        await sender.link.send(b"hello")
        error = await damaged.ended()
        assert isinstance(error, LinkError)
        assert "protocol of Redis" in str(error)
        assert not damaged.heard


@pytest.fixture
def secured(broker_of: BrokerFactory, tmp_path: Path) -> dict[str, object]:
    """The configuration for a server with TLS."""
    certificates = Certificates(tmp_path)
    server = broker_of(RedisServer, tls=certificates.server)
    return redis(server.url, tlsCa=str(certificates.ca))


@loops
async def test_tls_and_unix_sockets_work_on_each_loop(
    secured: dict[str, object], redis_server: RedisServer
) -> None:
    for source in secured, redis(f"unix://{redis_server.socket}"):
        async with ends(source, source) as (one, other):
            for number in range(100):
                await one.link.send(numbered(number, 10_000))
            await hears(other, numbered(99, 10_000))
            await other.link.send(b"back")
            await hears(one, b"back")


async def test_nothing_blocks_the_loop(secured: dict[str, object], nothing_blocks: BlockBuster) -> None:
    async with ends(secured) as (end,):
        await end.link.send(b"hello")
        await hears(end, b"hello")
        await end.link.close()


# -- clocks ----------------------------------------------------------------------------------------


async def test_who_was_frozen_does_not_judge(redis_server: RedisServer) -> None:
    """The answers came while nobody read them."""
    limits = {"poolTimeoutWait": 200, "poolTimeoutRecycle": 200}
    async with ends(redis(redis_server.url, **limits)) as (end,):
        for _ in range(5):
            await end.link.send(b"hello")
            await asyncio.sleep(0.06)
            time.sleep(0.5)  # noqa: ASYNC251  # the loop stands still, as in a frozen process
            await asyncio.sleep(0)
        assert not end.is_over


async def test_the_system_gives_up_what_is_not_acknowledged(redis_server: RedisServer) -> None:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("this system has no TCP_USER_TIMEOUT")
    async with ends(redis_server.url) as (end,):
        wires: list[Any] = [wire for name, wire in vars(end.link).items() if name in WIRES]
        for wire in wires:
            own: socket.socket = wire._transport.get_extra_info("socket")
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
            assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert len(wires) == 2


# -- its end ---------------------------------------------------------------------------------------


async def test_close_waits_for_the_replies(redis_server: RedisServer, proxy: Proxy) -> None:
    async with ends(at(proxy), redis_server.url) as (one, other):
        proxy.down = Toxics(delay=0.2)
        for number in range(20):
            await one.link.send(numbered(number))
        started = time.monotonic()
        await one.link.close()
        assert 0.15 <= time.monotonic() - started < 1
        assert one.recorder.confirmed == 20
        await hears(other, numbered(19))


async def test_a_closing_link_takes_nothing_more(proxy: Proxy) -> None:
    async with ends(at(proxy)) as (end,):
        proxy.down = Toxics(delay=0.2)
        await end.link.send(b"last")
        closing = asyncio.create_task(end.link.close())
        await asyncio.sleep(0)
        with pytest.raises(LinkError):
            await end.link.send(b"too late")
        await closing


@RESP
async def test_the_end_of_either_connection_is_the_end_of_the_link(
    redis_server: RedisServer, version: int
) -> None:
    for number in (0, 1):
        async with ends(redis(f"{redis_server.url}?protocol={version}")) as (end,):
            ours = await clients(redis_server)
            await asked(redis_server, "CLIENT", "KILL", "ID", ours[number]["id"])
            assert isinstance(await end.ended(), LinkError)
            while await clients(redis_server):
                await asyncio.sleep(0.01)


async def test_the_server_lists_us_by_the_name_of_our_node(redis_server: RedisServer) -> None:
    async with Bus.open(redis_server.url, node="host 1:ü/x", cluster=cluster_name()) as bus:
        await bus.ready(SECONDS)
        assert len(await clients(redis_server, "bus:host_1:_/x")) == 2


@pytest.mark.timeout(60)
async def test_a_node_that_reads_too_slowly_is_kicked_out_and_loses_nothing(broker_of: BrokerFactory) -> None:
    """The server drops who does not read; repair fetches what was in its buffer."""
    server = broker_of(RedisServer, options=["--client-output-buffer-limit", "pubsub 1mb 512kb 1"])
    name = cluster_name()
    harness = Harness(coordinator=lambda: server.url)
    with Proxy(("127.0.0.1", server.port)) as proxy:
        async with (
            node(harness, "quick", name) as quick,
            node(harness, "slow", name, f"redis://{proxy.address}") as slow,
        ):
            await all_ready(harness, [quick, slow])
            proxy.down = Toxics(hold=True)
            deadline = time.monotonic() + 10
            while "overcoming of output buffer limits" not in server.logs():
                assert time.monotonic() < deadline, "it was not kicked out"
                quick.publish(100, b"x" * 1_000)
                await asyncio.sleep(0.01)
            proxy.heal()
            await fresh_both_ways([quick, slow], 6)
            await all_heard(harness, [quick, slow], 2 * SECONDS)


# -- the sharded channel ---------------------------------------------------------------------------


async def test_a_slot_that_moves_takes_the_link_with_it(redis_cluster: RedisCluster) -> None:
    source = cluster(*redis_cluster.urls, shardedPubSub=True)
    before = redis_cluster.master_of(CHANNEL)
    after = next(node for node in redis_cluster.nodes if node.role == "master" and node is not before)
    try:
        async with ends(source, source) as (one, other):
            await move(redis_cluster, CHANNEL, before, after)
            for end in one, other:
                error = await end.ended()
                assert isinstance(error, LinkError)
                assert "subscription" in str(error) or "moved" in str(error).lower()
            await one.connect()
            await other.connect()
            assert len(await clients(after)) == 4
            await one.link.send(b"after the move")
            await hears(other, b"after the move")
    finally:
        await move(redis_cluster, CHANNEL, after, before)


async def test_a_node_with_an_old_topology_is_not_the_last_word(redis_cluster: RedisCluster) -> None:
    """It sends us to a master that does not serve our slot: MOVED, and another node is asked."""
    right = redis_cluster.master_of(CHANNEL)
    wrong = next(node for node in redis_cluster.nodes if node.role == "master" and node is not right)
    hello = b"*4\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
    state = b"$16\r\ncluster_state:ok\r\n"
    slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\nx\r\n" % wrong.port
    async with script(hello, state, slots) as old:
        while not old.times:
            async with ends(cluster(old.url, *redis_cluster.urls, shardedPubSub=True)):
                assert len(await clients(right)) == 2
        error = await End(cluster(old.url, shardedPubSub=True, maxRetries=1)).fails()
        assert isinstance(error, LinkError)
        assert "MOVED" in str(error)


async def move(broker: RedisCluster, channel: str, before: RedisServer, after: RedisServer) -> None:
    """The slot of a channel goes from one master to another, as resharding does it."""
    slot = slot_of(channel)
    old = str(await asked(before, "CLUSTER", "MYID"))
    new = str(await asked(after, "CLUSTER", "MYID"))
    await asked(after, "CLUSTER", "SETSLOT", slot, "IMPORTING", old)
    await asked(before, "CLUSTER", "SETSLOT", slot, "MIGRATING", new)
    for master in after, before:
        await asked(master, "CLUSTER", "SETSLOT", slot, "NODE", new)
    await asyncio.to_thread(
        wait_until, lambda: broker.master_of(channel) is after, SECONDS, lambda: "the slot has not moved"
    )
