"""Lines 38-39 on real servers: a cluster moves while events flow, and a wrong move moves nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bus import Bus, Event
from bus.testing.brokers import Broker, free_port
from tests.admin.kit import World, world
from tests.bus.cluster import cluster_name

EVENTS = 400


class Note(Event, tag="admin.note"):
    number: int


async def move(worlds: list[World], patch: dict[str, Any]) -> None:
    """All nodes at once: each waits until the others list it on the new link."""
    async with asyncio.TaskGroup() as group:
        moves = [group.create_task(here.client.update(patch)) for here in worlds]
    assert ["updated" in one.result() for one in moves] == [True, True], [one.result() for one in moves]


@pytest.mark.timeout(60)
async def test_a_cluster_moves_between_systems_and_loses_nothing(
    tmp_path: Path, nats_server: Broker, redis_server: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.admin.app.CHANGES_PER_SECOND", 100)
    redis = {"@type": "Redis", "url": redis_server.url}
    nats = {"@type": "Nats", "addresses": [nats_server.url]}
    cluster = cluster_name()
    async with AsyncExitStack() as stack:
        buses: list[Bus] = []
        worlds: list[World] = []
        for name in "ab":
            (tmp_path / name).mkdir()
            bus = await stack.enter_async_context(Bus.open("memory://", node=name, cluster=cluster))
            worlds.append(await stack.enter_async_context(world(tmp_path / name, node=bus)))
            buses.append(bus)
        a, b = buses
        await a.ready(peers=1)
        await b.ready(peers=1)
        inboxes = [await stack.enter_async_context(bus.subscribe(Note)) for bus in buses]
        is_moving = True

        async def publish(bus: Bus) -> int:
            number = 0
            while is_moving or number < EVENTS:
                bus.publish(Note(number))
                number += 1
                await asyncio.sleep(0.005)
            return number

        async with asyncio.TaskGroup() as group:
            sent = [group.create_task(publish(bus)) for bus in buses]
            for patch in (nats, redis, {"@type": "Memory"}, nats):
                await move(worlds, patch)
                # ... and in between a server that is not there: nothing moves.
                dead = {"@type": "Nats", "addresses": [f"127.0.0.1:{free_port()}"]}
                error = await worlds[0].client.update(dead)
                assert (error["type"], error["stage"]) == ("connectionFailed", "connect")
                assert (await worlds[0].client.object())["@type"] == patch["@type"]
            is_moving = False
        for inbox, other in zip(inboxes, reversed(sent), strict=True):
            async with asyncio.timeout(10):
                found = [await anext(inbox) for _ in range(other.result())]
            assert found == [Note(number) for number in range(other.result())]
        for bus in buses:
            (peer,) = bus.status().peers
            assert (peer.lost, [link.type for link in bus.status().links]) == (0, ["Nats"])
