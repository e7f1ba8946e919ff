"""The user's configuration text and our safe values: whose value counts, and what errors say."""

from __future__ import annotations

import json

import pytest

from bus.config import Zenoh
from bus.errors import ConfigError
from bus_zenoh import ZenohBackend
from bus_zenoh.settings import SAFE, SAFE_PEER, mode, named_keys, session_config
from tests.backends.zenoh_node import context

DROP = "transport/link/tx/queue/congestion_control/drop/wait_before_drop"


def value(text: str, key: str, local: dict[str, object] | None = None) -> object:
    return json.loads(session_config(text, local).get_json(key))


@pytest.mark.parametrize("key", [*SAFE, *SAFE_PEER])
def test_what_the_text_leaves_open_is_safe(key: str) -> None:
    assert value('{metadata: {why: "test"}}', key) == {**SAFE, **SAFE_PEER}[key]


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("transport/shared_memory/enabled", 0),
        ("scouting/multicast/enabled", 0),
        ("adminspace/enabled", 0),
        (DROP, 10_000),
        ("transport/link/rx/max_message_size", 16 << 20),
        ("transport/link/tx/lease", 6_000),
    ],
)
def test_what_zenoh_would_do_by_itself_is_not_left_to_it(key: str, most: int) -> None:
    """Its own values lose bursts (T18), hold the event loop (T17), or open the node to the network."""
    found = value("{}", key)
    assert isinstance(found, int)
    assert found <= most
    if key == DROP:
        assert found > 1_000, "with its own wait 22 of 100 frames of a burst are dropped"


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        # Values that are zenoh's own defaults, too: given is given.
        ("{transport: {shared_memory: {enabled: true}}}", "transport/shared_memory/enabled", True),
        ("{transport: {link: {tx: {lease: 10000}}}}", "transport/link/tx/lease", 10000),
        ('{"scouting": {"multicast": {"enabled": true}}}', "scouting/multicast/enabled", True),
        (
            "{connect: {exit_on_failure: {peer: true}}}",
            "connect/exit_on_failure",
            {"peer": True},
        ),
        (
            "{connect: {retry: {period_max_ms: 7000}}}",
            "connect/retry",
            {"period_init_ms": None, "period_max_ms": 7000, "period_increase_factor": None},
        ),
        # Only what is given: its neighbours in the text stay safe.
        ("{transport: {link: {tx: {lease: 10000}}}}", DROP, SAFE[DROP]),
        ("{scouting: {multicast: {ttl: 3}}}", "scouting/multicast/enabled", False),
        # Neither comments nor texts give anything.
        ("{/* transport: {link: {tx: {lease: 1}}} */}", "transport/link/tx/lease", 6000),
        ("{metadata: 'transport: {link: {tx: {lease: 1}}}'}", "transport/link/tx/lease", 6000),
        ("{// transport: {link: {\n}", "transport/link/tx/lease", 6000),
        ("{transport: {'link': {\"tx\": {lease: /* ms */ 9}}}}", "transport/link/tx/lease", 9),
    ],
)
def test_value_that_the_text_gives_stays(text: str, key: str, expected: object) -> None:
    assert value(text, key) == expected


def test_client_fails_at_once_so_that_the_bus_decides_when_to_try_again() -> None:
    config = session_config('{mode: "client", connect: {endpoints: ["tcp/127.0.0.1:7447"]}}')
    assert mode(config) == "client"
    assert json.loads(config.get_json("connect/timeout_ms")) is None


def test_keys_of_a_text_are_found_with_their_parents() -> None:
    text = """// c: {
    {"a": /* x: { */ {b: {c: true,}, 'd e': [{f: 1}, {g: "h: {"}]}, i: ["tcp/j:1#k=l//m"]}"""
    assert named_keys(text) == {"a", "a/b", "a/b/c", "a/d e", "a/d e/f", "a/d e/g", "i"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{conect: {}}", ("unknown field `conect`", "`connect`")),
        ('{mode: "pear"}', ("unknown variant `pear`", "`peer`")),
        ('{mode: "peer", mode: "client"}', ("duplicate field `mode`",)),
        ("{mode: }", ("line 1, column 8", "expected")),
        ('{listen: {endpoints: ["nonsense"]}}', ("<protocol>/<address>",)),
        ('{connect: {endpoints: "tcp/h:1"}}', ("invalid type: expected list of endpoints",)),
    ],
)
def test_error_says_what_zenoh_found_and_what_it_allows(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        session_config(text)
    assert str(caught.value).startswith("config of Zenoh: ")
    for part in parts:
        assert part in str(caught.value)
    assert ".rs" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '{transport: {auth: {usrpwd: {user: "u", password: hunter2}}}}',
        '{transport: {auth: {usrpwd: {user: "u", password: ["hunter2"]}}}}',
        '{transport: {auth: {usrpwd: {user: "u", password: "hunter2"}, pubkey: 3}}}',
        '{transport: {auth: {usrpwd: "hunter2, expected \\" hunter2"}}}',
        '{connect: {endpoints: "tls/h:1#connect_private_key_base64=hunter2"}}',
        '{connect: {endpoints: ["hunter2"]}}',
        '{id: "hunter2"}',
        '{connect: {timeout_ms: "hunter2"}}',
        '{transport: {auth: {usrpwd: {password: "hunter2"}}}',
    ],
)
def test_error_does_not_show_what_may_be_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        session_config(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_bad_text_is_refused_before_any_io() -> None:
    with pytest.raises(ConfigError, match="unknown field `conect`"):
        ZenohBackend(Zenoh(config="{conect: {}}"), context("c"))


@pytest.mark.parametrize(
    "text",
    [
        '{mode: "client"}',
        '{mode: "router"}',
        '{listen: {endpoints: ["tcp/127.0.0.1:7447"]}}',
        '{connect: {endpoints: {peer: ["tcp/127.0.0.1:7447"]}}}',
    ],
)
async def test_local_finds_the_endpoints_itself(text: str) -> None:
    with pytest.raises(ConfigError, match='set "local" to false'):
        ZenohBackend(Zenoh(config=text, local=True), context("c"))


async def test_local_takes_other_values_of_the_text() -> None:
    ZenohBackend(Zenoh(config="{transport: {link: {tx: {lease: 9000}}}}", local=True), context("c"))
