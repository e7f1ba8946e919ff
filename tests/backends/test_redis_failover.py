"""Where a Redis link goes when the server behind it is gone, frozen, or no longer the master."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from bus.errors import LinkError
from bus.testing.brokers.redis import RedisServer
from bus.testing.brokers.redis_cluster import RedisCluster
from bus.testing.brokers.redis_sentinel import RedisSentinel
from bus.testing.conformance.cluster import Node, all_balanced, fresh_both_ways, nodes
from bus.testing.conformance.faults import publishing
from bus.testing.conformance.harness import Harness
from tests.backends.redis_kit import SECONDS, End, clients, cluster, ends, hears, sentinel

# What the core needs to notice a silent server and to make a link anew.
NOTICE = 6.0 + 5.0


async def place(broker: RedisCluster, name: str = "bus:kit") -> RedisServer:
    """The node that a link is made to."""
    running = [node for node in broker.nodes if node.processes[0].is_running]
    (found,) = [node for node in running if await clients(node, name)]
    return found


# -- a cluster -------------------------------------------------------------------------------------


async def test_a_link_to_a_node_that_died_is_at_another_one_before_any_failover(
    redis_cluster: RedisCluster,
) -> None:
    source = cluster(*redis_cluster.urls)
    async with ends(source) as (end,):
        await asyncio.to_thread((await place(redis_cluster)).kill)
        assert isinstance(await end.ended(), LinkError)
        started = time.monotonic()
        await end.connect()
        assert time.monotonic() - started < 1
        async with ends(source) as (other,):
            await end.link.send(b"of one")
            await hears(other, b"of one")
            await other.link.send(b"of other")
            await hears(end, b"of other")


async def test_nodes_that_were_not_configured_are_known_from_the_last_link(
    redis_cluster: RedisCluster,
) -> None:
    seed = redis_cluster.nodes[0]
    end = await End(cluster(seed.url)).connect()
    await asyncio.to_thread(seed.kill)
    await end.drop()
    await (await end.connect()).drop()
    with pytest.raises(LinkError, match="Connection refused"):
        await End(cluster(seed.url)).connect()


@pytest.mark.timeout(60)
async def test_a_frozen_node_is_left_for_another_one(redis_cluster: RedisCluster) -> None:
    harness = Harness(coordinator=lambda: redis_cluster.url)
    async with nodes(harness, 2) as (one, other):
        frozen = await place(redis_cluster, "bus:node-1")
        frozen.processes[0].pause()
        try:
            await fresh_both_ways([one, other], NOTICE)
            rest = [node for node in redis_cluster.nodes if node is not frozen]
            assert any([await clients(node, "bus:node-1") for node in rest])
        finally:
            frozen.processes[0].resume()
        await all_balanced([one, other], 3 * SECONDS)


# -- a master behind sentinels ---------------------------------------------------------------------


async def all_at(master: RedisServer, made: Sequence[Node]) -> None:
    """Wait until every node has both of its connections there."""
    deadline = time.monotonic() + NOTICE
    while missing := [one.name for one in made if len(await clients(master, f"bus:{one.name}")) < 2]:
        assert time.monotonic() < deadline, f"{missing} are not at the master"
        await asyncio.sleep(0.1)


@pytest.mark.timeout(60)
async def test_an_old_master_that_comes_back_keeps_nobody(redis_sentinel: RedisSentinel) -> None:
    """It was frozen, and others were put in its place: for a while it still believes to be the master."""
    harness = Harness(coordinator=lambda: redis_sentinel.url)
    async with nodes(harness, 3) as made:
        old = redis_sentinel.master
        async with publishing(made):
            old.processes[0].pause()
            try:
                await fresh_both_ways(made, NOTICE)
                assert redis_sentinel.master is not old
            finally:
                old.processes[0].resume()
            await fresh_both_ways(made, 6)
        await all_balanced(made, 3 * SECONDS)
        await all_at(redis_sentinel.master, made)


@pytest.mark.timeout(60)
async def test_a_failover_by_hand_loses_nothing(redis_sentinel: RedisSentinel) -> None:
    harness = Harness(coordinator=lambda: redis_sentinel.url)
    async with nodes(harness, 3) as made:
        async with publishing(made):
            await asyncio.to_thread(redis_sentinel.failover)
            await fresh_both_ways(made, 6)
        await all_balanced(made, 3 * SECONDS)
        assert not any(one.losses for one in made)
        await all_at(redis_sentinel.master, made)


async def test_a_frozen_sentinel_does_not_keep_us_from_the_others(redis_sentinel: RedisSentinel) -> None:
    frozen = next(one for one in redis_sentinel.processes if one.name == "sentinel-0")
    frozen.pause()
    try:
        for _ in range(4):
            async with ends(sentinel(*redis_sentinel.urls)) as (end,):
                await end.link.send(b"hello")
                await hears(end, b"hello")
    finally:
        frozen.resume()
