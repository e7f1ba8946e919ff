"""Which image each kind of broker is made of, how it is started there, and when it serves.

The images are the publishers' own. A server listens at one port inside, published at one of this machine
that stays. The members of a Redis cluster and the sentinels tell clients addresses: they live in one
container, each at a port that is the same inside and outside, and call themselves 127.0.0.1, which is true on
both sides.
"""

from __future__ import annotations

import shlex
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bus.testing.brokers.process import free_port
from bus.testing.brokers.redis_cluster import MASTERS, sees_all_served, topology
from bus.testing.brokers.redis_sentinel import SENTINELS, agrees
from bus.testing.brokers.resp import Address, ReplyError, answers, ask
from bus.testing.brokers.zenoh import shakes_hands

IMAGES = {
    "nats": "nats:2.15.0-alpine",
    "redis": "redis:8.8.0-alpine",
    "valkey": "valkey/valkey:9.1.1-alpine",
    "redis-cluster": "redis:8.8.0-alpine",
    "redis-sentinel": "redis:8.8.0-alpine",
    "zenoh": "eclipse/zenoh:1.10.1",
    "kafka": "apache/kafka:4.3.1",
}
# Protected mode refuses whoever does not come from 127.0.0.1, as clients from outside do not.
_OPEN = ("--save", "", "--appendonly", "no", "--protected-mode", "no", "--repl-diskless-sync-delay", "0")
_PATIENCE = 1.0


@dataclass(frozen=True)
class Recipe:
    """One container."""

    image: str
    command: Sequence[str]
    # Port inside -> port of this machine.
    ports: Mapping[int, int]
    url: str
    # Whether it serves; polled after each start. A connection proves nothing: the engine takes it.
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def recipe(kind: str) -> Recipe:
    """For one container of a kind, with ports of its own. Raises KeyError for another kind."""
    return _RECIPES[kind](IMAGES[kind])


def _nats(image: str) -> Recipe:
    port = free_port()
    return Recipe(
        image=image,
        command=["nats-server", "-a", "0.0.0.0", "-p", "4222"],
        ports={4222: port},
        url=f"nats://127.0.0.1:{port}",
        is_ready=lambda: _reply(port).startswith(b"INFO "),
    )


def _redis(image: str) -> Recipe:
    port = free_port()
    return Recipe(
        image=image,
        command=["redis-server", *_OPEN],
        ports={6379: port},
        url=f"redis://127.0.0.1:{port}",
        is_ready=lambda: answers(Address(port)),
    )


def _valkey(image: str) -> Recipe:
    port = free_port()
    return Recipe(
        image=image,
        command=["valkey-server", *_OPEN],
        ports={6379: port},
        url=f"redis://127.0.0.1:{port}",
        is_ready=lambda: answers(Address(port)),
    )


def _redis_cluster(image: str) -> Recipe:
    ports = [free_port() for _ in range(2 * MASTERS)]
    buses = [free_port() for _ in ports]
    lines: list[str] = []
    for port, bus, known in zip(ports, buses, topology(ports, buses), strict=True):
        words = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", bus)
        lines += [
            # Only once: at a restart the node knows better.
            f"[ -d /data/{port} ] || {{ mkdir -p /data/{port}; cat >/data/{port}/nodes.conf; }} <<'END'",
            f"{known}END",
            _in_background("redis-server", "--port", port, "--dir", f"/data/{port}", *_OPEN, *words),
        ]

    def is_ready() -> bool:
        try:
            return all(sees_all_served(Address(port), set(ports)) for port in ports)
        except (OSError, ReplyError):
            return False

    return Recipe(
        image=image,
        command=["sh", "-c", "\n".join([*lines, "wait"])],
        ports={port: port for port in ports},
        url="redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports[:MASTERS]),
        is_ready=is_ready,
    )


def _redis_sentinel(image: str) -> Recipe:
    servers = [free_port() for _ in range(3)]
    sentinels = [free_port() for _ in range(SENTINELS)]
    lines: list[str] = []
    for port in servers:
        # A file, into which sentinels have the server write a changed role.
        follows = "" if port == servers[0] else f"replicaof 127.0.0.1 {servers[0]}\\n"
        lines += [
            f"mkdir -p /data/{port}",
            f"[ -e /data/{port}/redis.conf ] || printf '{follows}' >/data/{port}/redis.conf",
            _in_background(
                "redis-server", f"/data/{port}/redis.conf", "--port", port, "--dir", f"/data/{port}", *_OPEN
            ),
        ]
    watch = (
        f"sentinel monitor mymaster 127.0.0.1 {servers[0]} {SENTINELS // 2 + 1}\\n"
        "sentinel down-after-milliseconds mymaster 1000\\n"
        "sentinel failover-timeout mymaster 2000\\n"
    )
    for port in sentinels:
        file = f"/data/{port}.conf"
        words = ("--sentinel", "--port", port, "--protected-mode", "no")
        lines += [
            f"[ -e {file} ] || printf '{watch}' >{file}",
            _in_background("redis-server", file, *words),
        ]

    def is_ready() -> bool:
        try:
            roles = [str(ask(Address(port), "INFO", "replication")) for port in servers]
            is_replicated = any("role:master" in one and "state=online" in one for one in roles)
            return is_replicated and all(agrees(Address(port), "mymaster") for port in sentinels)
        except (OSError, ReplyError):
            return False

    return Recipe(
        image=image,
        command=["sh", "-c", "\n".join([*lines, "wait"])],
        ports={port: port for port in [*servers, *sentinels]},
        url="redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in sentinels) + "/mymaster",
        is_ready=is_ready,
    )


def _zenoh(image: str) -> Recipe:
    port = free_port()
    return Recipe(
        image=image,
        command=["--listen", "tcp/0.0.0.0:7447", "--no-multicast-scouting"],
        ports={7447: port},
        url=f"zenoh://127.0.0.1:{port}?mode=client",
        is_ready=lambda: shakes_hands(port),
    )


def _kafka(image: str) -> Recipe:
    port = free_port()
    one = dict.fromkeys(
        (
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR",
            "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR",
            "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR",
            "KAFKA_NODE_ID",
        ),
        "1",
    )
    return Recipe(
        image=image,
        command=[],
        ports={9092: port},
        url=f"kafka://127.0.0.1:{port}",
        is_ready=lambda: bool(_reply(port, _API_VERSIONS)),
        environment={
            **one,
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            # A killed broker may not register again before its old session has ended, 9 s by default.
            "KAFKA_BROKER_SESSION_TIMEOUT_MS": "1000",
            "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "200",
        },
    )


_RECIPES: dict[str, Callable[[str], Recipe]] = {
    "nats": _nats,
    "redis": _redis,
    "valkey": _valkey,
    "redis-cluster": _redis_cluster,
    "redis-sentinel": _redis_sentinel,
    "zenoh": _zenoh,
    "kafka": _kafka,
}

# The first request that every Kafka understands: ApiVersions, version 0, of a client without a name.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)


def _in_background(*words: str | int) -> str:
    return f"{shlex.join(map(str, words))} &"


def _reply(port: int, request: bytes = b"") -> bytes:
    """The first bytes that a server sends, after a request if there is one; none when it does not serve."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as one:
            one.sendall(request)
            return one.recv(64)
    except OSError:
        return b""
