"""The Redis variants: one server, a cluster, a master behind sentinels. Also for Valkey."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from bus.config.base import Coordinator, Url
from bus.config.duration import Duration
from bus.config.fields import (
    AuthUsername,
    TlsCa,
    TlsCert,
    TlsHostname,
    TlsKey,
    is_set,
    tls_conflicts,
    user_and_secret,
)
from bus.config.problem import Problem, problem
from bus.config.redacted import Uri, hide
from bus.config.secret import NO_SECRET, SecretKeyOptional
from bus.config.uri import Format, split_scheme, uri_format
from bus.errors import ConfigError

_PLAIN, _TLS = ("redis", "valkey"), ("rediss", "valkeys")


# What may stand behind the "?": the names of redis-py, so that its URLs are taken as they are.
_OPTIONS = {
    "db": "[0-9]+",
    "protocol": "(resp)?[23]",
    "username": ".*",
    "password": ".*",
    "ssl_ca_path": ".+",
    "ssl_cert_reqs": "none|optional|required",
    "ssl_check_hostname": "(?i:true|false)",
}


def _redis_format(schemes: tuple[str, ...], example: str, database: str) -> Format:
    """A Redis URI: a path, if there is one, is the number of a database (a regular expression)."""
    uri = uri_format(schemes, example)

    def wrong(text: str) -> str | None:
        if trouble := uri.wrong(text):
            return trouble
        scheme, rest = split_scheme(text)
        before, _, query = rest.partition("?")
        if scheme != "unix" and not re.fullmatch(database, before.partition("/")[2]):
            return "the path can only be the number of a database, and a cluster has only 0"
        given: set[str] = set()
        for part in query.split("&") if query else ():
            name, _, value = part.partition("=")
            if name in given:
                return "behind the ? one name stands twice; keep one of the two"
            given.add(name)
            if not re.fullmatch(_OPTIONS.get(name, "(?!)"), value):
                return f"behind the ? can stand {', '.join(_OPTIONS)}, with a value that it has"
        return None

    return Format(uri.allowed, wrong)


SERVER = _redis_format(("redis", "rediss", "unix", "valkey", "valkeys"), "redis://redis-1:6379/0", "[0-9]*")
NODE = _redis_format(("redis", "rediss", "valkey", "valkeys"), "redis://redis-1:6379", "0?")

Timeout = Annotated[Duration, Meta(description="How long making one connection may take.")]
PoolMaxConnections = Annotated[
    int,
    Meta(
        ge=1,
        le=8192,
        description="Connections to a server that there may be; 2 are used, or 1 with RESP3 if this is 1.",
    ),
]
PoolTimeoutCreate = Annotated[
    Duration | None,
    Meta(description="How long all connections of a link together may take; null: no limit."),
]
PoolTimeoutWait = Annotated[
    Duration | None,
    Meta(description="How long the answer to a publish may take; null: no limit."),
]
PoolTimeoutRecycle = Annotated[
    Duration | None,
    Meta(description="How long the answer to a ping of a used connection may take; null: no limit."),
]
RetryWait = Annotated[Duration | None, Meta(extra={"min_ms": 1, "max_ms": 1024})]
AuthSecret = Annotated[SecretKeyOptional, Meta(description="Password of the Redis servers.")]
ProtocolVersion = Annotated[
    Literal["resp2", "resp3"], Meta(description="Version of the Redis protocol to speak.")
]
Node = Annotated[Uri, Meta(extra={"format": NODE})]


class Redis(Coordinator, frozen=True, kw_only=True):
    """One Redis server. User and password stand in the URL."""

    url_schemes: ClassVar[tuple[str, ...]] = ("redis", "rediss", "unix", "valkey", "valkeys")
    # They stay in the URL, which is a field here.
    url_options: ClassVar[tuple[str, ...]] = tuple(_OPTIONS)

    url: Annotated[Uri, Meta(description="The server; rediss:// for TLS.", extra={"format": SERVER})] = Uri(
        "redis://127.0.0.1"
    )
    timeout: Timeout = Duration("10s")
    pool_max_connections: PoolMaxConnections = 10
    pool_timeout_create: PoolTimeoutCreate = Duration("30s")
    pool_timeout_wait: PoolTimeoutWait = Duration("30s")
    pool_timeout_recycle: PoolTimeoutRecycle = Duration("30s")
    tls_ca: TlsCa | None = None
    tls_cert: TlsCert | None = None
    tls_key: TlsKey | None = None
    tls_hostname: TlsHostname | None = None

    def __post_init__(self) -> None:
        hide(self, "url", Uri)

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        if len(url.hosts) > 1:
            raise ConfigError(
                f"{url.scheme}:// takes one host; for several write redis+cluster:// or redis+sentinel://"
            )
        if not url.options:
            return {"url": url.text}
        from urllib.parse import quote, urlencode

        return {"url": f"{url.text}?{urlencode(url.options, quote_via=quote)}"}

    def conflicts(self) -> Iterable[Problem]:
        uses_tls = split_scheme(self.url.reveal())[0] in _TLS
        yield from tls_conflicts(self, uses_tls=uses_tls, how="a rediss:// url", by=("url",))


class RedisCluster(Coordinator, frozen=True, kw_only=True):
    """A Redis Cluster; the other nodes are asked for from those in `urls`."""

    url_schemes: ClassVar[tuple[str, ...]] = ("redis+cluster", "rediss+cluster")

    urls: Annotated[
        tuple[Node, ...],
        Meta(min_length=1, description="Nodes to ask for the rest of the cluster."),
    ] = (Uri("redis://127.0.0.1"),)
    timeout: Timeout = Duration("10s")
    auth_username: AuthUsername | None = "stalwart"
    auth_secret: AuthSecret = NO_SECRET
    max_retry_wait: Annotated[
        RetryWait, Meta(description="Longest pause between two nodes that are tried, up to 1024 ms.")
    ] = None
    min_retry_wait: Annotated[
        RetryWait, Meta(description="Shortest pause between two nodes that are tried, up to 1024 ms.")
    ] = None
    max_retries: (
        Annotated[
            int,
            Meta(ge=1, le=1024, description="Nodes that one connect tries; null: one more than it knows."),
        ]
        | None
    ) = None
    read_from_replicas: Annotated[
        bool, Meta(description="Use replicas as well as masters: each node carries the channel.")
    ] = True
    protocol_version: ProtocolVersion = "resp2"
    sharded_pub_sub: Annotated[
        bool,
        Meta(description="Use sharded pub/sub (Redis 7): the channel stays in the shard of its slot."),
    ] = False
    pool_max_connections: PoolMaxConnections = 10
    pool_timeout_create: PoolTimeoutCreate = Duration("30s")
    pool_timeout_wait: PoolTimeoutWait = Duration("30s")
    pool_timeout_recycle: PoolTimeoutRecycle = Duration("30s")
    tls_ca: TlsCa | None = None
    tls_cert: TlsCert | None = None
    tls_key: TlsKey | None = None
    tls_hostname: TlsHostname | None = None

    def __post_init__(self) -> None:
        hide(self, "urls", Uri)

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        url.refuse_path()
        return {"urls": _node_urls(url, ""), **user_and_secret(url)}

    def conflicts(self) -> Iterable[Problem]:
        if (
            self.min_retry_wait is not None
            and self.max_retry_wait is not None
            and self.max_retry_wait < self.min_retry_wait
        ):
            yield problem(
                "minRetryWait",
                "conflict",
                "is longer than maxRetryWait",
                found=f"{self.min_retry_wait} > {self.max_retry_wait}",
                hint="make minRetryWait the shorter one",
                others=("maxRetryWait",),
            )
        yield from _urls_conflicts(self.urls, secret="authSecret" if is_set(self.auth_secret) else "")
        yield from tls_conflicts(self, uses_tls=_any_tls(self.urls), how="rediss:// urls", by=("urls",))


class RedisSentinel(Coordinator, frozen=True, kw_only=True):
    """The Redis master that sentinels name."""

    url_schemes: ClassVar[tuple[str, ...]] = ("redis+sentinel", "rediss+sentinel")

    urls: Annotated[tuple[Node, ...], Meta(min_length=1, description="The sentinels.")] = (
        Uri("redis://127.0.0.1:26379"),
    )
    service_name: Annotated[str, Meta(description="Name under which the sentinels know the master.")] = (
        "mymaster"
    )
    timeout: Timeout = Duration("10s")
    auth_username: AuthUsername | None = "stalwart"
    auth_secret: AuthSecret = NO_SECRET
    sentinel_username: Annotated[str, Meta(description="User name at the sentinels; null: none.")] | None = (
        None
    )
    sentinel_secret: Annotated[SecretKeyOptional, Meta(description="Password of the sentinels.")] = NO_SECRET
    protocol_version: ProtocolVersion = "resp2"
    pool_max_connections: PoolMaxConnections = 10
    pool_timeout_create: PoolTimeoutCreate = Duration("30s")
    pool_timeout_wait: PoolTimeoutWait = Duration("30s")
    pool_timeout_recycle: PoolTimeoutRecycle = Duration("30s")
    tls_ca: TlsCa | None = None
    tls_cert: TlsCert | None = None
    tls_key: TlsKey | None = None
    tls_hostname: TlsHostname | None = None

    def __post_init__(self) -> None:
        hide(self, "urls", Uri)

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        fields: dict[str, object] = {"urls": _node_urls(url, ":26379"), **user_and_secret(url)}
        if url.path:
            fields["serviceName"] = url.path
        return fields

    def conflicts(self) -> Iterable[Problem]:
        if self.sentinel_username is not None and not is_set(self.sentinel_secret):
            yield problem(
                "sentinelSecret", "conflict", "is needed by sentinelUsername", others=("sentinelUsername",)
            )
        secret = "sentinelSecret" if is_set(self.sentinel_secret) else ""
        yield from _urls_conflicts(self.urls, secret=secret)
        yield from tls_conflicts(self, uses_tls=_any_tls(self.urls), how="rediss:// urls", by=("urls",))


def _node_urls(url: Url, port: str) -> list[str]:
    """One URI per host of a redis+...:// URL; `port` is added to a host without one."""
    scheme = url.scheme.partition("+")[0]
    return [f"{scheme}://{host}{'' if ':' in host.rpartition(']')[2] else port}" for host in url.hosts]


def _any_tls(urls: Iterable[Uri]) -> bool:
    return any(split_scheme(uri.reveal())[0] in _TLS for uri in urls)


def _urls_conflicts(urls: tuple[Uri, ...], *, secret: str) -> Iterator[Problem]:
    """All URIs of one list speak TLS or none; a login stands in one place only."""
    texts = [uri.reveal() for uri in urls]
    if len({split_scheme(text)[0] in _TLS for text in texts}) > 1:
        yield problem("urls", "conflict", "with and without TLS are mixed", hint="use one scheme")
    if secret and any("@" in text for text in texts):
        yield problem(
            secret,
            "conflict",
            "is given, and urls hold a user or password as well",
            hint="keep one",
            others=("urls",),
        )
