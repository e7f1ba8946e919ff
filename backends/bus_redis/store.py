"""What a live client of redis-py knows of its servers: `Default` reuses that, never its connections.

redis-py is not imported here: whoever hands over a client has it, in whatever version.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from bus.config import NoSecret, Redis, RedisCluster, RedisSentinel, Uri, Value
from bus.errors import ConfigError

# The options of TLS that a configuration can say. Another one that is set must not be lost in silence.
TLS = ("ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")


def configuration_of(client: object) -> Redis | RedisCluster | RedisSentinel | None:
    """The configuration that leads where a client leads; None: it is no client of redis-py.

    The client may be sync or of asyncio, of a cluster, or from `Sentinel.master_for`. Raises
    ConfigError for what a configuration cannot say, such as a credential provider.
    """
    if not any(cls.__module__.partition(".")[0] == "redis" for cls in type(client).__mro__):
        return None
    live: Any = client
    cluster, pool = getattr(live, "nodes_manager", None), getattr(live, "connection_pool", None)
    if cluster is not None:
        options = cluster.connection_kwargs
        uses_tls = bool(options.get("ssl")) or _is_tls(options.get("connection_class"))
        nodes = [(node.host, node.port) for node in cluster.startup_nodes.values()]
        return RedisCluster(
            urls=tuple(_uri(uses_tls, node, options) for node in nodes),
            read_from_replicas=bool(live.read_from_replicas or live.load_balancing_strategy),
            **_fields(options, uses_tls, has_login=True),
        )
    if pool is None:
        return None
    options, uses_tls = pool.connection_kwargs, _is_tls(pool.connection_class)
    if (manager := getattr(pool, "sentinel_manager", None)) is None:
        address = options.get("path") or (options.get("host", "localhost"), options.get("port", 6379))
        return Redis(url=_uri(uses_tls, address, options, login=True), **_fields(options, uses_tls))
    sentinels = [sentinel.connection_pool for sentinel in manager.sentinels]
    first = sentinels[0].connection_kwargs
    if _is_tls(sentinels[0].connection_class) != uses_tls:
        raise _not_taken("TLS for only one of master and sentinels")
    nodes = [(one.connection_kwargs["host"], one.connection_kwargs["port"]) for one in sentinels]
    return RedisSentinel(
        urls=tuple(_uri(uses_tls, node, options) for node in nodes),
        service_name=pool.service_name,
        sentinel_username=first.get("username") if first.get("password") else None,
        sentinel_secret=Value(first["password"]) if first.get("password") else NoSecret(),
        **_fields(options, uses_tls, has_login=True),
    )


def _is_tls(connection_class: type | None) -> bool:
    return connection_class is not None and any("SSL" in cls.__name__ for cls in connection_class.__mro__)


def _fields(options: Mapping[str, Any], uses_tls: bool, *, has_login: bool = False) -> dict[str, Any]:
    unsaid = [name for name in options if name.startswith("ssl_") and name not in TLS] if uses_tls else []
    for name in ("credential_provider", *unsaid):
        if options.get(name):
            raise _not_taken(name)
    fields: dict[str, Any] = {}
    if uses_tls:
        fields["tls_ca"] = options.get("ssl_ca_certs")
        fields["tls_cert"], fields["tls_key"] = options.get("ssl_certfile"), options.get("ssl_keyfile")
    if has_login:
        password = options.get("password")
        fields["auth_username"] = options.get("username")
        fields["auth_secret"] = Value(password) if password else NoSecret()
        fields["protocol_version"] = "resp3" if options.get("protocol") == 3 else "resp2"
    return fields


def _uri(uses_tls: bool, address: Any, options: Mapping[str, Any], *, login: bool = False) -> Uri:
    query: dict[str, object] = {}
    if uses_tls:
        demand = options.get("ssl_cert_reqs", "required")
        demand = demand.name.removeprefix("CERT_") if isinstance(demand, ssl.VerifyMode) else str(demand)
        query = {"ssl_cert_reqs": demand.lower(), "ssl_check_hostname": ...}
    ...


def _not_taken(what: str) -> ConfigError:
    return ConfigError(
        f"the variant Default cannot take over {what} of the store's client: give store= a Redis, "
        "RedisCluster or RedisSentinel configuration instead"
    )
