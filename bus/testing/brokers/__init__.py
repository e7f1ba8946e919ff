"""Real brokers for tests, each with one interface: `url, kill, pause, resume, restart, stop, logs`.

    broker = start("nats")          # or redis, valkey, redis-cluster, redis-sentinel, zenoh, kafka
    broker.kill(); broker.restart(); broker.stop()

    with RedisServer(password="secret") as server:      # or one of the classes, with what it offers
        Bus.open(server.url)

`start` takes the first that there is: the URL in BUS_TEST_<KIND>_URL, a program of this machine, a container;
else it raises `Unavailable`, which says what to install. The pytest fixtures are in `bus.testing.plugin`.
Calls are synchronous; async tests say `await asyncio.to_thread(broker.restart)`. POSIX only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bus.testing.brokers.broker import (
    Broker,
    GivenBroker,
    Unavailable,
    steps,
    url_from_environment,
    variable,
)
from bus.testing.brokers.certificates import Certificates, Identity
from bus.testing.brokers.containers import ContainerBroker, start_container
from bus.testing.brokers.local import LocalBroker
from bus.testing.brokers.nats import NatsServer
from bus.testing.brokers.process import Process, StartError, free_port
from bus.testing.brokers.redis import RedisServer
from bus.testing.brokers.redis_cluster import RedisCluster
from bus.testing.brokers.redis_sentinel import RedisSentinel
from bus.testing.brokers.zenoh import ZenohRouter

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "KINDS",
    "Broker",
    "Certificates",
    "ContainerBroker",
    "GivenBroker",
    "Identity",
    "LocalBroker",
    "NatsServer",
    "Process",
    "RedisCluster",
    "RedisSentinel",
    "RedisServer",
    "StartError",
    "Unavailable",
    "ZenohRouter",
    "free_port",
    "start",
    "start_own",
    "steps",
]


def _kafka(folder: Path | None) -> Broker:
    from bus.testing.brokers.kafka import KafkaServer  # its recipe is long, and few need it

    return KafkaServer(folder)


_LOCAL: dict[str, Callable[[Path | None], Broker]] = {
    "nats": NatsServer,
    "redis": RedisServer,
    "valkey": lambda folder: RedisServer(folder, flavour="valkey"),
    "redis-cluster": RedisCluster,
    "redis-sentinel": RedisSentinel,
    "zenoh": ZenohRouter,
    "kafka": _kafka,
}
KINDS = tuple(_LOCAL)


def start(kind: str, folder: Path | None = None) -> Broker:
    """A broker of this kind (one of KINDS) without authentication, ready to be used; `stop` it at the end.

    `folder`: where it makes its own folder; None: where temporary files go. Raises Unavailable, with all that
    was looked for; StartError when a server is there but does not start; ValueError for another kind.
    """
    if url := url_from_environment(_known(kind)):
        return GivenBroker(kind, url)
    try:
        return start_own(kind, folder)
    except Unavailable as error:
        raise Unavailable(f"{error}; or set {variable(kind)} to the URL of one that runs") from None


def start_own(kind: str, folder: Path | None = None) -> Broker:
    """As `start`, but never one of the environment: it may be killed, and nobody else uses it."""
    try:
        return _LOCAL[_known(kind)](folder)
    except Unavailable as error:
        missing = error
    try:
        return start_container(kind)
    except Unavailable as error:
        raise Unavailable(f"no {kind} server: {missing}; {error}") from None


def _known(kind: str) -> str:
    if kind not in _LOCAL:
        raise ValueError(f"no broker {kind!r}; there are {', '.join(KINDS)}")
    return kind
