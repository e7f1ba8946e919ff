"""What each field of the three Redis variants does, seen at a real server, or at a proxy in front of it."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from bus import AuthError, ConfigError
from bus.config import Duration, Redis, Uri, decode
from bus.errors import LinkError, TlsError
from bus.testing.brokers.certificates import Certificates
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.redis import RedisServer
from bus.testing.brokers.redis_cluster import RedisCluster
from bus.testing.brokers.redis_sentinel import RedisSentinel
from bus.testing.brokers.resp import ask
from bus.testing.conformance.station import until
from bus.testing.proxy import Proxy, Toxics
from tests.backends.redis_kit import (
    CHANNEL,
    SECONDS,
    End,
    asked,
    clients,
    cluster,
    ends,
    hears,
    one_node,
    redis,
    script,
    sentinel,
    value,
)
from tests.fields.effects import effect

ALL = ("Redis", "RedisCluster", "RedisSentinel")
SEVERAL = ("RedisCluster", "RedisSentinel")
PASSWORD, SENTINEL_PASSWORD = "of-the-servers", "of-the-sentinels"


@pytest.fixture(scope="module")
def module_brokers() -> Iterator[BrokerFactory]:
    factory = BrokerFactory()
    yield factory
    factory.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("redis-certificates"))


class System:
    """One variant: a configuration of it, and the server that serves our channel."""

    def __init__(self, source: dict[str, object], server: Callable[[], RedisServer]) -> None:
        self._source = source
        self._server = server

    def make(self, **fields: object) -> dict[str, object]:
        return {**self._source, **fields}

    @property
    def server(self) -> RedisServer:
        return self._server()


@pytest.fixture(scope="module", params=ALL)
def system(request: pytest.FixtureRequest, module_brokers: BrokerFactory) -> System:
    """Each variant, with servers that have passwords."""
    login = {"authUsername": None, "authSecret": value(PASSWORD)}
    if request.param == "RedisSentinel":
        broker = module_brokers(RedisSentinel, password=PASSWORD, sentinel_password=SENTINEL_PASSWORD)
        broker.keep()
        source = sentinel(*broker.urls, sentinelSecret=value(SENTINEL_PASSWORD), **login)
        return System(source, lambda: broker.master)
    if request.param == "RedisCluster":
        server = one_node(module_brokers, password=PASSWORD)
        source = cluster(f"redis://127.0.0.1:{server.port}", **login)
    else:
        server = module_brokers(RedisServer, password=PASSWORD)
        source = redis(server.url)
    server.keep()
    return System(source, lambda: server)


async def error_of(source: object, timeout: float = SECONDS) -> tuple[Exception, float]:
    """What `connect` raises, and after how many seconds."""
    started = time.monotonic()
    error = await End(source, timeout=timeout).fails()
    return error, time.monotonic() - started


# -- where -----------------------------------------------------------------------------------------


@effect("Redis", "url", "the server: redis://, valkey:// and unix://, TLS with rediss:// and valkeys://")
async def test_the_url_says_which_server(
    redis_server: RedisServer, certificates: Certificates, broker_of: BrokerFactory
) -> None:
    secured = broker_of(RedisServer, tls=certificates.server)
    trusted = {"tlsCa": str(certificates.ca)}
    for scheme, server, fields in (
        ("redis", redis_server, {}),
        ("valkey", redis_server, {}),
        ("rediss", secured, trusted),
        ("valkeys", secured, trusted),
    ):
        async with ends(redis(f"{scheme}://127.0.0.1:{server.port}", **fields)):
            assert len(await clients(server)) == 2
    async with ends(f"unix://{redis_server.socket}"):
        assert {one["addr"] for one in await clients(redis_server)} == {f"{redis_server.socket}:0"}


@effect("Redis", "url", "its path or ?db= is the database of the connections; the channel is the same in all")
async def test_the_path_of_the_url_is_the_database(redis_server: RedisServer) -> None:
    async with ends(redis_server.url + "/3", redis(redis_server.url + "?db=4")) as (third, fourth):
        assert sorted(one["db"] for one in await clients(redis_server)) == ["3", "3", "4", "4"]
        await third.link.send(b"to all databases")
        await hears(fourth, b"to all databases")


@effect("Redis", "url", "user and password for the server, with escapes; also as ?username= and ?password=")
async def test_the_url_has_user_and_password(broker_of: BrokerFactory) -> None:
    secret = "p@ss/w:rd%?&="
    server = broker_of(RedisServer, users={"bus": f"on >{secret} &* +@all"})
    for url in (
        server.url_of("bus", secret),
        f"{server.url}?username=bus&password=p%40ss%2Fw%3Ard%25%3F%26%3D",
    ):
        async with ends(redis(url)):
            assert {one["user"] for one in await clients(server)} == {"bus"}


@effect("Redis", "url", "?protocol=3: RESP3")
async def test_the_url_can_want_resp3(redis_server: RedisServer) -> None:
    for query, version in ("", "2"), ("?protocol=2", "2"), ("?protocol=3", "3"), ("?protocol=resp3", "3"):
        # As a field, and as the whole configuration, where other fields may stand beside it.
        for source in redis(redis_server.url + query), f"{redis_server.url}{query or '?db=0'}&timeout=5s":
            async with ends(source) as (end,):
                assert {one["resp"] for one in await clients(redis_server)} == {version}
                await end.link.send(b"hello")
                await hears(end, b"hello")


def test_what_a_url_says_to_redis_stays_in_it_and_is_hidden_like_a_login() -> None:
    source = decode("redis://h:1/2?username=u&password=p%40ss%26word%25&timeout=5s")
    assert source == Redis(
        url=Uri("redis://h:1/2?username=u&password=p%40ss%26word%25"), timeout=Duration("5s")
    )
    assert "ss%26" not in repr(source)


@effect("Redis", "url", "?ssl_cert_reqs=none and ?ssl_check_hostname=false: the server is verified less")
async def test_the_url_can_want_less_verification(
    certificates: Certificates, broker_of: BrokerFactory
) -> None:
    server = broker_of(RedisServer, tls=certificates.wrong_host)
    trusted = {"tlsCa": str(certificates.ca)}
    for query, fields, is_refused in (
        ("", trusted, True),
        ("?ssl_cert_reqs=required&ssl_check_hostname=true", trusted, True),
        ("?ssl_check_hostname=False", trusted, False),
        ("?ssl_check_hostname=false", {}, True),
        ("?ssl_cert_reqs=optional", {}, True),
        ("?ssl_cert_reqs=none", {}, False),
    ):
        source = redis(server.url + query, **fields)
        if is_refused:
            assert isinstance((await error_of(source))[0], TlsError)
        else:
            async with ends(source):
                pass


@effect("RedisCluster", "urls", "nodes that are asked for the others: one that answers is enough")
async def test_one_node_that_answers_leads_to_the_cluster(redis_cluster: RedisCluster) -> None:
    for node in redis_cluster.nodes[:2]:
        async with ends(cluster("redis://127.0.0.1:1", node.url)):
            pass
    assert len(await places(redis_cluster, cluster(redis_cluster.urls[0]))) > 1


@effect("RedisSentinel", "urls", "the sentinels: one that answers is enough")
async def test_one_sentinel_that_answers_leads_to_the_master(redis_sentinel: RedisSentinel) -> None:
    async with ends(sentinel("redis://127.0.0.1:1", redis_sentinel.urls[1], "redis://127.0.0.1:2")):
        assert len(await clients(redis_sentinel.master)) == 2


@effect("RedisSentinel", "serviceName", "the master is asked for by this name")
async def test_the_master_is_asked_for_by_its_name(broker_of: BrokerFactory) -> None:
    broker = broker_of(RedisSentinel, name="cache")
    async with ends(sentinel(*broker.urls, serviceName="cache")):
        assert len(await clients(broker.master)) == 2
    error, _ = await error_of(sentinel(*broker.urls))
    assert isinstance(error, ConfigError)
    assert "serviceName 'mymaster'" in str(error)


# -- login -----------------------------------------------------------------------------------------


@pytest.fixture
def with_users(broker_of: BrokerFactory) -> RedisServer:
    """A cluster of one node with users."""
    users = {"stalwart": f"on >{PASSWORD} allchannels +@all", "bus": f"on >{PASSWORD} allchannels +@all"}
    return one_node(broker_of, users=users)


@effect(
    "RedisCluster", "authUsername", "the user; without a secret it is not sent, so an open server is open"
)
async def test_the_user_of_a_cluster(with_users: RedisServer) -> None:
    secret = {"authSecret": value(PASSWORD)}
    for fields, user in (
        ({}, "default"),
        ({"authUsername": "bus"}, "default"),
        (secret, "stalwart"),
        (secret | {"authUsername": "bus"}, "bus"),
    ):
        async with ends(cluster(with_users.url, **fields)):
            assert {one["user"] for one in await clients(with_users)} == {user}


@effect("RedisCluster", "authSecret", "the password, from here, the environment or a file, at each connect")
async def test_the_secret_of_a_cluster(
    broker_of: BrokerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = one_node(broker_of, password=PASSWORD)
    url = f"redis://127.0.0.1:{node.port}"
    path = tmp_path / "secret"
    path.write_text("not yet\n")
    path.chmod(0o600)
    file = {"@type": "File", "filePath": str(path)}
    monkeypatch.setenv("REDIS_TEST_PASSWORD", PASSWORD)
    variable = {"@type": "EnvironmentVariable", "variableName": "REDIS_TEST_PASSWORD"}
    for secret in value(PASSWORD), variable:
        async with ends(cluster(url, authUsername=None, authSecret=secret)):
            pass
    end = End(cluster(url, authUsername=None, authSecret=file))
    assert isinstance(await end.fails(), AuthError)
    path.write_text(f"{PASSWORD}\n")
    await (await end.connect()).drop()


@effect("RedisSentinel", "authUsername", "the user at the master; without a secret it is not sent")
@effect("RedisSentinel", "authSecret", "the password of the master; that of the sentinels is another one")
async def test_the_login_at_a_master(broker_of: BrokerFactory) -> None:
    users = {"bus": f"on >{PASSWORD} allchannels +@all"}
    broker = broker_of(RedisSentinel, users=users)
    for fields, user in (
        ({}, "default"),
        ({"authUsername": "bus"}, "default"),
        ({"authUsername": "bus", "authSecret": value(PASSWORD)}, "bus"),
    ):
        async with ends(sentinel(*broker.urls, **fields)):
            assert {one["user"] for one in await clients(broker.master)} == {user}
    error, _ = await error_of(sentinel(*broker.urls, authUsername="bus", authSecret=value("wrong")))
    assert "(authUsername, authSecret)" in str(error)


@effect("RedisSentinel", "sentinelUsername", "the user at the sentinels; null: the default one")
@effect("RedisSentinel", "sentinelSecret", "the password of the sentinels")
async def test_the_login_at_the_sentinels(broker_of: BrokerFactory) -> None:
    broker = broker_of(RedisSentinel, sentinel_password=SENTINEL_PASSWORD)
    one = broker.sentinels[0]
    url = f"redis://127.0.0.1:{one.port}"
    rule = ("ACL", "SETUSER", "watch", "on", ">of-watch", "allchannels", "+@all")
    await asyncio.to_thread(ask, one, *rule)
    async with ends(
        sentinel(url, sentinelSecret=value(SENTINEL_PASSWORD)),
        sentinel(url, sentinelSecret=value("of-watch"), sentinelUsername="watch"),
    ):
        pass
    for wrong in (
        sentinel(url),
        sentinel(url, sentinelSecret=value("of-watch")),
        sentinel(url, sentinelSecret=value("wrong"), sentinelUsername="watch"),
    ):
        error, _ = await error_of(wrong)
        assert isinstance(error, AuthError)
        assert "(sentinelUsername, sentinelSecret)" in str(error)


# -- times -----------------------------------------------------------------------------------------


@effect(ALL, "timeout", "a server that does not answer for this long is given up")
async def test_a_silent_server_is_given_up_after_the_timeout() -> None:
    with Proxy(("127.0.0.1", 1)) as proxy:
        proxy.silence()
        url = f"redis://{proxy.address}"
        for source in (
            redis(url, timeout=300),
            cluster(url, timeout=300, maxRetries=1),
            sentinel(url, timeout=300),
        ):
            error, took = await error_of(source, timeout=60)
            assert isinstance(error, LinkError)
            assert "timeout" in str(error)
            assert 0.3 <= took < 1


@effect(ALL, "poolTimeoutCreate", "all connections of one link together may take this long")
async def test_a_slow_link_is_given_up_after_its_time(system: System) -> None:
    server = system.server
    with Proxy(("127.0.0.1", server.port)) as proxy:
        proxy.down = Toxics(delay=0.15)
        source = _through(system, proxy)
        for limit in 30_000, None:
            async with ends(source | {"poolTimeoutCreate": limit}):
                pass
        error, took = await error_of(source | {"poolTimeoutCreate": 200})
        assert isinstance(error, LinkError)
        assert "poolTimeoutCreate" in str(error)
        assert took < 1


def _through(system: System, proxy: Proxy) -> dict[str, object]:
    """The configuration with the first contact through a proxy."""
    source = system.make()
    if source["@type"] == "Redis":
        return source | {"url": str(source["url"]).rpartition("@")[0] + f"@{proxy.address}"}
    if source["@type"] == "RedisSentinel":
        first = cast("list[str]", source["urls"])[0]
        proxy.target = ("127.0.0.1", int(first.rpartition(":")[2]))
    return source | {"urls": [f"redis://{proxy.address}"]}


@effect(ALL, "poolTimeoutWait", "a link ends when the answer to a publish takes longer; null: it does not")
@effect(ALL, "poolTimeoutRecycle", "a link ends when the answer to a ping takes longer; null: it does not")
async def test_a_link_ends_when_answers_are_late(system: System) -> None:
    server = system.server
    off = {"poolTimeoutWait": None, "poolTimeoutRecycle": None}
    limits = off, off | {"poolTimeoutWait": 300}, off | {"poolTimeoutRecycle": 300}
    async with ends(*(system.make(**fields) for fields in limits)) as (patient, waiting, pinging):
        server.processes[0].pause()
        started = time.monotonic()
        try:
            for end in patient, waiting:
                await end.link.send(b"unanswered")
            for end, text in (waiting, "PUBLISH"), (pinging, "PING"):
                error = await end.ended()
                assert isinstance(error, LinkError)
                assert f"to {text} within 0.3 s (poolTimeout" in str(error)
                assert 0.3 <= time.monotonic() - started < 0.9
            assert not patient.is_over
        finally:
            server.processes[0].resume()


async def test_a_quiet_link_is_pinged_and_lives(system: System) -> None:
    async with ends(system.make(poolTimeoutRecycle=100, poolTimeoutWait=100)) as (end,):
        await asyncio.sleep(0.6)
        assert not end.is_over
        (hearing,) = [one for one in await clients(system.server) if one["sub"] == "1"]
        assert hearing["cmd"] == "ping"


# -- connections -----------------------------------------------------------------------------------


@effect(ALL, "poolMaxConnections", "two connections are used, or one, which then speaks RESP3, if this is 1")
async def test_no_more_connections_than_allowed_are_made(system: System) -> None:
    for most, resp in (10, ["2", "2"]), (2, ["2", "2"]), (1, ["3"]):
        async with ends(system.make(poolMaxConnections=most), system.make()) as (end, other):
            await end.link.send(b"from one to other")
            await hears(other, b"from one to other")
            await other.link.send(b"from other to one")
            await hears(end, b"from other to one")
            await until(lambda: end.recorder.confirmed == 1, SECONDS, "no confirm")
            found = await clients(system.server)
            assert [one["resp"] for one in found] == [*resp, "2", "2"]


@effect(SEVERAL, "protocolVersion", "the version of the Redis protocol on all connections")
@pytest.mark.parametrize("system", SEVERAL, indirect=True)
async def test_the_protocol_has_the_version(system: System) -> None:
    for version in "resp2", "resp3":
        async with ends(system.make(protocolVersion=version)) as (end,):
            assert {one["resp"] for one in await clients(system.server)} == {version[-1]}
            await end.link.send(b"hello")
            await hears(end, b"hello")


# -- in a cluster ----------------------------------------------------------------------------------


async def places(broker: RedisCluster, source: object, links: int = 20) -> set[int]:
    """The ports of the nodes to which links are made."""
    found: set[int] = set()
    for _ in range(links):
        async with ends(source):
            used = [node.port for node in broker.nodes if await clients(node)]
            assert len(used) == 1
            found.update(used)
    return found


@effect("RedisCluster", "readFromReplicas", "replicas are used as well as masters; false: masters only")
async def test_replicas_are_used_if_allowed(redis_cluster: RedisCluster) -> None:
    masters = {node.port for node in redis_cluster.nodes if node.role == "master"}
    assert await places(redis_cluster, cluster(*redis_cluster.urls, readFromReplicas=False)) <= masters
    # One time in a million all of 20 links are to masters.
    assert not await places(redis_cluster, cluster(*redis_cluster.urls)) <= masters


@effect("RedisCluster", "shardedPubSub", "the channel is sharded: it stays at the master of its slot")
async def test_a_sharded_channel_stays_at_its_master(redis_cluster: RedisCluster) -> None:
    sharded = cluster(*redis_cluster.urls, shardedPubSub=True)
    master = redis_cluster.master_of(CHANNEL)
    assert await places(redis_cluster, sharded, links=4) == {master.port}
    async with ends(sharded, sharded | {"protocolVersion": "resp3"}, cluster(*redis_cluster.urls)) as made:
        one, two, classic = made
        assert await asked(master, "PUBSUB", "SHARDCHANNELS") == [CHANNEL]
        await one.link.send(b"of one")
        await hears(two, b"of one")
        await two.link.send(b"of two")
        await hears(one, b"of two")
        await classic.link.send(b"classic")
        await hears(classic, b"classic")
        assert classic.heard == [b"classic"]
        assert one.heard == two.heard == [b"of one", b"of two"]


LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"


@effect(
    "RedisCluster",
    "maxRetries",
    "so many nodes are tried by one connect; null: those that are known, and one",
)
async def test_so_many_nodes_are_tried(redis_cluster: RedisCluster) -> None:
    for most, tries in (1, 1), (3, 3), (9, 9), (None, 3):
        async with script(LOADING) as one, script(LOADING) as other:
            error, _ = await error_of(cluster(one.url, other.url, maxRetries=most))
            assert "LOADING" in str(error)
            assert len(one.times) + len(other.times) == tries
            assert abs(len(one.times) - len(other.times)) <= 1


@effect("RedisCluster", "minRetryWait", "the least time between two nodes that are tried; null: none")
@effect("RedisCluster", "maxRetryWait", "the most time between them, if it is longer; null: minRetryWait")
@pytest.mark.parametrize(
    ("shortest", "longest"), [(None, None), (100, None), (None, 50), (60, 120), (100, 100)]
)
async def test_a_try_waits_between_both_times(shortest: int | None, longest: int | None) -> None:
    async with script(LOADING) as server:
        waits = {"minRetryWait": shortest, "maxRetryWait": longest}
        await error_of(cluster(server.url, maxRetries=6, **waits))
    pauses = [later - earlier for earlier, later in itertools.pairwise(server.times)]
    assert len(pauses) == 5
    assert min(pauses) >= (shortest or 0) / 1000
    most = (longest or shortest or 0) / 1000
    assert statistics.median(pauses) <= most + 0.05
    if longest and not shortest:
        assert max(pauses) - min(pauses) > 0.001


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mutual(module_brokers: BrokerFactory, certificates: Certificates) -> RedisServer:
    """A cluster of one node that wants certificates, and proves to be redis.test only."""
    node = one_node(module_brokers, tls=certificates.wrong_host, client_certificates=True)
    node.keep()
    return node


@effect(ALL, "tlsCa", "the file of the authorities to trust, instead of those of the machine")
@effect(ALL, "tlsCert", "the file of our certificate, for a server that wants one")
@effect(ALL, "tlsKey", "the file of its key, if that is not in the same file")
@effect(ALL, "tlsHostname", "the name that the server's certificate must have, instead of the host's")
@pytest.mark.parametrize("kind", ALL)
async def test_tls_with_certificates_of_both_sides(
    mutual: RedisServer, certificates: Certificates, kind: str
) -> None:
    def make(**fields: object) -> dict[str, object]:
        url = mutual.url if kind == "Redis" else [mutual.url]
        return {"@type": kind, "url" if kind == "Redis" else "urls": url, **fields}

    identity = certificates.client
    ca, host = {"tlsCa": str(certificates.ca)}, {"tlsHostname": "other.test"}
    pair = {"tlsCert": str(identity.certificate), "tlsKey": str(identity.key)}
    both = {"tlsCert": str(identity.both)}
    for wrong, text in (
        (host | pair, "tlsCa"),
        ({"tlsCa": str(certificates.other_ca)} | host | pair, "tlsCa"),
        (ca | pair, "tlsHostname"),
        (ca | host, "tlsCert, tlsKey"),
    ):
        error, _ = await error_of(make(**wrong))
        assert isinstance(error, TlsError)
        assert text in str(error)
    for right in ca | host | pair, ca | host | both:
        if kind == "RedisSentinel":
            # TLS is done: now we hear that it is a server.
            error, _ = await error_of(make(**right))
            assert "is no sentinel" in str(error)
        else:
            async with ends(make(**right)) as (end,):
                await end.link.send(b"hello")
                await hears(end, b"hello")


async def test_a_master_behind_sentinels_with_tls(
    broker_of: BrokerFactory, certificates: Certificates
) -> None:
    broker = broker_of(RedisSentinel, tls=certificates.server)
    source = sentinel(*broker.urls, tlsCa=str(certificates.ca))
    async with ends(source) as (end,):
        await end.link.send(b"hello")
        await hears(end, b"hello")
    assert isinstance((await error_of(sentinel(*broker.urls)))[0], TlsError)
