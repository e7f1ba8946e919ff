"""The Redis backends, for Valkey as well: one server, a cluster, a master behind sentinels. See README.md.

They differ in which server a link is made to. It is found anew for every connect, so that no link
outlives a failover.
"""

from __future__ import annotations

import asyncio
import importlib
import random
import ssl
from abc import ABC, abstractmethod
from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

from bus.backend import Context, Fault, Features
from bus.config import NoSecret, Redis, RedisCluster, RedisSentinel
from bus.config.tls import tls_context
from bus.errors import AuthError, BusError, ConfigError, LinkError, TlsError
from bus_redis.access import Access
from bus_redis.connection import Address, parse
from bus_redis.faults import Late, graver
from bus_redis.link import RedisLink
from bus_redis.store import configuration_of

if TYPE_CHECKING:
    from bus.config import Secret, Uri
    from bus_redis.connection import Wire

__all__ = ["RedisBackend", "RedisClusterBackend", "RedisSentinelBackend"]

ConfigT = TypeVar("ConfigT", Redis, RedisCluster, RedisSentinel)
# Of the time that the core gives to `connect`: our own error says more than that it was late.
SHARE = 0.9
# The first that fits counts.
FAULTS: dict[type[BaseException], Fault] = {
    AuthError: Fault.AUTH, TlsError: Fault.TLS, ConfigError: Fault.CONFIG, Late: Fault.TIMEOUT,
    TimeoutError: Fault.TIMEOUT, LinkError: Fault.UNREACHABLE, OSError: Fault.UNREACHABLE,
}  # fmt: skip


class _Backend(ABC, Generic[ConfigT]):
    """What the three have in common."""

    features: ClassVar[Features] = Features(confirms=True, max_message=4 << 20, asyncio_only=True)
    is_sharded: bool = False

    def __init__(self, config: ConfigT, context: Context, field: str, uris: Sequence[Uri], port: int) -> None:
        importlib.import_module("hiredis")  # when it is missing, say so now

        self._config: ConfigT = config
        self._context = context
        self._field = field
        parsed = [parse(uri, port) for uri in uris]
        self._addresses = [address for address, _ in parsed]
        self._options = parsed[0][1]
        self._uses_tls = uris[0].reveal().startswith(("rediss:", "valkeys:"))
        self._is_single: bool = config.pool_max_connections == 1
        wanted = self._options.get("protocol", "2") if isinstance(config, Redis) else config.protocol_version
        self._protocol = "3" if self._is_single else wanted[-1]

    async def connect(self) -> RedisLink:
        """Find the server, log in, subscribe."""
        seconds = SHARE * self._context.connect_timeout
        if self._config.pool_timeout_create is not None:
            seconds = min(seconds, self._config.pool_timeout_create.seconds)
        try:
            async with asyncio.timeout(seconds):
                return await self._connect(asyncio.get_running_loop().time() + seconds)
        except TimeoutError:
            text = f"no link to the servers of {self._field} within {seconds:g} s (poolTimeoutCreate)"
        raise Late(text)

    def classify(self, exc: BaseException) -> Fault | None:
        """What we raise says it by its class."""
        return next((fault for kind, fault in FAULTS.items() if isinstance(exc, kind)), None)

    @abstractmethod
    async def _connect(self, until: float) -> RedisLink: ...

    async def _access(
        self, until: float, fields: str, user: str | None, secret: Secret, *, by_url: bool = True
    ) -> Access:
        """Secrets and certificates are read now. A user counts with a secret only, else the first URL."""
        config, options = self._config, self._options
        password = secret.resolve()
        if password is None and by_url:
            user, password = options.get("username"), options.get("password")
        return Access(
            config=config, context=self._context, protocol=self._protocol, options=options,
            url_field=self._field, login_fields=fields, username=user or "default", password=password,
            tls=await asyncio.to_thread(self._certificates) if self._uses_tls else None, until=until,
            share=1.0 if isinstance(config, Redis) and not self._uses_tls else 0.5,
        )  # fmt: skip

    def _certificates(self) -> ssl.SSLContext:
        config, options = self._config, self._options
        context = tls_context(
            config.tls_ca, config.tls_cert, config.tls_key, authorities=options.get("ssl_ca_path")
        )
        demand = options.get("ssl_cert_reqs", "required")
        is_named = options.get("ssl_check_hostname", "true").lower() == "true"
        context.check_hostname = is_named and demand == "required"
        context.verify_mode = ssl.VerifyMode[f"CERT_{demand.upper()}"]
        return context

    async def _link(self, access: Access, address: Address, *, masters_only: bool = True) -> RedisLink:
        wires: list[Wire] = []
        try:
            for _ in range(1 if self._is_single else 2):
                wire, is_master = await access.open(address)
                wires.append(wire)
                if masters_only and not is_master:
                    raise LinkError(
                        f"{address} is a read-only replica, and would publish to its own clients only: "
                        f"{self._field} must lead to the master"
                    )
            link = RedisLink(self._config, self._context, wires[0], wires[-1], is_sharded=self.is_sharded)
            await link.subscribe()
        except BaseException:
            for wire in wires:
                wire.abort()
            raise
        return link


