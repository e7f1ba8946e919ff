"""The three Redis backends pass the conformance suite on Redis and on Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bus.testing.brokers import Broker, steps
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.redis_cluster import RedisCluster
from bus.testing.brokers.redis_sentinel import RedisSentinel
from bus.testing.conformance import Conformance, Harness

PASSWORD = "pass-that-is-wrong"


def harness_of(broker: Broker) -> Harness:
    """A harness for a broker without passwords."""
    scheme, _, hosts = broker.url.partition("://")
    plain = scheme.partition("+")[0]
    path = "/mymaster" if scheme.endswith("sentinel") else ""
    return Harness(
        coordinator=lambda: broker.url,
        unreachable=f"{scheme}://u:{PASSWORD}@127.0.0.1:1{path}",
        wrong_credentials=f"{scheme}://u:{PASSWORD}@{hosts}",
        invalid=(
            f"{scheme}://u:{PASSWORD}@127.0.0.1:0",
            f"{scheme}://u:{PASSWORD}@127.0.0.1/0/1" if scheme == plain else {"@type": "RedisCluster", "urls": []},
            {"@type": "Redis", "url": f"redis://u:{PASSWORD}@127.0.0.1?protocol=4"},
            {"@type": "Redis", "url": f"redis://u:{PASSWORD}@127.0.0.1", "tlsCa": "/ca.pem"},
        ),
        secrets=(PASSWORD,),
        **steps(broker),
    )


class TestRedis(Conformance):
    @pytest.fixture
    def harness(self, redis_server: Broker) -> Harness:
        return harness_of(redis_server)


class TestValkey(Conformance):
    @pytest.fixture
    def harness(self, valkey_server: Broker) -> Harness:
        return harness_of(valkey_server)


class TestRedisCluster(Conformance):
    @pytest.fixture
    def harness(self, redis_cluster: Broker) -> Harness:
        return harness_of(redis_cluster)


class TestRedisSentinel(Conformance):
    @pytest.fixture
    def harness(self, redis_sentinel: Broker) -> Harness:
        return harness_of(redis_sentinel)
