"""Objects that are wrong in more than one field, or between fields, and how the report reads."""

from __future__ import annotations

import pytest

from bus.config import Coordinator, Kafka, Nats, decode
from bus.errors import ConfigError
from tests.config.problems import codes, problems

VALUE = {"@type": "Value", "secret": "c4n4ry"}
TEXT = {"@type": "Text", "secret": "c4n4ry"}

Bad = tuple[object, list[tuple[str, str]], str]


def kafka(**fields: object) -> dict[str, object]:
    return {"@type": "Kafka", "brokers": ["h"], "groupId": "g", **fields}


BAD: list[Bad] = [
    # Which variant?
    ({}, [("@type", "required")], "Disabled, Default, Kafka, Nats, Zenoh, Redis, RedisCluster"),
    ({"type": "Nats"}, [("@type", "required")], '"@type" by "type"'),
    ({"@type": "Natz"}, [("@type", "variant")], "did you mean Nats?"),
    ({"@type": "kafka"}, [("@type", "variant")], "did you mean Kafka?"),
    ({"@type": None}, [("@type", "variant")], "found null"),
    ({"@type": ["Nats"]}, [("@type", "variant")], "found a list"),
    # Names.
    ({"@type": "Disabled", "url": "x"}, [("url", "unknown")], "field of Redis, not of Disabled"),
    (
        {"@type": "Redis", "addresses": []},
        [("addresses", "unknown")],
        "field of Nats, not of Redis",
    ),
    ({"@type": "Redis", "urls": []}, [("urls", "unknown")], "field of RedisCluster, RedisSentinel"),
    ({"@type": "Nats", "description": "x"}, [("description", "unknown")], "allowed: addresses"),
    ({"@type": "Nats", "no_echo": True}, [("no_echo", "unknown")], "did you mean noEcho?"),
    (
        {"@type": "Nats", "PINGINTERVAL": 1},
        [("PINGINTERVAL", "unknown")],
        "did you mean pingInterval?",
    ),
    (
        {"@type": "Redis", "noecho": True},
        [("noecho", "unknown")],
        "did you mean noEcho? Redis has no",
    ),
    ({"@type": "Nats", 7: 1}, [("7", "unknown")], "unknown field"),
    ({"@type": "Nats", "nats://u:c4n4ry@h": 1}, [("nats://u:****@h", "unknown")], "unknown"),
    # Missing.
    ({"@type": "Kafka"}, [("brokers", "required"), ("groupId", "required")], "kafka-1:9092"),
    ({"@type": "Zenoh"}, [("config", "required")], "JSON5"),
    # Several fields at once, in a stable order.
    (
        {"@type": "Redis", "url": "h", "timeout": 0, "poolMaxConnections": 9000, "x": 1},
        [("x", "unknown"), ("url", "format"), ("timeout", "min"), ("poolMaxConnections", "max")],
        "from 1 to 8192",
    ),
    (
        {"@type": "Nats", "addresses": ["a:x", "b", "c d"], "authSecret": {"@type": "Value"}},
        [("addresses/0", "format"), ("addresses/2", "format"), ("authSecret/secret", "required")],
        "port must be a number",
    ),
    (
        {"@type": "Nats", "authSecret": {"@type": "File", "secret": "c4n4ry"}},
        [("authSecret/secret", "unknown"), ("authSecret/filePath", "required")],
        "field of Value, not of File",
    ),
    (
        {"@type": "Nats", "authSecret": "c4n4ry"},
        [("authSecret", "type")],
        '{"@type": "Value", "sec',
    ),
    # Between fields: retries.
    (
        {"@type": "RedisCluster", "minRetryWait": 200, "maxRetryWait": 100},
        [("minRetryWait", "conflict")],
        "200ms > 100ms",
    ),
    # ... also beside other mistakes, but not because of one.
    (
        {"@type": "RedisCluster", "minRetryWait": 9, "maxRetryWait": 8, "maxRetries": 0},
        [("maxRetries", "min"), ("minRetryWait", "conflict")],
        "longer than maxRetryWait",
    ),
    (
        {"@type": "RedisCluster", "minRetryWait": 9, "maxRetryWait": "x"},
        [("maxRetryWait", "format")],
        "from 1 to 1024 ms",
    ),
    # A field that is wrong by itself is in no conflict with others, nor they with it.
    (
        {"@type": "Nats", "useTls": True, "tlsKey": "k", "tlsCert": ""},
        [("tlsCert", "empty")],
        "must not be empty",
    ),
    ({"@type": "Nats", "useTls": "on", "tlsCa": "c"}, [("useTls", "type")], "true or false"),
    ({"@type": "Redis", "url": "rediss//h", "tlsCa": "c"}, [("url", "format")], "scheme"),
    (
        kafka(securityProtocol="SASL_SSI", authSecret=VALUE, authUsername="u"),
        [("securityProtocol", "format")],
        "did you mean SASL_SSL?",
    ),
    # ... credentials.
    (
        {"@type": "Nats", "authSecret": VALUE, "credentials": TEXT},
        [("credentials", "conflict")],
        "excludes authSecret",
    ),
    (
        {"@type": "Nats", "authSecret": VALUE, "authUsername": None},
        [("authUsername", "conflict")],
        "needed by authSecret",
    ),
    (
        {"@type": "RedisCluster", "urls": ["redis://u:c4n4ry@h"], "authSecret": VALUE},
        [("authSecret", "conflict")],
        "keep one",
    ),
    (
        {"@type": "RedisSentinel", "urls": ["redis://u:c4n4ry@h"], "sentinelSecret": VALUE},
        [("sentinelSecret", "conflict")],
        "keep one",
    ),
    (
        {"@type": "RedisSentinel", "sentinelUsername": "u"},
        [("sentinelSecret", "conflict")],
        "needed by sentinelUsername",
    ),
    # ... TLS.
    ({"@type": "Nats", "tlsCa": "/ca"}, [("tlsCa", "conflict")], "set useTls or a tls:// address"),
    ({"@type": "Redis", "tlsHostname": "h"}, [("tlsHostname", "conflict")], "rediss:// url"),
    ({"@type": "RedisCluster", "tlsCert": "c"}, [("tlsCert", "conflict")], "rediss:// urls"),
    ({"@type": "RedisSentinel", "tlsCa": "c"}, [("tlsCa", "conflict")], "rediss:// urls"),
    (kafka(tlsCa="c"), [("tlsCa", "conflict")], "securityProtocol SSL or SASL_SSL"),
    (
        {"@type": "Nats", "useTls": True, "tlsKey": "k"},
        [("tlsCert", "conflict")],
        "needed by tlsKey",
    ),
    (
        {"@type": "RedisCluster", "urls": ["redis://a", "rediss://b"]},
        [("urls", "conflict")],
        "with and without TLS",
    ),
    # ... SASL.
    (
        kafka(securityProtocol="SASL_SSL"),
        [("saslMechanism", "conflict"), ("authSecret", "conflict")],
        "needed by securityProtocol SASL_SSL",
    ),
    (
        kafka(securityProtocol="SASL_SSL", saslMechanism="PLAIN", authSecret=VALUE),
        [("authUsername", "conflict")],
        "needed by PLAIN",
    ),
    (
        kafka(saslMechanism="PLAIN", authUsername="u", authSecret=VALUE),
        [("saslMechanism", "conflict"), ("authUsername", "conflict"), ("authSecret", "conflict")],
        "set securityProtocol to SASL_SSL",
    ),
    (
        {"@type": "Kafka", "tlsCa": "c", "groupId": ""},
        [("brokers", "required"), ("groupId", "empty"), ("tlsCa", "conflict")],
        "no effect without TLS",
    ),
]


