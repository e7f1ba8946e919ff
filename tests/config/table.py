"""The contract of the configuration as a table: every field, its default, good and bad values.

Names, defaults and limits belong to existing configurations; they stand here a second time on
purpose, so that a change of one fails a test.
"""

from __future__ import annotations

from typing import NamedTuple

from bus.config import (
    Coordinator,
    Default,
    Disabled,
    Kafka,
    Memory,
    Nats,
    Redis,
    RedisCluster,
    RedisSentinel,
    Zenoh,
)

REQUIRED = object()
NONE = {"@type": "None"}


class Field(NamedTuple):
    """JSON default; (given, encoded) of good ones; (given, code, path below it) of bad ones."""

    default: object
    good: list[tuple[object, object]]
    bad: list[tuple[object, str, str]]


def same(*values: object) -> list[tuple[object, object]]:
    return [(value, value) for value in values]


def duration(default: int | None, least: int = 1, most: int = 2**53 - 1) -> Field:
    nullable = default is None or default == 30_000
    good = [*same(least, most), ("1s", 1000), ("250 ms", 250), ("1 S", 1000)]
    bad: list[tuple[object, str, str]] = [
        (0, "min", ""),
        (-1, "min", ""),
        (most + 1, "max", ""),
        ("5sec", "format", ""),
        ("", "format", ""),
        (1.5, "type", ""),
        (True, "type", ""),
        ([], "type", ""),
    ]
    return Field(default, [*good, (None, None)] if nullable else good, bad + null(nullable))


def null(nullable: bool) -> list[tuple[object, str, str]]:
    return [] if nullable else [(None, "null", "")]


def number(default: int | None, least: int, most: int = 2**53 - 1) -> Field:
    nullable = default is None
    good = same(least, most)
    bad: list[tuple[object, str, str]] = [
        (least - 1, "min", ""),
        (most + 1, "max", ""),
        (10**5000, "max", ""),
        ("7", "type", ""),
        (7.0, "type", ""),
        (True, "type", ""),
    ]
    return Field(default, [*good, (None, None)] if nullable else good, bad + null(nullable))


def flag(default: bool) -> Field:
    return Field(default, same(True, False), [("true", "type", ""), (1, "type", ""), (None, "null", "")])


def text(default: object, *, nullable: bool = False) -> Field:
    good = [*same("a", "ü b"), (" a ", "a")]
    bad: list[tuple[object, str, str]] = [
        ("", "empty", ""),
        ("  ", "empty", ""),
        ("a\x00b", "format", ""),
        (7, "type", ""),
        (["a"], "type", ""),
    ]
    return Field(default, [*good, (None, None)] if nullable else good, bad + null(nullable))


def choice(default: str | None, *values: str) -> Field:
    nullable = default is None
    good = same(*values)
    bad: list[tuple[object, str, str]] = [(values[0].swapcase(), "format", ""), (3, "type", "")]
    return Field(default, [*good, (None, None)] if nullable else good, bad + null(nullable))


def secret(given: str) -> Field:
    return Field(
        NONE,
        same(
            NONE,
            {"@type": given, "secret": " s3 cret\n"},
            {"@type": "EnvironmentVariable", "variableName": "PW"},
            {"@type": "File", "filePath": "/run/secrets/pw"},
        ),
        [
            (None, "null", ""),
            ("hunter2", "type", ""),
            ({}, "required", "/@type"),
            ({"@type": "Vault"}, "variant", "/@type"),
            (
                {"@type": "Text" if given == "Value" else "Value", "secret": "x"},
                "variant",
                "/@type",
            ),
            ({"@type": given}, "required", "/secret"),
            ({"@type": given, "secret": ""}, "empty", "/secret"),
            ({"@type": given, "secret": 7}, "type", "/secret"),
            ({"@type": given, "secret": "****"}, "mask", "/secret"),
            ({"@type": "None", "secret": "x"}, "unknown", "/secret"),
            ({"@type": "File"}, "required", "/filePath"),
            ({"@type": "File", "filePath": "a\x00"}, "format", "/filePath"),
            ({"@type": "EnvironmentVariable", "variableName": "A=B"}, "format", "/variableName"),
        ],
    )


