"""@type -> backend class. Strings only: nothing is imported until it is used.

Ours stand in a static table, which works without installed metadata (a plain checkout); others come
by the entry point group "bus.backends", name = @type, value = "module:Class".
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bus.errors import ConfigError

if TYPE_CHECKING:
    from bus.backend import Backend
    from bus.config import Coordinator

log: logging.Logger = logging.getLogger("bus")

GROUP = "bus.backends"

BUILTIN: dict[str, str] = {
    "Kafka": "bus_kafka:KafkaBackend",
    "Memory": "bus_memory:MemoryBackend",
    "Nats": "bus_nats:NatsBackend",
    "Redis": "bus_redis:RedisBackend",
    "RedisCluster": "bus_redis:RedisClusterBackend",
    "RedisSentinel": "bus_redis:RedisSentinelBackend",
    "Zenoh": "bus_zenoh:ZenohBackend",
}

# Module that is missing -> what to install.
EXTRAS: dict[str, tuple[str, str]] = {
    "Kafka": ("aiokafka", "kafka"),
    "Nats": ("nats-py", "nats"),
    "Redis": ("hiredis", "redis"),
    "RedisCluster": ("hiredis", "redis"),
    "RedisSentinel": ("hiredis", "redis"),
    "Zenoh": ("eclipse-zenoh", "zenoh"),
}

# In a checkout the plug-in packages lie beside `bus`. Appended, so that they can never shadow
# anything.
_CHECKOUT = Path(__file__).resolve().parent.parent / "backends"
if (_CHECKOUT / "bus_memory").is_dir() and str(_CHECKOUT) not in sys.path:
    sys.path.append(str(_CHECKOUT))


@lru_cache(maxsize=4)
def _installed(path: tuple[str, ...]) -> dict[str, str]:
    # Reads the metadata of every distribution (about 15 ms), which must not hold up each `Bus.open`.
    found = importlib.metadata.entry_points(group=GROUP)
    return {point.name: point.value for point in found}


def _entry_points() -> dict[str, str]:
    return _installed(tuple(sys.path))


def known_types() -> list[str]:
    """Every @type that has a backend, sorted."""
    return sorted({*BUILTIN, *_entry_points()})


def third_party_variants() -> list[type[Coordinator]]:
    """The configuration structs of backends that are not ours.

    A broken plug-in must not break the buses that never asked for it: it is left out and logged.
    """
    variants: list[type[Coordinator]] = []
    for name in sorted(_entry_points().keys() - BUILTIN.keys()):
        try:
            variant = load(name).Config
        except (ConfigError, AttributeError) as error:
            log.warning("the installed backend %s is left out: %s", name, error)
        else:
            variants.append(variant)
    return variants


def load(name: str) -> type[Backend]:
    """The backend class for one @type.

    Raises ConfigError: unknown @type (lists the known ones), missing client library (says what to
    install).
    """
    target = BUILTIN.get(name) or _entry_points().get(name)
    if target is None:
        raise ConfigError(
            f"no backend for @type {name!r} is installed; installed: {', '.join(known_types())}. "
            f"A backend is a package with an entry point in the group {GROUP!r}"
        )
    module, _, attribute = target.partition(":")
    try:
        return cast("type[Backend]", getattr(importlib.import_module(module), attribute))
    except Exception as error:  # whatever a foreign module does when it is imported
        raise ConfigError(f"the backend {name} ({target}) cannot be imported: {error}") from error


def missing_library(name: str, error: ModuleNotFoundError) -> ConfigError:
    """The error for a backend whose client library is not installed."""
    library, extra = EXTRAS.get(name, (error.name or "its client library", ""))
    how = f"pip install 'coordinator-bus[{extra}]'" if extra else f"pip install {library}"
    return ConfigError(f"the {name} backend needs {library}, which is not installed: {how}")
