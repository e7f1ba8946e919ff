"""URLs: each scheme's mapping, typed query parameters, and what is refused."""

from __future__ import annotations

import pytest

from bus.config import (
    Coordinator,
    EnvironmentVariable,
    File,
    Kafka,
    Memory,
    Nats,
    Redis,
    RedisCluster,
    RedisSentinel,
    Text,
    Uri,
    Value,
    Zenoh,
    decode,
    encode,
)
from tests.config.problems import codes, problems

CONNECT = '{mode:"client",connect:{endpoints:["tcp/a:7447", "tcp/[::1]:1"]}}'
LOGIN = (
    '{mode:"peer",connect:{endpoints:["tcp/a:7447"]},transport:{auth:{usrpwd:{user:"u",password:"p\\"w"}}}}'
)

GOOD: list[tuple[str, Coordinator]] = [
    ("memory://", Memory()),
    ("MEMORY://", Memory()),
    ("nats://h", Nats(addresses=("h",))),
    ("nats://a:4222,b:4223/", Nats(addresses=("a:4222", "b:4223"))),
    ("nats://[::1]:4222", Nats(addresses=("[::1]:4222",))),
    ("nats://u:p@a,b", Nats(addresses=("a", "b"), auth_username="u", auth_secret=Value("p"))),
    (
        "nats://u%40x:p%2F%3A+%25@a",
        Nats(addresses=("a",), auth_username="u@x", auth_secret=Value("p/:+%")),
    ),
    ("nats://tok%2Ben@h", Nats(addresses=("h",), credentials=Text("tok+en"))),
    ("tls://h:4222?tlsCa=/ca.pem", Nats(addresses=("h:4222",), use_tls=True, tls_ca="/ca.pem")),
    (
        "nats://h?authUsername=u&authSecret/variableName=PW&noEcho=false",
        Nats(
            addresses=("h",),
            auth_username="u",
            auth_secret=EnvironmentVariable("PW"),
            no_echo=False,
        ),
    ),
    ("nats://h?authSecret/filePath=%2Fpw", Nats(addresses=("h",), auth_secret=File("/pw"))),
    ("nats://h?authSecret=a=b", Nats(addresses=("h",), auth_secret=Value("a=b"))),
    ("nats://h?credentials=jwt", Nats(addresses=("h",), credentials=Text("jwt"))),
    ("nats://h?credentials/secret=jwt", Nats(addresses=("h",), credentials=Text("jwt"))),
    ("nats://h?authUsername=null", Nats(addresses=("h",), auth_username=None)),
    ("nats://h?maxReconnects=3", Nats(addresses=("h",), max_reconnects=3)),
    ("kafka://a:9092,b", Kafka(brokers=("a:9092", "b"), group_id="bus")),
    ("kafka://a?groupId=x%20y", Kafka(brokers=("a",), group_id="x y")),
    (
        "kafka://u:p@a?securityProtocol=SASL_SSL&saslMechanism=PLAIN",
        Kafka(
            brokers=("a",),
            group_id="bus",
            security_protocol="SASL_SSL",
            sasl_mechanism="PLAIN",
            auth_username="u",
            auth_secret=Value("p"),
        ),
    ),
    ("redis://h", Redis(url="redis://h")),
    (
        "redis://u:p%40@h:1/2?poolMaxConnections=5",
        Redis(url="redis://u:p%40@h:1/2", pool_max_connections=5),
    ),
    ("rediss://h", Redis(url="rediss://h")),
    ("valkey://h", Redis(url="valkey://h")),
    ("valkeys://h", Redis(url="valkeys://h")),
    ("unix:///run/redis.sock", Redis(url="unix:///run/redis.sock")),
    ("redis://h?poolTimeoutWait=null", Redis(url="redis://h", pool_timeout_wait=None)),
    (
        "redis+cluster://u:p@a:7000,b?readFromReplicas=false",
        RedisCluster(
            urls=(Uri("redis://a:7000"), Uri("redis://b")),
            auth_username="u",
            auth_secret=Value("p"),
            read_from_replicas=False,
        ),
    ),
    (
        "redis+cluster://:p@a",
        RedisCluster(urls=(Uri("redis://a"),), auth_username=None, auth_secret=Value("p")),
    ),
    ("rediss+cluster://a", RedisCluster(urls=(Uri("rediss://a"),))),
    ("redis+sentinel://h", RedisSentinel(urls=(Uri("redis://h:26379"),))),
    (
        "redis+sentinel://h:1,[::1]/primary?sentinelSecret=s",
        RedisSentinel(
            urls=(Uri("redis://h:1"), Uri("redis://[::1]:26379")),
            service_name="primary",
            sentinel_secret=Value("s"),
        ),
    ),
    ("rediss+sentinel://h", RedisSentinel(urls=(Uri("rediss://h:26379"),))),
    ("zenoh://", Zenoh(config='{mode:"peer"}', local=True)),
    ("zenoh://a,[::1]:1?mode=client", Zenoh(config=CONNECT)),
    ("zenoh://u:p%22w@a", Zenoh(config=LOGIN)),
]


@pytest.mark.parametrize(("url", "expected"), GOOD, ids=[url for url, _ in GOOD])
def test_url_gives_the_variant(url: str, expected: Coordinator) -> None:
    # Equal, and in the same types throughout.
    assert decode(url) == expected == decode(expected)
    assert encode(decode(url), reveal=True) == encode(decode(expected), reveal=True)