def addresses(default: object, *more: str) -> Field:
    return Field(
        default,
        [
            *same(["h:1"], ["h:65535", "[::1]:4222", "my_host.example"], list(more) or ["h"]),
            (["b:1", "a:1", " b:1 ", "a:1"], ["b:1", "a:1"]),
            ({"b:1": True, "a:1": True}, ["b:1", "a:1"]),
            (("a:1",), ["a:1"]),
        ],
        [
            ([], "empty", ""),
            ({}, "empty", ""),
            ({"a:1": False}, "type", ""),
            ("a:1", "type", ""),
            (None, "null", ""),
            (["a:1", ""], "empty", "/1"),
            (["a:1", 7], "type", "/1"),
            (["a:0"], "format", "/0"),
            (["a:65536"], "format", "/0"),
            (["::1"], "format", "/0"),
            (["[::1"], "format", "/0"),
            (["a b:1"], "format", "/0"),
            (["user:pw@a:1"], "format", "/0"),
            (["NATS://a:1"], "format", "/0"),
            (["http://a:1"], "format", "/0"),
        ],
    )


BAD_URIS: list[tuple[object, str]] = [
    ("", "empty"),
    (7, "type"),
    (None, "null"),
    ("h:6379", "format"),
    ("http://h", "format"),
    ("REDIS://h", "format"),
    ("redis://", "format"),
    ("redis://h:0", "format"),
    ("redis://h:99999", "format"),
    ("redis://h:6379/x", "format"),
    ("redis://h h", "format"),
    ("redis://a,b", "format"),
    ("redis://:p#w@h", "format"),
    ("redis://u:p@w@h", "format"),
    ("redis://:****@h", "mask"),
    ("redis://h?password=****", "mask"),
]


def uris(default: str) -> Field:
    bad: list[tuple[object, str, str]] = [([uri], code, "/0") for uri, code in BAD_URIS]
    return Field(
        [default],
        [
            *same(["redis://h"], ["redis://u:p@h:1/0"], ["valkeys://[::1]:7000", "rediss://b"]),
            (["redis://h", " redis://h "], ["redis://h"]),
            ({"redis://h": True}, ["redis://h"]),
        ],
        [
            *bad,
            ([], "empty", ""),
            ("redis://h", "type", ""),
            (None, "null", ""),
            (["unix:///tmp/x"], "format", "/0"),
            (["redis://h/3"], "format", "/0"),
            (["redis://a", "rediss://b"], "conflict", ""),
        ],
    )


FILE = Field(None, [*same("/etc/tls.pem", "a b.pem"), (None, None)], [("", "empty", ""), (3, "type", "")])
TLS = {"tlsCa": FILE, "tlsCert": FILE, "tlsKey": FILE, "tlsHostname": text(None, nullable=True)}
POOL = {
    "poolMaxConnections": number(10, 1, 8192),
    "poolTimeoutCreate": duration(30_000),
    "poolTimeoutWait": duration(30_000),
    "poolTimeoutRecycle": duration(30_000),
}