class RedisBackend(_Backend[Redis]):
    """Backend for the variant `Redis`: the server of the URL."""

    Config: ClassVar[type[Redis]] = Redis

    def __init__(self, config: Redis, context: Context) -> None:
        super().__init__(config, context, "url", (config.url,), 6379)

    @staticmethod
    def configuration_of(client: object) -> Redis | RedisCluster | RedisSentinel | None:
        return configuration_of(client)  # of an application's, for the variant `Default`

    async def _connect(self, until: float) -> RedisLink:
        return await self._link(await self._access(until, "url", None, NoSecret()), self._addresses[0])


class RedisClusterBackend(_Backend[RedisCluster]):
    """Backend for the variant `RedisCluster`: any node, since each passes the channel on to all others.

    With sharded pub/sub it is the master of the channel's slot.
    """

    Config: ClassVar[type[RedisCluster]] = RedisCluster

    def __init__(self, config: RedisCluster, context: Context) -> None:
        super().__init__(config, context, "urls", config.urls, 6379)
        self.is_sharded: bool = config.sharded_pub_sub
        # What the last topology has named may be asked, too; the last link was to `_last`.
        self._known: list[Address] = []
        self._last: Address | None = None

    async def _connect(self, until: float) -> RedisLink:
        config = self._config
        access = await self._access(
            until, "authUsername, authSecret", config.auth_username, config.auth_secret
        )
        seeds = [*_shuffled(self._addresses), *_shuffled(set(self._known) - set(self._addresses))]
        tried: set[Address] = set()
        failure: BusError | None = None
        for number in range(config.max_retries or len(seeds) + 1):
            if number:
                await asyncio.sleep(self._pause())
            try:
                nodes = await self._nodes(access, seeds[number % len(seeds)])
                address = min(nodes, key=lambda node: (node in tried, node == self._last))
                tried.add(address)
                link = await self._link(access, address, masters_only=not config.read_from_replicas)
            except BusError as error:
                failure = graver(failure, error)
            else:
                self._known, self._last = nodes, address
                return link
        raise failure or LinkError("no node was tried")

    def _pause(self) -> float:
        shortest, longest = self._config.min_retry_wait, self._config.max_retry_wait
        least = shortest.seconds if shortest else 0.0
        return random.uniform(least, longest.seconds if longest else least)

    async def _nodes(self, access: Access, seed: Address) -> list[Address]:
        """Those that carry our channel by the word of one node, in random order."""
        wire, _ = await access.open(seed)
        try:
            if b"cluster_state:ok" not in cast("bytes", await wire.ask("CLUSTER", "INFO")):
                raise LinkError(f"{seed} says that its cluster is down: redis-cli --cluster check {seed}")
            shares = cast("list[tuple[int, int, list[bytes]]]", await wire.ask("CLUSTER", "SLOTS"))
        finally:
            wire.abort()
        slot = crc_hqx(self._context.channel.encode(), 0) % 16_384
        masters_only = self.is_sharded or not self._config.read_from_replicas
        nodes = {
            # A node without a name has that of the one that was asked.
            Address(name.decode() if name else seed.host, int(port))
            for first, last, *holders in shares
            if not self.is_sharded or first <= slot <= last
            for name, port, *_ in holders[: 1 if masters_only else None]
        }
        if not nodes:
            raise LinkError(f"{seed} knows no node of the cluster that serves our channel")
        return _shuffled(nodes)


class RedisSentinelBackend(_Backend[RedisSentinel]):
    """Backend for the variant `RedisSentinel`: the master that the first sentinel to answer names."""

    Config: ClassVar[type[RedisSentinel]] = RedisSentinel

    def __init__(self, config: RedisSentinel, context: Context) -> None:
        super().__init__(config, context, "urls", config.urls, 26379)

    async def _connect(self, until: float) -> RedisLink:
        config = self._config
        sentinels = await self._access(
            until, "sentinelUsername, sentinelSecret", config.sentinel_username, config.sentinel_secret
        )
        address = await self._master(sentinels)
        access = await self._access(
            until, "authUsername, authSecret", config.auth_username, config.auth_secret, by_url=False
        )
        return await self._link(access, address)

    async def _master(self, access: Access) -> Address:
        name = self._config.service_name
        failure: BusError | None = None
        for sentinel in _shuffled(self._addresses):
            try:
                wire, _ = await access.open(sentinel, is_sentinel=True)
                try:
                    found = await wire.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
                finally:
                    wire.abort()
            except BusError as error:
                failure = graver(failure, error)
            else:
                if found is not None:
                    host, port = cast("list[bytes]", found)
                    return Address(host.decode(), int(port))
        raise failure or ConfigError(f"no sentinel of urls knows the serviceName {name!r}")


def _shuffled(nodes: Iterable[Address]) -> list[Address]:
    mixed = list(nodes)
    random.shuffle(mixed)
    return mixed
