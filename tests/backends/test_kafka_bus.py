"""Buses on Kafka: everybody hears everything, whatever is done to the topic meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager

import pytest

from bus import Gap
from bus.config import decode
from bus.testing.brokers import Broker
from bus.testing.brokers.kafka import KafkaServer
from bus.testing.conformance import Harness
from bus.testing.conformance.cluster import (
    Node,
    all_balanced,
    all_heard,
    all_ready,
    cluster_name,
    fresh_both_ways,
    nodes,
)
from bus.testing.conformance.station import until
from bus_kafka import KafkaBackend
from bus_kafka.link import KafkaLink
from tests.backends.kafka_admin import Admin

SOON = 10.0
# A fresh event both ways after the fault has healed.
RECOVERY = 6.0


@pytest.fixture
def harness(kafka_server: Broker) -> Harness:
    return Harness(coordinator=lambda: kafka_server.url, patience=SOON)


@pytest.fixture
def admin(kafka_server: Broker) -> Admin:
    if not isinstance(kafka_server, KafkaServer):
        pytest.skip("needs the permissions of a Kafka of our own")
    return Admin(kafka_server.port)


async def test_three_nodes_with_one_shared_configuration_all_hear_all(kafka_server: Broker) -> None:
    """The same object, so the same groupId: as a consumer group they would share the events."""
    shared = decode(kafka_server.url)
    async with nodes(Harness(coordinator=lambda: shared), 3) as made:
        for _ in range(10):
            for one in made:
                one.publish(100)
            await asyncio.sleep(0)
        assert [one.published for one in made] == [1_000] * 3
        await all_heard(Harness(coordinator=lambda: shared), made, SOON)


@asynccontextmanager
async def under_load(made: list[Node]) -> AsyncGenerator[None, None]:
    """Each node publishes about 200 events a second."""

    async def publish() -> None:
        while True:
            for one in made:
                one.publish(2)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_more_partitions_cost_nothing(
    harness: Harness, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent on the way from the old links to the new ones is repaired (T25)."""
    connects: list[KafkaBackend] = []
    connect = KafkaBackend.connect

    def counted(backend: KafkaBackend) -> Coroutine[object, object, KafkaLink]:
        connects.append(backend)
        return connect(backend)

    monkeypatch.setattr(KafkaBackend, "connect", counted)
    monkeypatch.setattr("bus_kafka.link.LOOK", 0.1)
    async with nodes(harness, 3) as made:
        async with under_load(made):
            await admin.grow(f"bus.{made[0].cluster}", 4)
            await until(
                lambda: all(connects.count(one) > 1 for one in connects), SOON, "somebody has not noticed"
            )
            await all_ready(harness, made)
            await fresh_both_ways(made, RECOVERY)
        await all_heard(harness, made, SOON)


async def test_topic_that_is_deleted_is_made_again_and_nothing_is_lost(
    harness: Harness, admin: Admin
) -> None:
    async with nodes(harness, 3) as made:
        async with under_load(made):
            await asyncio.sleep(0.2)
            await admin.delete(f"bus.{made[0].cluster}")
            await fresh_both_ways(made, RECOVERY)
        await all_heard(harness, made, SOON)


async def test_event_over_the_limit_of_the_topic_is_told_and_the_others_come(
    harness: Harness, admin: Admin
) -> None:
    cluster = cluster_name()
    await admin.create(f"bus.{cluster}", max_message_bytes="100000")
    async with nodes(harness, 2, cluster) as (one, two):
        one.publish(10)
        one.publish(1, b"x" * 200_000)
        one.publish(10)
        await all_balanced([one, two], 2 * SOON)
        assert [(loss.reason, loss.ranges) for loss in two.losses if isinstance(loss, Gap)] == [
            ("too_large_for_link", ((11, 11),))
        ]
        assert two.numbers(one) == [*range(1, 11), *range(12, 22)]


async def test_small_events_of_a_large_frame_get_through_a_small_limit(
    harness: Harness, admin: Admin
) -> None:
    """Frames are halved until the topic takes them."""
    cluster = cluster_name()
    await admin.create(f"bus.{cluster}", max_message_bytes="100000")
    async with nodes(harness, 2, cluster) as (one, two):
        one.publish(1_000, b"x" * 1_000)
        await all_heard(harness, [one, two], 2 * SOON)
