"""What `Bus.open` and `reconfigure` check before any I/O."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Callable, Container, Mapping
from itertools import count
from typing import TYPE_CHECKING, Protocol, cast

from bus import config, registry
from bus.errors import ConfigError
from bus.protocol.control import MAX_NAME

if TYPE_CHECKING:
    from bus.config import Coordinator
    from bus.node import Connection, Node


_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,48}")

# Makes the epochs; a simulated run puts a seeded one in its place (`bus.testing.run_sim`).
random_bits: Callable[[int], int] = secrets.randbits


class _ReadsClients(Protocol):
    """A backend that finds the configuration of a live client of its library; None: it is another's."""

    configuration_of: Callable[[object], Coordinator | None]


def new_epoch() -> int:
    """What tells this start of the node from every other one: random, since clocks jump and repeat."""
    return random_bits(63) or 1


def channel_of(cluster: object) -> str:
    """The channel of a cluster. Raises ConfigError."""
    if not isinstance(cluster, str) or not _CLUSTER.fullmatch(cluster):
        raise ConfigError(f"cluster is {cluster!r}; allowed are 1 to 48 of the characters A-Z a-z 0-9 _ -")
    return f"bus.{cluster}"


def name_of(node: object, taken: Container[str] = ()) -> str:
    """The name of this node, "<host>:<pid>" by default (rule 13). Raises ConfigError.

    A second bus of one process is "<host>:<pid>.2", and so on: `taken` are the names of its others.
    """
    own = f"{socket.gethostname()}:{os.getpid()}"
    free = (f"{own}.{number}" if number > 1 else own for number in count(1))
    name = next(one for one in free if one not in taken) if node is None else node
    if not isinstance(name, str) or not 0 < len(name.encode("utf-8", "replace")) <= MAX_NAME:
        raise ConfigError(f"node is {name!r}; it must be a text of 1 to {MAX_NAME} bytes")
    return name


def coordinator_of(source: object, store: object) -> Coordinator:
    """Decode and validate; the variant Default becomes the application's store. Raises ConfigError."""
    decoded = _decode(source)
    return _store_of(store) if isinstance(decoded, config.Default) else decoded


def _store_of(store: object) -> Coordinator:
    """The configuration of a store: it is one, or its backend reads it from a live client."""
    if store is None:
        given = "no store was given"
    elif isinstance(store, str | bytes | bytearray | os.PathLike | Mapping | config.Coordinator):
        found = _decode(cast("object", store))
        if isinstance(found, config.Redis | config.RedisCluster | config.RedisSentinel):
            return found
        given = f"the store is {config.type_of(found)}"
    else:
        read = cast("_ReadsClients", registry.load("Redis")).configuration_of
        if (known := read(store)) is not None:
            return _decode(known)
        given = f"the store is a {type(store).__module__}.{type(store).__qualname__}"
    raise ConfigError(
        f"the variant Default reuses the application's in-memory store, but {given}: Bus.open(..., "
        "store=<a Redis, RedisCluster or RedisSentinel configuration, or a client of redis-py: redis.Redis, "
        "redis.RedisCluster, Sentinel.master_for(), or one of these of redis.asyncio>)"
    )


def _decode(source: object) -> Coordinator:
    variants = (*config.VARIANTS, *registry.third_party_variants())
    return config.decode(source, variants=variants)


def prepare(node: Node, coordinator: Coordinator) -> Connection | None:
    """Build the backend, which validates the rest. None for Disabled. Raises ConfigError."""
    if isinstance(coordinator, config.Disabled):
        return None
    kind = config.type_of(coordinator)
    try:
        return node.prepare(kind, registry.load(kind), coordinator)
    except ModuleNotFoundError as error:
        raise registry.missing_library(kind, error) from error


def check_loop(connection: Connection, loop: str) -> None:
    """Some client libraries need asyncio. Raises ConfigError."""
    if connection.backend.features.asyncio_only and loop != "asyncio":
        raise ConfigError(
            f"the {connection.kind} backend needs asyncio (its client library does); you are running {loop}"
        )
