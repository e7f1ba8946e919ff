"""Three brokers: the death of the one that leads our topic costs a change of the link, and no event."""

from __future__ import annotations

import asyncio

import pytest

from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.kafka import KafkaCluster
from bus.testing.conformance import Harness
from bus.testing.conformance.cluster import all_heard, cluster_name, fresh_both_ways, nodes, refused
from bus.testing.conformance.station import until
from tests.backends.kafka_admin import Admin
from tests.backends.test_kafka_bus import under_load

# Election of a leader, and the 6 s that a bus may take.
FAILOVER = 12.0


@pytest.mark.timeout(120)
async def test_death_of_the_leader_loses_nothing(broker_of: BrokerFactory) -> None:
    brokers = await asyncio.to_thread(broker_of, KafkaCluster, 3)
    harness = Harness(coordinator=lambda: brokers.url, patience=10.0, open_timeout=20.0)
    cluster = cluster_name()
    topic = f"bus.{cluster}"
    admin = Admin(brokers.ports[0])
    await admin.create(topic, partitions=6)
    before = await admin.layout(topic)
    assert set(before.leaders.values()) == {1, 2, 3}
    async with nodes(harness, 3, cluster) as made:
        # What others append anywhere is heard: a reader for each broker.
        for number in range(6):
            await admin.append(topic, b"no frame", partition=number)
        await until(
            lambda: all(refused(one.bus)["short"] == 6 for one in made),
            10,
            lambda: str([refused(one.bus) for one in made]),
        )
        leader = before.leaders[0]
        async with under_load(made):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(brokers.processes[leader - 1].kill)
            await fresh_both_ways(made, FAILOVER)
            alive = next(port for number, port in enumerate(brokers.ports, 1) if number != leader)
            assert (await Admin(alive).layout(topic)).leaders[0] not in (leader, -1)
        await all_heard(harness, made, 15.0)
