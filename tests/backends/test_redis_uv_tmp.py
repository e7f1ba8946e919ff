"""The three Redis backends pass the conformance suite on Redis and on Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bus.testing.brokers import Broker, steps
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.redis_cluster import RedisCluster
from bus.testing.brokers.redis_sentinel import RedisSentinel
from bus.testing.conformance import Conformance, Harness
from bus.testing.conformance.faults import Faults
from bus.testing.conformance.frames import Frames

PASSWORD = "pass-that-is-wrong"


def harness_of(broker: Broker) -> Harness:
    """A harness for a broker without passwords."""
    scheme, _, hosts = broker.url.partition("://")
    path = "/mymaster" if scheme.endswith("sentinel") else ""
    return Harness(
        coordinator=lambda: broker.url,
        unreachable=f"{scheme}://u:{PASSWORD}@127.0.0.1:1{path}",
        wrong_credentials=f"{scheme}://u:{PASSWORD}@{hosts}",
        invalid=(
            f"{scheme}://u:{PASSWORD}@127.0.0.1:0",
            {"@type": "RedisCluster", "urls": []},
            {"@type": "Redis", "url": f"redis://u:{PASSWORD}@127.0.0.1?protocol=4"},
            {"@type": "Redis", "url": f"redis://u:{PASSWORD}@127.0.0.1", "tlsCa": "/ca.pem"},
        ),
        secrets=(PASSWORD,),
        **steps(broker),
    )


@pytest.fixture(scope="module")
def valkey() -> Iterator[BrokerFactory]:
    factory = BrokerFactory()
    yield factory
    factory.stop()


@pytest.fixture(scope="module")
def valkey_cluster(valkey: BrokerFactory) -> RedisCluster:
    cluster = valkey(RedisCluster, flavour="valkey")
    cluster.keep()
    return cluster


@pytest.fixture(scope="module")
def valkey_sentinel(valkey: BrokerFactory) -> RedisSentinel:
    sentinel = valkey(RedisSentinel, flavour="valkey")
    sentinel.keep()
    return sentinel


@pytest.mark.loops
class TestRedis(Conformance):
    @pytest.fixture
    def harness(self, redis_server: Broker) -> Harness:
        return harness_of(redis_server)


@pytest.mark.loops
class TestValkey(Conformance):
    @pytest.fixture
    def harness(self, valkey_server: Broker) -> Harness:
        return harness_of(valkey_server)


@pytest.mark.loops
class TestRedisCluster(Conformance):
    @pytest.fixture
    def harness(self, redis_cluster: Broker) -> Harness:
        return harness_of(redis_cluster)


@pytest.mark.loops
class TestValkeyCluster(Conformance):
    @pytest.fixture
    def harness(self, valkey_cluster: RedisCluster) -> Iterator[Harness]:
        yield harness_of(valkey_cluster)
        valkey_cluster.mend()


@pytest.mark.loops
class TestShardedChannel(Frames, Faults):
    @pytest.fixture
    def harness(self, redis_cluster: Broker) -> Harness:
        sharded = f"{redis_cluster.url}?shardedPubSub=true"
        return replace(harness_of(redis_cluster), coordinator=lambda: sharded)


@pytest.mark.loops
class TestRedisSentinel(Conformance):
    @pytest.fixture
    def harness(self, redis_sentinel: Broker) -> Harness:
        return harness_of(redis_sentinel)


@pytest.mark.loops
class TestValkeySentinel(Conformance):
    @pytest.fixture
    def harness(self, valkey_sentinel: RedisSentinel) -> Iterator[Harness]:
        yield harness_of(valkey_sentinel)
        valkey_sentinel.mend()


@pytest.mark.loops
class TestOneConnection(Frames, Faults):
    """With `poolMaxConnections` 1, over RESP3."""

    @pytest.fixture
    def harness(self, valkey_server: Broker) -> Harness:
        one = {"@type": "Redis", "url": valkey_server.url, "poolMaxConnections": 1}
        return replace(harness_of(valkey_server), coordinator=lambda: one)
