"""The messaging systems that a demo runs on, and a server on this machine where one is needed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from bus.config import Coordinator, Kafka, Memory, Nats, Redis, RedisCluster, RedisSentinel, Zenoh


class System(msgspec.Struct, frozen=True):
    """One messaging system: the variant of the Coordinator object, and a URL of this machine.

    `is_served`: it needs a server, and the URL is an example.
    """

    variant: type[Coordinator]
    url: str
    is_served: bool = True


SYSTEMS: dict[str, System] = {
    "memory": System(Memory, "memory://", is_served=False),
    "zenoh": System(Zenoh, "zenoh://", is_served=False),
    "nats": System(Nats, "nats://127.0.0.1:4222"),
    "redis": System(Redis, "redis://127.0.0.1:6379"),
    "redis-cluster": System(RedisCluster, "redis+cluster://127.0.0.1:7000"),
    "redis-sentinel": System(RedisSentinel, "redis+sentinel://127.0.0.1:26379/mymaster"),
    "kafka": System(Kafka, "kafka://127.0.0.1:9092"),
}


def system_of(scheme: str) -> str:
    """The system whose URLs have this scheme; the scheme itself when there is none."""
    return next((name for name, one in SYSTEMS.items() if scheme in one.variant.url_schemes), scheme)


class NoServer(Exception):
    """The text says what is missing, and how to get it."""


@contextmanager
def server_of(name: str) -> Generator[str]:
    """Start a server of this system; its URL. It is gone at the end, also if this process is killed.

    Raises NoServer.
    """
    # Late: the demo of the other systems needs nothing of it, and no server that is a program.
    from bus.testing.brokers import StartError, Unavailable, start_own

    try:
        broker = start_own(name)
    except (Unavailable, StartError) as error:
        raise NoServer(f"{error}; or give one that runs: --url {SYSTEMS[name].url}") from error
    try:
        yield broker.url
    finally:
        broker.stop()
