"""A change that cannot be is rejected at its stage: the link, its events and the stored file are untouched.

The stage `probe` takes a server that is silent in the right moment: `tests/admin/test_trial.py` has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bus import Bus
from bus.config import decode, encode
from bus.testing.brokers import Broker, NatsServer, RedisServer, free_port
from bus.testing.brokers.fixtures import BrokerFactory
from tests.admin.kit import World, world
from tests.bus.cluster import Note, cluster_name, notes


class Running(NamedTuple):
    """Two nodes under load; the first one is to be changed."""

    here: World
    a: Bus
    b: Bus


@asynccontextmanager
async def running(url: str, folder: Path) -> AsyncGenerator[Running]:
    """On one Redis, with an object that is stored."""
    cluster = cluster_name()
    async with AsyncExitStack() as stack:
        a, b = [
            await stack.enter_async_context(Bus.open(url, node=name, cluster=cluster)) for name in ("a", "b")
        ]
        here = await stack.enter_async_context(world(folder, node=a))
        await a.ready(peers=1)
        await b.ready(peers=1)
        yield Running(here, a, b)


async def rejected(now: Running, patch: dict[str, Any]) -> dict[str, Any]:
    """The error, when nothing else came of it."""
    # What is stored is what runs; it takes a change to have a file.
    await now.here.client.update({"timeout": 9000})
    links = set(now.a._node.links)  # pyright: ignore[reportPrivateUsage]  # that they stay the same
    content = now.here.file.read_bytes()
    async with now.b.subscribe(Note) as inbox:

        async def publishes() -> None:
            for note in notes(1, 200):
                now.a.publish(note)
                await asyncio.sleep(0.005)

        load = asyncio.create_task(publishes())
        error = await now.here.client.update(patch)
        await load
        async with asyncio.timeout(5):
            assert [await anext(inbox) for _ in range(200)] == notes(1, 200)
    assert set(now.a._node.links) == links  # pyright: ignore[reportPrivateUsage]  # as above
    assert [link.state for link in now.a.status().links] == ["READY"]
    assert now.here.file.read_bytes() == content
    assert now.here.audited()[-1]["outcome"] == "rejected"
    assert error["type"] == "connectionFailed"
    assert error["hint"]
    return error


def patch_of(url: str, **fields: Any) -> dict[str, Any]:
    return {**encode(decode(url), reveal=True), **fields}


@pytest.mark.timeout(60)
async def test_a_broker_that_is_dead_or_refuses(
    redis_server: Broker, broker_of: BrokerFactory, tmp_path: Path
) -> None:
    nats = await asyncio.to_thread(
        broker_of, NatsServer, auth="password", permissions={"publish": ["bus.>"], "subscribe": ["other.>"]}
    )
    host = nats.address.rpartition("/")[2]
    user = {"@type": "Nats", "addresses": [host], "authUsername": nats.user}
    redis = await asyncio.to_thread(
        broker_of, RedisServer, password="s3cr3t", users={"mute": "on >pw1234 &bus.* +@all -publish"}
    )
    frozen = await asyncio.to_thread(broker_of, "redis")
    await asyncio.to_thread(frozen.pause)
    absent = {"@type": "File", "filePath": str(tmp_path / "absent")}
    cases: dict[str, list[dict[str, Any]]] = {
        "resolve": [{**user, "authSecret": absent}],
        "connect": [
            {"@type": "Nats", "addresses": [f"127.0.0.1:{free_port()}"]},
            patch_of(frozen.url, timeout=1000),
        ],
        "auth": [
            {**user, "authSecret": {"@type": "Value", "secret": "wr0ng"}},
            patch_of(redis.url.replace("s3cr3t", "wr0ng")),
        ],
        "subscribe": [
            {**user, "authSecret": {"@type": "Value", "secret": nats.password}},
            patch_of(redis.url_of("mute", "pw1234")),
        ],
    }
    async with running(redis_server.url, tmp_path) as now:
        for stage, patches in cases.items():
            for patch in patches:
                error = await rejected(now, patch)
                assert error["stage"] == stage, (patch, error)
                assert "wr0ng" not in str(error)
                assert "pw1234" not in str(error)
