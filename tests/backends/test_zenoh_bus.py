"""A whole bus over Zenoh: on every event loop, through a router, over TCP between peers."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import anyio
import pytest

from bus import Bus, ConfigError, Event
from bus.config import Zenoh
from bus.errors import Fault, LinkError
from bus.testing.brokers import Broker, ZenohRouter, free_port
from bus.testing.brokers.fixtures import BrokerFactory
from bus_zenoh import ZenohBackend
from tests.backends.zenoh_node import Node, context


class Said(Event, tag="test.zenoh.said"):
    number: int


@pytest.fixture
def nodes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def cluster() -> str:
    return f"test-{os.getpid()}-{secrets.token_hex(4)}"


async def numbers(bus: Bus, count: int) -> list[int]:
    async with bus.subscribe(Said) as inbox:
        heard: list[int] = []
        async for item in inbox:
            assert isinstance(item, Said)
            heard.append(item.number)
            if len(heard) == count:
                break
        return heard


async def talk(first: object, second: object) -> None:
    """Two buses of a cluster: events go both ways."""
    name = cluster()
    with anyio.fail_after(15):
        async with (
            Bus.open(first, cluster=name, node="a") as a,
            Bus.open(second, cluster=name, node="b") as b,
        ):
            heard: dict[str, list[int]] = {}

            async def listen(bus: Bus, key: str) -> None:
                heard[key] = await numbers(bus, 200)

            await a.ready(10, peers=1)
            await b.ready(10, peers=1)
            async with anyio.create_task_group() as group:
                group.start_soon(listen, a, "a")
                group.start_soon(listen, b, "b")
                await anyio.wait_all_tasks_blocked()
                for number in range(200):
                    a.publish(Said(number))
                    b.publish(Said(-number))
            assert heard == {"a": [-n for n in range(200)], "b": list(range(200))}


@pytest.mark.loops
async def test_two_buses_without_a_host_hear_each_other() -> None:
    await talk("zenoh://", "zenoh://")


def test_two_buses_without_a_host_hear_each_other_on_trio() -> None:
    anyio.run(talk, "zenoh://", "zenoh://", backend="trio")


async def test_bus_on_trio_and_bus_on_asyncio_are_of_one_cluster() -> None:
    name = cluster()

    async def other() -> None:
        async with Bus.open("zenoh://", cluster=name, node="trio") as bus:
            await bus.ready(10, peers=1)
            bus.publish(Said(1))
            assert await numbers(bus, 1) == [2]

    thread = asyncio.create_task(asyncio.to_thread(lambda: anyio.run(other, backend="trio")))
    async with Bus.open("zenoh://", cluster=name, node="asyncio") as bus:
        async with bus.subscribe(Said) as inbox:
            await bus.ready(10, peers=1)
            assert await anext(aiter(inbox)) == Said(1)
        async with asyncio.timeout(10):
            while not thread.done():
                bus.publish(Said(2))
                await asyncio.sleep(0.05)
        await thread


async def test_one_peer_listens_and_the_other_connects() -> None:
    port = free_port()
    listening = {
        "@type": "Zenoh",
        "config": f'{{mode: "peer", listen: {{endpoints: ["tcp/127.0.0.1:{port}"]}}}}',
    }
    await talk(listening, f"zenoh://127.0.0.1:{port}")


async def test_node_that_is_a_router_itself_serves_a_client() -> None:
    port = free_port()
    routing = {
        "@type": "Zenoh",
        "config": f'{{mode: "router", listen: {{endpoints: ["tcp/127.0.0.1:{port}"]}}}}',
    }
    await talk(routing, f"zenoh://127.0.0.1:{port}?mode=client")


async def test_two_clients_hear_each_other_through_a_router(zenoh_router: Broker) -> None:
    await talk(zenoh_router.url, zenoh_router.url)


def holds(bus: Bus, state: str) -> Callable[[], bool]:
    return lambda: bus.status().links[0].state == state


async def test_link_of_a_client_ends_when_its_router_dies(broker_of: BrokerFactory) -> None:
    router = broker_of(ZenohRouter)
    text = f'{{mode: "client", connect: {{endpoints: ["{router.address}"]}}}}'
    backend = ZenohBackend(Zenoh(config=text), context("c"))
    link = await backend.connect()
    run = asyncio.create_task(link.run())
    await asyncio.sleep(0)
    assert not run.done()
    router.kill()
    with pytest.raises(LinkError, match="router is lost") as caught:
        await asyncio.wait_for(run, 5)
    assert backend.classify(caught.value) is Fault.UNREACHABLE
    await link.close()


async def test_clients_come_back_soon_after_their_router_was_killed(broker_of: BrokerFactory) -> None:
    router = broker_of(ZenohRouter)
    url = router.url
    name = cluster()
    async with (
        Bus.open(url, cluster=name, node="a") as a,
        Bus.open(url, cluster=name, node="b") as b,
        b.subscribe(Said) as inbox,
    ):
        await a.ready(10, peers=1)
        await b.ready(10, peers=1)
        router.kill()
        async with asyncio.timeout(3):
            while holds(a, "READY")() or holds(b, "READY")():
                await asyncio.sleep(0.01)
        seq = a.publish(Said(7))
        await asyncio.to_thread(router.restart)
        started = time.monotonic()
        async with asyncio.timeout(8):
            assert await anext(aiter(inbox)) == Said(7)
        assert time.monotonic() - started < 6
        assert (await a.confirm(seq, 8)).heard == {"b"}


async def test_bus_beside_a_frozen_process_opens_and_closes_in_time(nodes: ExitStack) -> None:
    name = cluster()
    frozen = nodes.enter_context(Node("frozen", name)).up()
    frozen.freeze()
    async with Bus.open("zenoh://", cluster=name) as bus:
        await bus.ready(8)
        started = time.monotonic()
        await bus.aclose()
        assert time.monotonic() - started < 2
    frozen.thaw()
    assert frozen.close() == 0


async def test_wrong_text_is_told_by_open_and_a_wrong_directory_by_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match="unknown field `conect`"):
        Bus.open({"@type": "Zenoh", "config": "{conect: {}}"})
    monkeypatch.setenv("BUS_RUNTIME_DIR", "/dev/null/run")
    async with Bus.open("zenoh://", cluster=cluster()) as bus:
        with pytest.raises(ConfigError, match="BUS_RUNTIME_DIR"):
            await bus.ready(5)