def test_query_values_have_the_types_of_their_fields() -> None:
    config = decode("nats://h?pingInterval=5s&timeoutRequest=1500&capacityClient=7&useTls=true")
    assert isinstance(config, Nats)
    assert (config.ping_interval.ms, config.timeout_request.ms) == (5_000, 1_500)
    assert (config.capacity_client, config.use_tls) == (7, True)


BAD: list[tuple[str, list[tuple[str, str]], str]] = [
    ("natz://h", [("", "source")], "did you mean nats://"),
    ("http://h", [("", "source")], "memory://"),
    ("nats:h", [("", "source")], "two slashes"),
    ("memory://h", [("", "source")], "takes no host"),
    ("memory://?x=1", [("x", "unknown")], "no field at all"),
    ("nats://", [("addresses", "empty")], "at least 1"),
    ("nats://?noEcho=1", [("addresses", "empty"), ("noEcho", "type")], "true or false"),
    ("nats://a,,b", [("", "source")], "host is missing"),
    ("nats://a:0,b:x", [("addresses/0", "format"), ("addresses/1", "format")], "1 to 65535"),
    ("nats://h/x", [("", "source")], "no path"),
    ("nats://h#x", [("", "source")], "%23"),
    ("nats://h h", [("", "source")], "%20"),
    ("nats://h\n,b", [("", "source")], "control character"),
    ("nats://@h", [("", "source")], "without a user"),
    ("nats://u:@h", [("authSecret/secret", "empty")], "must not be empty"),
    ("nats://u:p@a,u:p@b", [("", "source")], "once"),
    ("nats://u:p@w@a", [("", "source")], "%40"),
    ("nats://u:p/w@a", [("", "source")], "%2F"),
    ("nats://u:p%zz@a", [("", "source")], "%25"),
    ("nats://u:p%ff@a", [("", "source")], "UTF-8"),
    ("nats://u:****@a", [("authSecret/secret", "mask")], "the real one"),
    ("nats://h?noecho=true", [("noecho", "unknown")], "did you mean noEcho?"),
    ("nats://h?brokers=x", [("brokers", "unknown")], "field of Kafka, not of Nats"),
    ("nats://h?addresses=x", [("addresses", "duplicate")], "twice"),
    ("nats://h?noEcho=true&noEcho=true", [("noEcho", "duplicate")], "twice"),
    ("nats://h?noEcho/x=true", [("noEcho/x", "unknown")], "allowed: addresses"),
    (
        "nats://h?authSecret/path=x",
        [("authSecret/path", "unknown"), ("authSecret/secret", "required")],
        "secret",
    ),
    (
        "nats://h?pingInterval=5sec&capacityClient=many",
        [("pingInterval", "format"), ("capacityClient", "type")],
        "5sec",
    ),
    ("nats://u:p@h?credentials=x", [("credentials", "conflict")], "keep one"),
    ("nats://h?mode=peer", [("mode", "unknown")], "allowed: addresses"),
    ("kafka://u:p@h", [("authUsername", "conflict"), ("authSecret", "conflict")], "SASL_SSL"),
    ("redis://a,b", [("", "source")], "redis+cluster://"),
    ("redis://", [("url", "format")], "host is missing"),
    ("redis://h/x", [("url", "format")], "number of a database"),
    ("redis://h?pool=1", [("pool", "unknown")], "allowed: url"),
    ("redis://h?db=x", [("url", "format")], "behind the ?"),
    ("redis://h?protocol=3&protocol=2", [("protocol", "duplicate")], "twice"),
    ("redis://h?protocol=3&proto%63ol=3", [("protocol", "duplicate")], "twice"),
    ("redis://h?timeout=1s&timeout=1s", [("timeout", "duplicate")], "twice"),
    ("redis+cluster://h?timeout=1s&timeout=2s", [("timeout", "duplicate")], "twice"),
    ("redis+sentinel://h?serviceName=a&serviceName=a", [("serviceName", "duplicate")], "twice"),
    ("kafka://h?groupId=a&groupId=b", [("groupId", "duplicate")], "twice"),
    ("redis+cluster://h/1", [("", "source")], "no path"),
    ("unix://h/x", [("url", "format")], "unix:///"),
    ("zenoh://?mode=client", [("", "source")], "zenoh://host:port"),
    ("zenoh://u:p@", [("", "source")], "zenoh://host:port"),
    ("zenoh://u@h", [("", "source")], "needs both"),
    ("zenoh://h?mode=router", [("", "source")], "peer, client"),
    ("zenoh://h?mode=peer&mode=client", [("mode", "duplicate")], "twice"),
    ("zenoh://h?mod=peer", [("mod", "unknown")], "did you mean mode?"),
    ("zenoh://h?config={}", [("config", "duplicate")], "twice"),
    ("zenoh://h/x", [("", "source")], "no path"),
]


@pytest.mark.parametrize(("url", "expected", "words"), BAD, ids=[url for url, *_ in BAD])
def test_bad_url_is_refused(url: str, expected: list[tuple[str, str]], words: str) -> None:
    assert codes(url) == expected
    assert words in "\n".join(one.message for one in problems(url))


@pytest.mark.parametrize("host", ["a:x", "::1", "a:0", "a,b:x", "a:"])
def test_zenoh_host_must_be_a_host(host: str) -> None:
    assert "a host is not valid" in problems(f"zenoh://{host}")[0].message
