"""`Default` goes where the application's redis-py client goes, and leaves its connections alone."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
from redis.asyncio.cluster import ClusterNode

from bus import Bus, ConfigError, opening
from bus.config import Coordinator, Default, Redis, RedisCluster, RedisSentinel, Uri, Value, encode
from bus.testing.brokers import Broker
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.redis import RedisServer
from bus.testing.brokers.redis_cluster import RedisCluster as Cluster
from tests.bus.cluster import Note, cluster_name, take

# redis-py's own types are partly unknown.
aio: Any = redis.asyncio
PASSWORD = "p@ss/w:rd%"
NODES = [("redis-1", 7000), ("::1", 7001)]


def sentinels(kind: Any, **options: object) -> Any:
    made = kind(NODES, sentinel_kwargs={"username": "watch", "password": "s3"}, **options)
    return made.master_for("cache")


def cluster(**options: Any) -> object:
    found = [ClusterNode(*address) for address in NODES]
    return aio.RedisCluster(startup_nodes=found, **options)


# Untyped, since None is not among the types of redis-py, and is what half of the world writes.
UNVERIFIED: dict[str, Any] = {"ssl_cert_reqs": None, "ssl_check_hostname": False, "ssl_ca_path": "/d"}
VERIFIED = "?ssl_cert_reqs=required&ssl_check_hostname=True"
URLS = (Uri("redis://redis-1:7000"), Uri("redis://[::1]:7001"))
CLIENTS: dict[str, tuple[Callable[[], object], Coordinator]] = {
    "plain": (lambda: redis.asyncio.Redis(), Redis(url="redis://localhost:6379?protocol=2")),
    "sync": (
        lambda: redis.Redis(host="h", port=1, db=2, username="u", password=PASSWORD, protocol=3),
        Redis(url="redis://h:1?username=u&password=p%40ss%2Fw%3Ard%25&db=2&protocol=3"),
    ),
    "from_url": (
        lambda: aio.Redis.from_url("redis://u:p@h:7/3"),
        Redis(url="redis://h:7?username=u&password=p&db=3&protocol=2"),
    ),
    "unix": (
        lambda: redis.asyncio.Redis(unix_socket_path="/run/redis.sock", db=1),
        Redis(url="unix:///run/redis.sock?db=1&protocol=2"),
    ),
    "tls": (
        lambda: redis.Redis(host="h", ssl=True, ssl_ca_certs="/ca", ssl_certfile="/c", ssl_keyfile="/k"),
        Redis(
            url="rediss://h:6379?protocol=2&ssl_cert_reqs=required&ssl_check_hostname=True",
            tls_ca="/ca", tls_cert="/c", tls_key="/k",
        ),
    ),
    "tls unverified": (
        lambda: redis.asyncio.Redis(ssl=True, **UNVERIFIED),
        Redis(
            url="rediss://localhost:6379?protocol=2&ssl_cert_reqs=none&ssl_check_hostname=False"
            "&ssl_ca_path=%2Fd"
        ),
    ),
    "tls by constant": (
        lambda: redis.Redis(ssl=True, ssl_cert_reqs=ssl.CERT_OPTIONAL),
        Redis(url="rediss://localhost:6379?protocol=2&ssl_cert_reqs=optional&ssl_check_hostname=True"),
    ),
    "sentinel": (
        lambda: sentinels(redis.asyncio.sentinel.Sentinel, username="u", password=PASSWORD, protocol=3),
        RedisSentinel(
            urls=URLS, service_name="cache", auth_username="u", auth_secret=Value(PASSWORD),
            sentinel_username="watch", sentinel_secret=Value("s3"), protocol_version="resp3",
        ),
    ),
    "sync sentinel": (
        lambda: sentinels(redis.sentinel.Sentinel),
        RedisSentinel(
            urls=URLS, service_name="cache", auth_username=None, sentinel_username="watch",
            sentinel_secret=Value("s3"),
        ),
    ),
    "cluster": (
        lambda: cluster(password="pw"),
        RedisCluster(urls=URLS, auth_username=None, auth_secret=Value("pw"), read_from_replicas=False),
    ),
    "cluster with replicas": (
        lambda: cluster(load_balancing_strategy=redis.cluster.LoadBalancingStrategy.ROUND_ROBIN),
        RedisCluster(urls=URLS, auth_username=None, read_from_replicas=True),
    ),
    "cluster with tls": (
        lambda: cluster(ssl=True, ssl_ca_certs="/ca"),
        RedisCluster(
            urls=tuple(Uri(url.reveal().replace("redis:", "rediss:") + VERIFIED) for url in URLS),
            auth_username=None, read_from_replicas=False, tls_ca="/ca",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_becomes_the_configuration_that_leads_where_it_leads(name: str) -> None:
    make, expected = CLIENTS[name]
    found = opening.coordinator_of(Default(), make())
    assert encode(found, reveal=True) == encode(expected, reveal=True)
    assert PASSWORD not in repr(found)


def test_a_subclass_of_a_client_is_one() -> None:
    class Ours(redis.asyncio.Redis):
        pass

    assert opening.coordinator_of(Default(), Ours(host="h")) == Redis(url="redis://h:6379?protocol=2")


PROVIDER = redis.UsernamePasswordCredentialProvider("u", "p")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: redis.Redis(credential_provider=PROVIDER), "credential_provider"),
        (lambda: redis.asyncio.Redis(ssl=True, ssl_ca_data="PEM"), "ssl_ca_data"),
        (lambda: redis.asyncio.Redis(ssl=True, ssl_ciphers="HIGH"), "ssl_ciphers"),
        (lambda: sentinels(redis.asyncio.sentinel.Sentinel, ssl=True), "TLS for one"),
    ],
)  # fmt: skip
def test_what_a_configuration_cannot_say_is_refused_by_name(make: Callable[[], object], what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        opening.coordinator_of(Default(), make())
    assert "store=<a Redis, RedisCluster or RedisSentinel configuration>" in str(caught.value)


@pytest.mark.parametrize("store", [redis.ConnectionPool(), redis.asyncio.ConnectionPool()])
def test_another_object_of_redis_py_is_no_client(store: object) -> None:
    with pytest.raises(ConfigError, match=r"the store is a redis\..*ConnectionPool"):
        opening.coordinator_of(Default(), store)


async def test_a_bus_beside_a_client_uses_connections_of_its_own(broker_of: BrokerFactory) -> None:
    server = broker_of(RedisServer)

    async def connections() -> list[tuple[str, str]]:
        """(id, name) of each, without the one that asks."""
        listing = str(await asyncio.to_thread(server.ask, "CLIENT", "LIST"))
        return [(id, name) for id, name in re.findall(r"id=(\d+) .*?name=(\S*)", listing)][:-1]

    async with aio.Redis(host="127.0.0.1", port=server.port, client_name="app") as client:
        await client.ping()
        own = await connections()
        assert [name for _, name in own] == ["app"]
        name = cluster_name()
        async with (
            Bus.open(Default(), store=client, node="a", cluster=name, events=(Note,)) as a,
            Bus.open(server.url, node="b", cluster=name) as b,
            b.subscribe(Note) as inbox,
        ):
            await a.ready(5, peers=1)
            assert a.status().links[0].type == "Redis"
            a.publish(Note(1))
            assert await take(inbox, 1) == [Note(1)]
            found = await connections()
            assert [name for _, name in found].count("bus:a") == 2
            assert own[0] in found
        await client.ping()
        assert await connections() == own


async def test_a_bus_beside_clients_of_a_cluster(redis_cluster: Broker) -> None:
    if not isinstance(redis_cluster, Cluster):
        pytest.skip("the addresses of a given cluster are not known here")
    node = redis_cluster.nodes[0]
    name = cluster_name()
    sync = redis.RedisCluster(host="127.0.0.1", port=node.port)
    try:
        async with (
            redis.asyncio.RedisCluster(host="127.0.0.1", port=node.port) as client,
            Bus.open(Default(), store=client, node="a", cluster=name) as a,
            Bus.open(Default(), store=sync, node="b", cluster=name) as b,
            b.subscribe(Note) as inbox,
        ):
            await a.ready(5, peers=1)
            a.publish(Note(1))
            assert await take(inbox, 1) == [Note(1)]
    finally:
        sync.close()


async def test_a_password_of_a_client_with_every_odd_character_logs_in(broker_of: BrokerFactory) -> None:
    server = broker_of(RedisServer, password=PASSWORD)
    client = redis.Redis(host="127.0.0.1", port=server.port, password=PASSWORD)
    async with Bus.open(Default(), store=client, cluster=cluster_name()) as a:
        await a.ready(5)