@pytest.mark.parametrize(("source", "expected", "words"), BAD)
def test_bad_object_is_told_completely(source: object, expected: list[tuple[str, str]], words: str) -> None:
    assert codes(source) == expected
    text = "\n".join(one.message for one in problems(source))
    assert words in text
    assert "c4n4ry" not in text


GOOD: list[dict[str, object]] = [
    kafka(securityProtocol="SASL_SSL", saslMechanism="OAUTHBEARER", authSecret=VALUE),
    kafka(securityProtocol="SSL", tlsCa="c", tlsCert="c", tlsKey="k", tlsHostname="h"),
    {"@type": "Nats", "addresses": ["nats://a", "tls://b"], "tlsCa": "c"},
    {"@type": "Nats", "addresses": ["nats://a"], "useTls": True, "tlsCert": "both.pem"},
    {"@type": "Nats", "credentials": TEXT},
    {"@type": "RedisCluster", "minRetryWait": 5, "maxRetryWait": 5},
    {"@type": "RedisCluster", "authUsername": None, "authSecret": VALUE},
    {"@type": "RedisCluster", "urls": ["rediss://a", "valkeys://b"], "tlsCa": "c"},
    {"@type": "RedisSentinel", "urls": ["redis://u:p@h"], "authSecret": VALUE},
]


@pytest.mark.parametrize("source", GOOD)
def test_rules_between_fields_accept_what_works(source: dict[str, object]) -> None:
    assert isinstance(decode(source), Coordinator)


def test_report_names_its_source_and_has_one_line_for_each_problem() -> None:
    with pytest.raises(ConfigError) as raised:
        decode({"@type": "Nats", "pingInterval": "5sec", "noEcho": "yes"})
    assert str(raised.value) == (
        "object: 2 problems\n"
        '  pingInterval: not valid (found "5sec"); allowed: a positive number of milliseconds, '
        'or text like "5s", "1m30s", "250ms"\n'
        '  noEcho: wrong type (found "yes"); allowed: true or false'
    )


def test_single_problem_is_one_line() -> None:
    with pytest.raises(ConfigError) as raised:
        decode('{"@type": "Redis", "poolMaxConnections": 0}')
    assert str(raised.value) == (
        "JSON: poolMaxConnections: too small (found 0); allowed: a whole number from 1 to 8192"
    )


def test_found_text_is_short_and_printable() -> None:
    [one] = problems({"@type": "Nats", "pingInterval": "x\x1b[31m\n" + "y" * 1000})
    assert one.found.startswith('"x?[31m?yyy')
    assert len(one.found) < 80
    assert one.message.isprintable()


def test_problem_is_data() -> None:
    [one] = problems({"@type": "Redis", "poolMaxConnections": 9000})
    assert (one.path, one.code, one.found, one.hint) == ("poolMaxConnections", "max", "9000", "")
    assert one.allowed == "a whole number from 1 to 8192"


def test_conflict_names_the_other_fields() -> None:
    [one] = problems({"@type": "RedisCluster", "minRetryWait": 9, "maxRetryWait": 8})
    assert (one.path, one.others) == ("minRetryWait", ("maxRetryWait",))


def test_constructor_checks_nothing_and_decode_does() -> None:
    assert codes(Nats(addresses=())) == [("addresses", "empty")]
    assert codes(Kafka(brokers=("a",), group_id="")) == [("groupId", "empty")]
