"""Buses on a NATS server that dies, limits or leaves them: nothing is lost, repeated or out of order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from bus import Bus, Event, Gap, Loss
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.nats import NatsServer
from bus.testing.conformance.station import channel
from bus.testing.proxy import Proxy, Toxics
from tests.backends.nats_kit import SECONDS, Note, eventually

RATE = 500
PIECE = 0.02


def _kind(number: int) -> type[Event]:
    """One of many event types, which is described in more than 100 bytes."""

    class Kind(Event, tag=f"outage.kind.{number}"):
        the_first_of_its_fields_with_a_long_name: int
        the_second_of_its_fields_with_a_long_name: int

    return Kind


class Node:
    """A bus that publishes and writes down what it hears."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.sent = 0
        self.heard: list[Event | Loss] = []

    async def publish(self, seconds: float) -> None:
        """Numbers, at the rate, however late the loop is."""
        loop = asyncio.get_running_loop()
        start, first = loop.time(), self.sent
        while (now := loop.time()) < start + seconds:
            while self.sent - first < (now - start) * RATE:
                self.sent += 1
                self.bus.publish(Note(self.sent, self.bus.status().node.encode()))
            await asyncio.sleep(PIECE)

    async def listen(self) -> None:
        async with self.bus.subscribe(Note) as inbox:
            async for item in inbox:
                self.heard.append(item)

    def numbers(self, of: Node) -> list[int]:
        """The numbers of another node, as they came."""
        name = of.bus.status().node.encode()
        return [item.number for item in self.heard if isinstance(item, Note) and item.node == name]


@asynccontextmanager
async def nodes(*urls: str) -> AsyncGenerator[list[Node]]:
    """Buses that know each other."""
    cluster = channel().removeprefix("bus.")
    made = [Node(Bus.open(url, node=f"node-{number}", cluster=cluster)) for number, url in enumerate(urls)]
    listening: list[asyncio.Task[None]] = []
    try:
        for node in made:
            await node.bus.__aenter__()
            listening.append(asyncio.create_task(node.listen()))
        for node in made:
            await node.bus.ready(SECONDS, peers=len(made) - 1)
        yield made
    finally:
        for node in made:
            await node.bus.aclose()
        await asyncio.gather(*listening)


async def whole(made: list[Node], seconds: float = 15.0) -> None:
    """Each has heard every number of each other, in order and once, and was told of no loss."""
    pairs = [(one, other) for one in made for other in made if one is not other]
    async with asyncio.timeout(seconds):
        while any(len(one.numbers(other)) < other.sent for one, other in pairs):
            await asyncio.sleep(0.05)
    for one, other in pairs:
        assert one.numbers(other) == list(range(1, other.sent + 1))
        assert [item for item in one.heard if isinstance(item, Loss)] == []


@pytest.mark.timeout(40)
@pytest.mark.loops
async def test_a_server_killed_under_load_loses_nothing(broker_of: BrokerFactory) -> None:
    server = broker_of(NatsServer)
    async with nodes(*[server.url] * 3) as made:
        publishing = asyncio.gather(*(node.publish(4.0) for node in made))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(server.restart)
        await publishing
        await whole(made)
        assert all(node.sent == pytest.approx(4 * RATE, abs=RATE * 0.2) for node in made)


async def test_lame_duck_moves_the_nodes_to_the_other_server(broker_of: BrokerFactory) -> None:
    options = {"lame_duck_duration": "60s", "lame_duck_grace_period": "30s"}
    first, second = broker_of(NatsServer, options=options), broker_of(NatsServer)
    both = f"nats://127.0.0.1:{first.port},127.0.0.1:{second.port}"
    async with nodes(both, both) as made:
        publishing = asyncio.gather(*(node.publish(2.0) for node in made))
        await asyncio.sleep(0.5)
        first.signal("ldm")
        await publishing
        await whole(made)
        first.kill()
        await asyncio.gather(*(node.publish(0.2) for node in made))
        await whole(made)


async def test_types_that_are_more_than_one_frame_of_the_server_do_not_kill_the_link(
    broker_of: BrokerFactory,
) -> None:
    """Two releases with thirty types, at a server that carries 2,000 bytes."""
    server = broker_of(NatsServer, options={"max_payload": 2_000})
    kinds = [_kind(number) for number in range(30)]
    name = channel().removeprefix("bus.")
    async with (
        Bus.open(server.url, node="a", cluster=name, events=kinds) as one,
        Bus.open(server.url, node="b", cluster=name, events=kinds[:-1]) as other,
    ):
        heard: list[Event] = []
        other.on(kinds[0], heard.append)
        await one.ready(10, peers=1)
        await other.ready(10, peers=1)
        one.publish(cast("Callable[..., Event]", kinds[0])(7, 8))
        await eventually(lambda: len(heard) == 1, 5)
        assert one.status().links[0].connects == 1
    assert "payload" not in server.logs().lower()


async def test_a_server_that_carries_less_gets_less_and_what_is_too_large_is_told(
    broker_of: BrokerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = broker_of(NatsServer, options={"max_payload": 30_000})
    async with nodes(server.url, server.url) as (one, other):
        assert "max_payload" in caplog.text
        for number in range(1, 301):
            one.bus.publish(Note(number, b"node-0", bytes(1_000 if number != 200 else 40_000)))
        await eventually(lambda: len(other.heard) == 300, 10)
        gaps = [item for item in other.heard if isinstance(item, Loss)]
        assert [(gap.ranges, gap.reason) for gap in gaps if isinstance(gap, Gap)] == [
            (((200, 200),), "too_large_for_link")
        ]
        assert len(gaps) == 1
        assert one.bus.status().state == "READY"
        assert "payload" not in server.logs().lower()


async def test_a_node_that_the_server_drops_as_too_slow_comes_back_whole(broker_of: BrokerFactory) -> None:
    options = {"max_payload": 250_000, "max_pending": 300_000, "write_deadline": "500ms"}
    server = broker_of(NatsServer, options=options)
    with Proxy(("127.0.0.1", server.port)) as proxy:
        async with nodes(server.url, f"nats://{proxy.address}") as made:
            fast, slow = made
            proxy.down = Toxics(hold=True)
            async with asyncio.timeout(10):
                while "Slow Consumer" not in server.logs():
                    fast.sent += 1
                    fast.bus.publish(Note(fast.sent, b"node-0", bytes(10_000)))
                    await asyncio.sleep(0.001)
            proxy.heal()
            slow.sent += 1
            slow.bus.publish(Note(slow.sent, b"node-1"))
            await whole(made)
