"""What a live client of redis-py knows of its servers: `Default` reuses that, never its connections.

redis-py is not imported: whoever hands over a client has it, in whatever version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from bus.config import NoSecret, Redis, RedisCluster, RedisSentinel, Uri, Value
from bus.errors import ConfigError

# What a configuration can say of TLS. What else is set must not be lost in silence.
TLS = ("ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
# redis-py has no stubs that would name its connection_kwargs.
Options = Mapping[str, Any]


def configuration_of(client: object) -> Redis | RedisCluster | RedisSentinel | None:
    """The configuration that leads where a client leads; None: it is no client of redis-py.

    The client may be sync or of asyncio, of a cluster, or from `Sentinel.master_for`. Raises
    ConfigError for what a configuration cannot say, such as a credential provider.
    """
    if not any(cls.__module__.partition(".")[0] == "redis" for cls in type(client).__mro__):
        return None
    live: Any = client
    if (cluster := getattr(live, "nodes_manager", None)) is not None:
        options: Options = cluster.connection_kwargs
        scheme, fields = _tls(options, options.get("connection_class"))
        nodes = [_uri(scheme, options, node.host, node.port) for node in cluster.startup_nodes.values()]
        replicas = any(
            getattr(live, name, None) for name in ("read_from_replicas", "load_balancing_strategy")
        )
        return RedisCluster(urls=tuple(nodes), read_from_replicas=replicas, **_login(options), **fields)
    if (pool := getattr(live, "connection_pool", None)) is None:
        return None
    options = pool.connection_kwargs
    scheme, fields = _tls(options, pool.connection_class)
    if (manager := getattr(pool, "sentinel_manager", None)) is None:
        query = {name: options[name] for name in ("username", "password", "db") if options.get(name)}
        query["protocol"] = 3 if options.get("protocol") == 3 else 2
        address = options.get("host", "localhost"), options.get("port", 6379)
        return Redis(url=_uri(scheme, options, *address, **query), **fields)
    pools = [sentinel.connection_pool for sentinel in manager.sentinels]
    asked: list[Options] = [one.connection_kwargs for one in pools]
    if any(_tls(one.connection_kwargs, one.connection_class)[0] != scheme for one in pools):
        raise _cannot_say("TLS for one of master and sentinels only")
    login = _login(asked[0])
    return RedisSentinel(
        urls=tuple(_uri(scheme, options, one["host"], one["port"]) for one in asked),
        service_name=pool.service_name,
        sentinel_username=login["auth_username"],
        sentinel_secret=login["auth_secret"],
        **_login(options),
        **fields,
    )


def _tls(options: Options, connection_class: type | None) -> tuple[str, dict[str, Any]]:
    """Scheme and fields."""
    kinds = "" if connection_class is None else " ".join(cls.__name__ for cls in connection_class.__mro__)
    uses_tls = bool(options.get("ssl")) or "SSL" in kinds
    unsaid = [name for name in options if name.startswith("ssl_") and name not in TLS] if uses_tls else []
    for name in ("credential_provider", *unsaid):
        if options.get(name):
            raise _cannot_say(name)
    if not uses_tls:
        return "unix" if "Unix" in kinds else "redis", {}
    files = options.get("ssl_ca_certs"), options.get("ssl_certfile"), options.get("ssl_keyfile")
    return "rediss", dict(zip(("tls_ca", "tls_cert", "tls_key"), files, strict=True))


def _login(options: Options) -> dict[str, Any]:
    password = options.get("password")
    return {
        "auth_username": options.get("username") if password else None,
        "auth_secret": Value(password) if password else NoSecret(),
        **({"protocol_version": "resp3"} if options.get("protocol") == 3 else {}),
    }


def _uri(scheme: str, options: Options, host: str = "", port: int = 6379, **query: object) -> Uri:
    if scheme == "rediss":
        demand = options.get("ssl_cert_reqs", "required")
        # "none", None, or a constant of ssl.
        query["ssl_cert_reqs"] = getattr(demand, "name", str(demand)).removeprefix("CERT_").lower()
        query["ssl_check_hostname"] = options.get("ssl_check_hostname", True)
        if path := options.get("ssl_ca_path"):
            query["ssl_ca_path"] = path
    place = quote(options["path"]) if scheme == "unix" else f"{f'[{host}]' if ':' in host else host}:{port}"
    return Uri(f"{scheme}://{place}?{urlencode(query)}".removesuffix("?"))


def _cannot_say(what: str) -> ConfigError:
    return ConfigError(
        f"the variant Default cannot take {what} over from the client that is its store: give "
        "store=<a Redis, RedisCluster or RedisSentinel configuration>"
    )
