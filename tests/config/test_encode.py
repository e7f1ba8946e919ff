"""What goes out: every field, ms, lists, masked unless asked; and that it can come in again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from bus.config import (
    Coordinator,
    Default,
    Disabled,
    Duration,
    EnvironmentVariable,
    File,
    Kafka,
    Memory,
    Nats,
    NoSecret,
    Redis,
    RedisCluster,
    RedisSentinel,
    Text,
    Uri,
    Value,
    Zenoh,
    decode,
    encode,
    to_json,
)
from bus.errors import ConfigError


def test_every_field_is_there_as_json_types() -> None:
    assert encode(Redis(url="redis://:pw@h", pool_timeout_wait=None)) == {
        "@type": "Redis",
        "url": "redis://:****@h",
        "timeout": 10_000,
        "poolMaxConnections": 10,
        "poolTimeoutCreate": 30_000,
        "poolTimeoutWait": None,
        "poolTimeoutRecycle": 30_000,
        "tlsCa": None,
        "tlsCert": None,
        "tlsKey": None,
        "tlsHostname": None,
    }


def test_lists_are_lists_and_secrets_objects() -> None:
    encoded = encode(Nats(addresses=("a", "b"), auth_secret=File("/pw"), credentials=Text("x")))
    assert encoded["addresses"] == ["a", "b"]
    assert encoded["authSecret"] == {"@type": "File", "filePath": "/pw"}
    assert encoded["credentials"] == {"@type": "Text", "secret": "****"}


def test_json_text_is_the_same_object() -> None:
    config = Nats(auth_secret=Value("pü"))
    assert json.loads(to_json(config)) == encode(config)
    assert json.loads(to_json(config, reveal=True)) == encode(config, reveal=True)
    assert decode(to_json(config, reveal=True)) == config


def test_mask_does_not_come_in_again_as_a_secret() -> None:
    for config in (
        Nats(auth_secret=Value("pw")),
        Nats(credentials=Text("pw")),
        Redis(url="redis://:pw@h"),
        RedisCluster(urls=(Uri("redis://a?password=pw"),)),
        Zenoh(config='{transport:{auth:{usrpwd:{user:"u",password:"pw"}}}}'),
    ):
        with pytest.raises(ConfigError, match="the mask that hides a secret"):
            decode(encode(config))


# Names that every checker takes; what is refused is the business of the other tests.
name = st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True)
port = st.integers(1, 65535)
host = st.one_of(name, st.builds("{}:{}".format, name, port), st.builds("[::1]:{}".format, port))
duration = st.builds(Duration, st.integers(1, 2**53 - 1))
short = st.builds(Duration, st.integers(1, 1024))
count = st.integers(1, 2**53 - 1)
plain = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
    lambda text: text == text.strip()
)
hidden = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: bool(text.strip()) and text != "****"
)
elsewhere = st.one_of(st.just(NoSecret()), st.builds(EnvironmentVariable, name), st.builds(File, plain))
key = st.one_of(elsewhere, st.builds(Value, hidden))
maybe = st.none
login = name.map(lambda user: f"{user}:pw%40{user}@")
node = st.builds("redis://{}{}".format, st.one_of(st.just(""), login), host).map(Uri)
nodes = st.lists(node, min_size=1, max_size=4, unique=True).map(tuple)
hosts = st.lists(host, min_size=1, max_size=4, unique=True).map(tuple)
pool = {
    "timeout": duration,
    "pool_max_connections": st.integers(1, 8192),
    "pool_timeout_create": maybe() | duration,
    "pool_timeout_wait": maybe() | duration,
    "pool_timeout_recycle": maybe() | duration,
}
text_value = hidden.filter(lambda text: '"' not in text and "\\" not in text and "****" not in text)

configs: st.SearchStrategy[Coordinator] = st.one_of(
    st.just(Disabled()),
    st.just(Default()),
    st.just(Memory()),
    st.builds(Kafka, brokers=hosts, group_id=plain, timeout_message=duration, timeout_session=duration),
    st.builds(
        Kafka,
        brokers=hosts,
        group_id=plain,
        security_protocol=st.just("SASL_SSL"),
        sasl_mechanism=st.sampled_from(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        auth_username=plain,
        auth_secret=st.builds(Value, hidden),
        tls_ca=maybe() | plain,
    ),
    st.builds(
        Nats,
        addresses=hosts,
        max_reconnects=maybe() | count,
        ping_interval=duration,
        capacity_client=count,
        no_echo=st.booleans(),
        use_tls=st.booleans(),
        auth_username=plain,
        auth_secret=key,
    ),
    st.builds(Nats, credentials=st.one_of(elsewhere, st.builds(Text, hidden))),
    st.builds(Redis, url=node, **pool),
    st.builds(
        RedisCluster,
        urls=nodes,
        max_retry_wait=maybe(),
        min_retry_wait=maybe() | short,
        max_retries=maybe() | st.integers(1, 1024),
        read_from_replicas=st.booleans(),
        protocol_version=st.sampled_from(["resp2", "resp3"]),
        **pool,
    ),
    st.builds(RedisSentinel, urls=nodes, service_name=plain, auth_secret=key, **pool),
    st.builds(Zenoh, config=text_value.map(lambda text: f'{{password:"{text}"}}'), local=st.booleans()),
)


@given(configs)
def test_what_is_encoded_revealed_decodes_to_the_same(config: Coordinator) -> None:
    encoded = encode(config, reveal=True)
    assert decode(encoded) == config
    assert decode(json.dumps(encoded)) == config
    assert encode(decode(encoded), reveal=True) == encoded


@given(configs)
def test_masked_form_has_the_same_shape(config: Coordinator) -> None:
    masked, revealed = encode(config), encode(config, reveal=True)
    assert list(masked) == list(revealed)
    json.dumps(masked)