TABLE: dict[type[Coordinator], dict[str, Field]] = {
    Disabled: {},
    Default: {},
    Memory: {},
    Kafka: {
        "brokers": addresses(REQUIRED),
        "groupId": text(REQUIRED),
        "timeoutMessage": duration(5_000),
        "timeoutSession": duration(5_000),
        "securityProtocol": choice("PLAINTEXT", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        "saslMechanism": choice(None, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
        "authUsername": text(None, nullable=True),
        "authSecret": secret("Value"),
        **TLS,
    },
    Nats: {
        "addresses": addresses(["127.0.0.1:4444"], "nats://h:4222", "tls://h"),
        "maxReconnects": number(None, 0),
        "timeoutConnection": duration(5_000),
        "timeoutRequest": duration(10_000),
        "pingInterval": duration(60_000),
        "capacityClient": number(2048, 1),
        "capacityReadBuffer": number(65_535, 1),
        "capacitySubscription": number(65_536, 1),
        "noEcho": flag(True),
        "useTls": flag(False),
        "authUsername": text("stalwart", nullable=True),
        "authSecret": secret("Value"),
        "credentials": secret("Text"),
        **TLS,
    },
    Zenoh: {
        "config": Field(
            REQUIRED,
            same("{}", "  {mode: 'peer'}\n", "// a comment\n/* and { one */ {mode:'peer'}"),
            [
                ("", "empty", ""),
                (" \n", "empty", ""),
                ("mode: peer", "format", ""),
                ("[]", "format", ""),
                ('"{}"', "format", ""),
                ("// {", "format", ""),
                ('{password: "****"}', "mask", ""),
                ({"mode": "peer"}, "type", ""),
                (None, "null", ""),
            ],
        ),
        "local": flag(False),
    },
    Redis: {
        "url": Field(
            "redis://127.0.0.1",
            [
                *same("redis://h", "rediss://u:p%40@h:1/2?protocol=3", "unix:///tmp/redis.sock?db=1"),
                *same("valkey://[::1]:6379", "valkeys://h?ssl_cert_reqs=none&ssl_check_hostname=False"),
                (" redis://h ", "redis://h"),
            ],
            [
                *((uri, code, "") for uri, code in BAD_URIS),
                ("unix://h/tmp", "format", ""),
                ("unix://", "format", ""),
                ("redis://h\nx", "format", ""),
                ("redis://h?protocol=4", "format", ""),
                ("redis://h?db=x", "format", ""),
                ("redis://h?protocol=3&protocol=2", "format", ""),
                ("redis://h?db=1&db=1", "format", ""),
                ("redis://h?color=red", "format", ""),
                ("rediss://h?ssl_cert_reqs=maybe", "format", ""),
            ],
        ),
        "timeout": duration(10_000),
        **POOL,
        **TLS,
    },
    RedisCluster: {
        "urls": uris("redis://127.0.0.1"),
        "timeout": duration(10_000),
        "authUsername": text("stalwart", nullable=True),
        "authSecret": secret("Value"),
        "maxRetryWait": duration(None, 1, 1024),
        "minRetryWait": duration(None, 1, 1024),
        "maxRetries": number(None, 1, 1024),
        "readFromReplicas": flag(True),
        "protocolVersion": choice("resp2", "resp2", "resp3"),
        "shardedPubSub": flag(False),
        **POOL,
        **TLS,
    },
    RedisSentinel: {
        "urls": uris("redis://127.0.0.1:26379"),
        "serviceName": text("mymaster"),
        "timeout": duration(10_000),
        "authUsername": text("stalwart", nullable=True),
        "authSecret": secret("Value"),
        "sentinelUsername": text(None, nullable=True),
        "sentinelSecret": secret("Value"),
        "protocolVersion": choice("resp2", "resp2", "resp3"),
        **POOL,
        **TLS,
    },
}

# The least that makes an object, and what the rules between fields want beside one field.
LEAST: dict[type[Coordinator], dict[str, object]] = {
    Kafka: {"brokers": ["h:9092"], "groupId": "g"},
    Zenoh: {"config": "{}"},
}
SASL: dict[str, object] = {
    "securityProtocol": "SASL_SSL",
    "saslMechanism": "PLAIN",
    "authUsername": "u",
    "authSecret": {"@type": "Value", "secret": "p"},
}
BESIDE: dict[tuple[type[Coordinator], str], dict[str, object]] = {
    (Kafka, "securityProtocol"): {"securityProtocol": "PLAINTEXT"},
    (RedisSentinel, "sentinelUsername"): {"sentinelSecret": {"@type": "Value", "secret": "p"}},
    **{(Kafka, name): dict(SASL) for name in (*SASL, *TLS) if name != "securityProtocol"},
    **{(Nats, name): {"useTls": True, "tlsCert": "c"} for name in TLS},
    **{(Redis, name): {"url": "rediss://h", "tlsCert": "c"} for name in TLS},
    **{
        (one, name): {"urls": ["rediss://h"], "tlsCert": "c"}
        for one in (RedisCluster, RedisSentinel)
        for name in TLS
    },
}
for name in TLS:
    BESIDE[Kafka, name]["tlsCert"] = "c"


def an_object(variant: type[Coordinator], name: str, value: object) -> dict[str, object]:
    """A good object of a variant, but perhaps for one field."""
    beside = BESIDE.get((variant, name), {})
    if name == "securityProtocol" and str(value).startswith("SASL"):
        beside = SASL
    if value is None or value == NONE:
        beside = {}
    return {"@type": variant.__name__, **LEAST.get(variant, {}), **beside, name: value}
