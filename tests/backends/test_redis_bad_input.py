"""What an operator can get wrong with Redis: each has an error of its own, in time, that names the field.

Those that only an operator can mend are fatal before the first READY (rule 17); the others are tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import AuthError, Bus, ConfigError
from bus.backend import Fault
from bus.errors import LinkError, TlsError
from bus.testing.brokers.certificates import Certificates
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.nats import NatsServer
from bus.testing.brokers.process import free_port
from bus.testing.brokers.redis import RedisServer
from bus.testing.brokers.redis_cluster import RedisCluster
from bus.testing.brokers.redis_sentinel import RedisSentinel
from bus.testing.proxy import Proxy
from tests.backends.nats_kit import assert_without_frames_of_a_login
from tests.backends.redis_kit import (
    CHANNEL,
    SECONDS,
    End,
    asked,
    cluster,
    ends,
    redis,
    script,
    sentinel,
    value,
)

# Seconds for a connect: shorter than usual, since some of these take half of it.
CONNECT = 2.5
PASSWORD = "right-password"
WRONG = "wrong-password"
USERS = {
    "other-channel": "on >x resetchannels &bus.other +@all",
    "no-subscribe": "on >x allchannels +@all -subscribe",
    "no-publish": "on >x allchannels +@all -publish",
    "no-ping": "on >x allchannels +@all -ping",
    "just-enough": f"on >x resetchannels &{CHANNEL} -@all +@pubsub +ping",
}


@pytest.fixture(scope="module")
def module_brokers() -> Iterator[BrokerFactory]:
    factory = BrokerFactory()
    yield factory
    factory.stop()


@pytest.fixture(scope="module")
def server(module_brokers: BrokerFactory) -> RedisServer:
    server = module_brokers(RedisServer, password=PASSWORD, users=USERS)
    server.keep()
    return server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("redis-certificates"))


FATAL: dict[type[Exception], Fault | None] = {
    AuthError: Fault.AUTH,
    TlsError: Fault.TLS,
    ConfigError: Fault.CONFIG,
}


async def error_of(source: object) -> Exception:
    """What `connect` raises; within the connect deadline, sorted, and without the password."""
    started = time.monotonic()
    end = End(source, timeout=CONNECT)
    error = await end.fails()
    assert time.monotonic() - started < CONNECT
    fault = end.backend.classify(error)
    assert fault is FATAL.get(type(error), fault)
    assert fault is not None
    assert fault.is_fatal == isinstance(error, ConfigError)
    assert WRONG not in str(error)
    assert WRONG not in repr(error)
    return error


async def is_fatal(source: object, kind: type[ConfigError], *texts: str) -> None:
    error = await error_of(source)
    assert type(error) is kind
    for text in texts:
        assert text in str(error)


async def is_tried_again(source: object, *texts: str) -> None:
    error = await error_of(source)
    assert isinstance(error, LinkError)
    for text in texts:
        assert text in str(error)


# -- login and permissions -------------------------------------------------------------------------


async def test_a_wrong_password_names_the_url(server: RedisServer) -> None:
    url = f"redis://:{WRONG}@127.0.0.1:{server.port}"
    await is_fatal(redis(url), AuthError, "WRONGPASS", "(url)", f"127.0.0.1:{server.port}")


async def test_a_missing_password_names_the_url(server: RedisServer) -> None:
    await is_fatal(redis(f"redis://127.0.0.1:{server.port}"), AuthError, "NOAUTH", "(url)")


async def test_an_unknown_user_names_the_url(server: RedisServer) -> None:
    await is_fatal(redis(f"redis://nobody:{WRONG}@127.0.0.1:{server.port}"), AuthError, "WRONGPASS", "(url)")


@pytest.mark.parametrize("kind", [cluster, sentinel])
async def test_a_wrong_password_names_the_fields_of_the_login(server: RedisServer, kind: object) -> None:
    make = cluster if kind is cluster else sentinel
    url = f"redis://127.0.0.1:{server.port}"
    secret = {"authSecret": value(WRONG)} if kind is cluster else {"sentinelSecret": value(WRONG)}
    fields = "authUsername, authSecret" if kind is cluster else "sentinelUsername, sentinelSecret"
    await is_fatal(make(url, **secret), AuthError, f"({fields})")
    await is_fatal(make(url), AuthError, f"({fields})")


async def test_a_wrong_password_of_the_master_behind_sentinels(broker_of: BrokerFactory) -> None:
    broker = broker_of(RedisSentinel, password=PASSWORD)
    wrong = sentinel(*broker.urls, authUsername=None, authSecret=value(WRONG))
    await is_fatal(wrong, AuthError, "(authUsername, authSecret)")
    async with ends(sentinel(*broker.urls, authUsername=None, authSecret=value(PASSWORD))):
        pass


@pytest.mark.parametrize("user", ["other-channel", "no-subscribe", "no-publish", "no-ping"])
async def test_a_missing_permission_says_the_command_that_gives_it(server: RedisServer, user: str) -> None:
    end = End(server.url_of(user, "x"))
    try:
        await end.connect()
    except AuthError as error:
        text = str(error)
    else:
        # PUBLISH and PING are refused when they are first sent, which is soon.
        await end.link.send(b"x")
        refusal = await end.ended()
        assert isinstance(refusal, AuthError)
        text = str(refusal)
    finally:
        await end.drop()
    assert "NOPERM" in text
    assert f"ACL SETUSER {user} &{CHANNEL} +@pubsub +ping" in text


async def test_what_the_command_gives_is_enough(server: RedisServer) -> None:
    async with ends(server.url_of("just-enough", "x")) as (end,):
        await end.link.send(b"hello")
        await asyncio.wait_for(_heard(end), SECONDS)


async def _heard(end: End) -> None:
    while not end.heard:
        await asyncio.sleep(0.01)


async def test_a_permission_that_is_missing_ends_the_bus_before_it_is_ready(server: RedisServer) -> None:
    async with Bus.open(server.url_of("no-publish", "x"), cluster="kit") as bus:
        with pytest.raises(AuthError, match=r"ACL SETUSER no-publish &bus\.kit") as caught:
            await bus.ready(SECONDS)
        assert_without_frames_of_a_login(caught.value)
        assert bus.status().state == "FATAL"


async def test_a_password_for_a_server_without_one_is_no_harm(redis_server: RedisServer) -> None:
    async with ends(redis(redis_server.url.replace("://", f"://:{WRONG}@"))):
        pass


# -- TLS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "texts"),
    [
        ("server", {"tlsCa": "other_ca"}, ["self-signed certificate", "tlsCa"]),
        ("server", {}, ["self-signed certificate", "tlsCa"]),
        ("server", {"tlsCa": "ca", "tlsHostname": "redis.test"}, ["redis.test", "tlsHostname"]),
        ("wrong_host", {"tlsCa": "ca"}, ["127.0.0.1", "mismatch", "tlsHostname"]),
        ("expired", {"tlsCa": "ca"}, ["expired", "renew it"]),
        ("foreign", {"tlsCa": "ca"}, ["self-signed certificate", "tlsCa"]),
    ],
    ids=["wrong CA", "no CA", "other name", "wrong host", "expired", "unknown CA"],
)
async def test_a_certificate_is_refused_with_the_reason(
    certificates: Certificates, broker_of: BrokerFactory, kind: str, fields: dict[str, str], texts: list[str]
) -> None:
    server = broker_of(RedisServer, tls=getattr(certificates, kind))
    if "tlsCa" in fields:
        fields = {**fields, "tlsCa": str(getattr(certificates, fields["tlsCa"]))}
    await is_fatal(redis(server.url, **fields), TlsError, f"127.0.0.1:{server.port}", *texts)


async def test_a_missing_client_certificate_is_named(
    certificates: Certificates, broker_of: BrokerFactory
) -> None:
    server = broker_of(RedisServer, tls=certificates.server, client_certificates=True)
    ours = {"tlsCa": str(certificates.ca)}
    for _ in range(5):  # the reason may be lost on the way: each time it must be found again
        await is_fatal(redis(server.url, **ours), TlsError, "CERTIFICATE_REQUIRED", "tlsCert, tlsKey")
    identity = certificates.client
    pair = {"tlsCert": str(identity.certificate), "tlsKey": str(identity.key)}
    async with ends(redis(server.url, **ours, **pair)):
        pass


async def test_tls_wanted_and_plain_text_offered_sends_no_password(server: RedisServer) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        url = f"rediss://:{WRONG}@{proxy.address}"
        await is_fatal(redis(url), TlsError, "speaks plain text", "url", "redis://")
        await is_fatal(cluster(url), TlsError, "speaks plain text", "urls")
        assert proxy.records
        assert not any(WRONG.encode() in record.up for record in proxy.records)


async def test_plain_text_wanted_and_tls_offered(
    certificates: Certificates, broker_of: BrokerFactory
) -> None:
    server = broker_of(RedisServer, tls=certificates.server)
    await is_fatal(redis(f"redis://127.0.0.1:{server.port}"), TlsError, "speaks TLS", "rediss://", "url")
    mutual = broker_of(RedisServer, tls=certificates.server, client_certificates=True)
    await is_fatal(redis(f"redis://:{WRONG}@127.0.0.1:{mutual.port}"), TlsError, "speaks TLS", "rediss://")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tlsCa": "/nonexistent/ca.pem"}, "tlsCa: /nonexistent/ca.pem: No such file"),
        ({"tlsCa": "{garbage}"}, "tlsCa: "),
        ({"tlsCert": "{garbage}"}, "tlsCert, tlsKey: "),
        ({"tlsCert": "/nonexistent/cert.pem", "tlsKey": "/nonexistent/key.pem"}, "tlsCert, tlsKey: "),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, fields: dict[str, str], text: str) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    given = {name: file.format(garbage=garbage) for name, file in fields.items()}
    await is_fatal(redis("rediss://127.0.0.1:1", **given), ConfigError, text, "pem")


# -- the wrong server ------------------------------------------------------------------------------


async def test_a_wrong_port_is_tried_again() -> None:
    await is_tried_again(redis("redis://127.0.0.1:1"), "127.0.0.1:1", "Connection refused", "url")


async def test_a_host_without_an_address_is_tried_again() -> None:
    await is_tried_again(redis("redis://redis.invalid"), "redis.invalid:6379", "url right?")


async def test_a_unix_socket_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    await is_tried_again(redis(f"unix://{tmp_path}/none"), f"{tmp_path}/none", "No such file")


async def test_another_protocol_is_said_to_be_one(broker_of: BrokerFactory) -> None:
    nats = broker_of(NatsServer)
    await is_tried_again(
        redis(f"redis://127.0.0.1:{nats.port}"),
        f"127.0.0.1:{nats.port}",
        "does not speak the protocol of Redis",
    )


async def test_a_silent_server_is_given_up_in_time() -> None:
    with Proxy(("127.0.0.1", 1)) as proxy:
        proxy.silence()
        for url in f"redis://{proxy.address}", f"rediss://{proxy.address}":
            end = End(redis(url), timeout=CONNECT)
            error = await end.fails()
            assert "poolTimeoutCreate" in str(error)
            assert end.backend.classify(error) is Fault.TIMEOUT


async def test_a_read_only_replica_is_refused(server: RedisServer, broker_of: BrokerFactory) -> None:
    replica = broker_of(RedisServer, password=PASSWORD, replica_of=server)
    await is_tried_again(
        redis(replica.url), f"127.0.0.1:{replica.port} is a read-only replica", "url", "master"
    )


async def test_a_database_that_is_not_there_is_named(server: RedisServer) -> None:
    await is_fatal(redis(f"{server.url}/99"), ConfigError, "DB index is out of range", "path of url")


async def test_a_server_with_too_many_clients_is_tried_again(broker_of: BrokerFactory) -> None:
    full = broker_of(RedisServer, options=["--maxclients", 1])
    await is_tried_again(redis(full.url), "max number of clients reached")


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (b"-DENIED Redis is running in protected mode\r\n", AuthError, "protected mode"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", LinkError, "LOADING"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", LinkError, "MASTERDOWN"),
        (b"-BUSY Redis is busy running a script\r\n", LinkError, "BUSY"),
        (b"-CLUSTERDOWN The cluster is down\r\n", LinkError, "CLUSTERDOWN"),
        (b"-ERR unknown command `HELLO`\r\n", ConfigError, "Redis 6, or any Valkey, is needed"),
        (b"-NOPROTO unsupported protocol version\r\n", ConfigError, "Redis 6, or any Valkey, is needed"),
        (b"*-1\r\n", LinkError, "protocol of Redis"),
        (b"$99999999999999999999\r\n", LinkError, "protocol of Redis"),
        (b"+OK\r\n", LinkError, "protocol of Redis"),
        (b"", LinkError, "closed the connection"),
    ],
)
async def test_what_a_server_answers_to_a_login_is_sorted(
    answer: bytes, kind: type[Exception], text: str
) -> None:
    async with script(answer) as server:
        error = await error_of(redis(f"redis://:{WRONG}@127.0.0.1:{server.port}"))
        assert isinstance(error, kind)
        assert text in str(error)
        assert f"127.0.0.1:{server.port}" in str(error)


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n"])
async def test_what_is_no_redis_server_names_the_url(scheme: str, answer: bytes) -> None:
    """Also one that hangs up in the middle of a TLS handshake, of which asyncio has nothing to say."""
    async with script(answer) as server:
        error = await error_of(redis(f"{scheme}://:{WRONG}@127.0.0.1:{server.port}"))
        assert f"127.0.0.1:{server.port}" in str(error)
        assert "url" in str(error)
        assert ": . " not in str(error)


# -- clusters and sentinels ------------------------------------------------------------------------


async def test_a_server_without_cluster_support_is_named(server: RedisServer) -> None:
    source = cluster(f"redis://127.0.0.1:{server.port}", authUsername=None, authSecret=value(PASSWORD))
    await is_fatal(source, ConfigError, "cluster support disabled", "urls", '"@type": "Redis"')


@pytest.mark.parametrize("sharded", [False, True])
async def test_a_cluster_that_is_down_is_tried_again(broker_of: BrokerFactory, sharded: bool) -> None:
    alone = broker_of(RedisServer, options=["--cluster-enabled", "yes", "--cluster-port", free_port()])
    source = cluster(alone.url, shardedPubSub=sharded)
    await is_tried_again(source, "cluster is down", f"redis-cli --cluster check 127.0.0.1:{alone.port}")


async def test_a_database_of_a_cluster_node_is_refused(broker_of: BrokerFactory) -> None:
    alone = broker_of(RedisServer, options=["--cluster-enabled", "yes", "--cluster-port", free_port()])
    await is_fatal(redis(f"{alone.url}/3"), ConfigError, "SELECT", "path of url")


async def test_an_unknown_service_name_is_told_by_the_sentinels(redis_sentinel: RedisSentinel) -> None:
    source = sentinel(*redis_sentinel.urls, serviceName="nobody")
    await is_fatal(source, ConfigError, "serviceName", "'nobody'", "urls")


async def test_an_unknown_service_name_is_tried_again_while_a_sentinel_is_away(
    redis_sentinel: RedisSentinel,
) -> None:
    source = sentinel(*redis_sentinel.urls, "redis://127.0.0.1:1", serviceName="nobody")
    await is_tried_again(source, "127.0.0.1:1", "Connection refused")


async def test_a_server_that_is_no_sentinel_is_named(server: RedisServer) -> None:
    source = sentinel(f"redis://127.0.0.1:{server.port}", sentinelSecret=value(PASSWORD))
    await is_fatal(source, ConfigError, "is no sentinel", '"@type": "Redis"')


async def test_a_sentinel_that_is_no_server_is_named(redis_sentinel: RedisSentinel) -> None:
    await is_fatal(redis(redis_sentinel.urls[0]), ConfigError, "is a sentinel", '"@type": "RedisSentinel"')
    await is_fatal(cluster(redis_sentinel.urls[0]), ConfigError, "is a sentinel")


async def test_a_node_that_an_operator_must_mend_does_not_hide_the_others(
    redis_cluster: RedisCluster,
) -> None:
    """One node refuses our user: the link is made to another one."""
    bad, *good = redis_cluster.nodes
    await asked(bad, "ACL", "SETUSER", "default", "resetchannels", "&other")
    try:
        for _ in range(6):
            async with ends(cluster(*redis_cluster.urls, maxRetries=12)) as (end,):
                await end.link.send(b"x")
    finally:
        await asked(bad, "ACL", "SETUSER", "default", "allchannels")
    assert good
