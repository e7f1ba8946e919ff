"""What can happen to a broker. Each returns when it began and when the system served again (monotonic)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from bus.testing.brokers import Broker, RedisCluster, RedisSentinel, RedisServer
from tests.faults.crew import pause

Fault = Callable[[Broker, float], tuple[float, float]]


def kill(broker: Broker, seconds: float) -> tuple[float, float]:
    """SIGKILL, and started again at the same address after so many seconds."""
    began = time.monotonic()
    broker.kill()
    pause(seconds)
    broker.restart()
    return began, time.monotonic()


def freeze(broker: Broker, seconds: float) -> tuple[float, float]:
    """SIGSTOP for so many seconds: connections stay open and nothing answers."""
    began = time.monotonic()
    broker.pause()
    try:
        pause(seconds)
    finally:
        broker.resume()
    return began, time.monotonic()


def failover(broker: Broker, seconds: float) -> tuple[float, float]:
    """SIGKILL of the master; healed when another one serves. It comes back after so many seconds more."""
    assert isinstance(broker, RedisCluster | RedisSentinel), f"{broker!r} has no master to kill"
    killed = broker.master if isinstance(broker, RedisSentinel) else max(masters(broker), key=subscribers)
    began = time.monotonic()
    killed.kill()
    broker.settle()
    healed = time.monotonic()
    pause(seconds)
    killed.restart()
    return began, healed


def masters(cluster: RedisCluster) -> list[RedisServer]:
    """The nodes that serve now."""
    return [node for node in cluster.nodes if node.role == "master"]


def subscribers(server: RedisServer) -> int:
    """How many of our nodes are subscribed at this server itself, the sharded way or not."""
    count = 0
    for channels, numbers in (("CHANNELS", "NUMSUB"), ("SHARDCHANNELS", "SHARDNUMSUB")):
        for name in cast("list[str]", server.ask("PUBSUB", channels, "bus.*")):
            count += int(cast("list[str]", server.ask("PUBSUB", numbers, name))[1])
    return count


FAULTS: dict[str, Fault] = {"kill": kill, "freeze": freeze, "failover": failover}
