"""Lines 25-30: what a patch may say, and what is wrong with one that may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bus.admin.jmap.errors import SetError
from bus.admin.patch import defaults, patched
from bus.config import VARIANTS, Coordinator, Kafka, Nats, Redis, RedisCluster, Value, Zenoh, decode, encode
from tests.admin.kit import FakeNode, Way, World, world
from tests.config.table import LEAST

NATS = Nats(auth_secret=Value("pw"), ping_interval=decode("nats://h?pingInterval=7s").ping_interval)  # type: ignore[attr-defined]  # of Nats


def after(stored: Coordinator, patch: dict[str, Any]) -> dict[str, Any]:
    """What the patch makes, real secrets included."""
    return encode(patched(stored, patch, VARIANTS), reveal=True)


def wrong(stored: Coordinator, patch: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(SetError) as caught:
        patched(stored, patch, VARIANTS)
    return caught.value.as_json()


@pytest.fixture
async def nats(tmp_path: Path, way: Way, certificates: Any) -> Any:
    async with world(tmp_path, way, FakeNode(NATS), certificates) as made:
        yield made


# -- 25: the form of a patch -----------------------------------------------------------------------

GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"pingInterval": 5}, {"pingInterval": 5}),
    ({"authSecret/secret": "x"}, {"authSecret": {"@type": "Value", "secret": "x"}}),
    (
        {"authSecret/@type": "File", "authSecret/filePath": "{folder}/f"},
        {"authSecret": {"@type": "File", "filePath": "{folder}/f"}},
    ),
    (
        {"authSecret/@type": "Value", "authSecret/secret": "y"},
        {"authSecret": {"@type": "Value", "secret": "y"}},
    ),
    ({"authSecret/@type": "None"}, {"authSecret": {"@type": "None"}}),
    ({"authSecret": {"@type": "None"}}, {"authSecret": {"@type": "None"}}),
    ({"authSecret": None}, {"authSecret": {"@type": "None"}}),
    # null: the default; but where null may stand, it is null.
    ({"pingInterval": None}, {"pingInterval": 60_000}),
    ({"addresses": None, "authSecret/secret": "z"}, {"addresses": ["127.0.0.1:4444"]}),
    ({"maxReconnects": 3}, {"maxReconnects": 3}),
    ({"maxReconnects": None}, {"maxReconnects": None}),
    ({"tlsCa": None}, {"tlsCa": None}),
    ({"id": "singleton", "@type": "Nats", "noEcho": False}, {"noEcho": False}),
]


@pytest.mark.parametrize(("patch", "changed"), GOOD, ids=str)
async def test_line_25_a_good_patch(nats: World, patch: dict[str, Any], changed: dict[str, Any]) -> None:
    fill = str(nats.folder.parent)
    patch, changed = (json.loads(json.dumps(one).replace("{folder}", fill)) for one in (patch, changed))
    assert "updated" in await nats.client.update(patch)
    found = encode(nats.node.coordinator, reveal=True)
    expected = {**encode(NATS, reveal=True), **changed}
    if "authSecret/secret" in patch and "authSecret" not in changed:
        expected["authSecret"] = {"@type": "Value", "secret": patch["authSecret/secret"]}
    assert found == expected


INVALID_PATCH: list[dict[str, Any]] = [
    {"a~2b": 1},
    {"a~": 1},
    {"/pingInterval": 1},
    {"addresses/0": "h:1"},
    {"addresses/-": "h:1"},
    {"noEcho/x": 1},
    {"pingInterval/ms": 1},
    {"nothing/x": 1},
    {"authSecret/x/y": 1},
    {"authSecret/secret/x": 1},
    {"maxReconnects/x": 1},
    {"authSecret": {"@type": "None"}, "authSecret/secret": "x"},
    {"authSecret": {"@type": "None"}, "authSecret/@type": "None"},
    {"noEcho": True, "noEcho/x": 1},
    {"id": "singleton", "id/x": 1},
    # There before the patch, not because of it.
    {"tlsCa": "x", "tlsCa/y": 1},
]


@pytest.mark.parametrize("patch", INVALID_PATCH, ids=str)
async def test_line_25_an_invalid_patch(nats: World, patch: dict[str, Any]) -> None:
    error = await nats.client.update(
        {"pingInterval": 1, **patch} if "pingInterval/ms" not in patch else patch
    )
    assert error["type"] == "invalidPatch"
    assert set(error["properties"]) <= set(patch)
    assert error["description"]
    # All or nothing.
    assert nats.node.coordinator == NATS
    assert not nats.file.exists()


async def test_line_25_a_key_is_a_prefix_by_whole_names_only(nats: World) -> None:
    error = await nats.client.update({"authSecret": {"@type": "None"}, "authSecretX": 1})
    assert error["type"] == "invalidProperties"
    assert error["properties"] == ["authSecretX"]


async def test_line_25_escapes_name_what_they_stand_for(nats: World) -> None:
    error = await nats.client.update({"a~1b~0c": 1})
    assert error["type"] == "invalidProperties"
    assert error["properties"] == ["a/b~c"]


@pytest.mark.parametrize(
    ("patch", "paths"),
    [
        ({"@type": None}, ["@type"]),
        ({"id": "other"}, ["id"]),
        ({"id": None}, ["id"]),
        ({"id": 1, "nothing": 2}, ["id", "nothing"]),
        ({"authSecret/secret": None}, ["authSecret/secret"]),
        ({"authSecret/@type": None}, ["authSecret/@type"]),
        ({"authSecret/@type": "Value2"}, ["authSecret/@type"]),
        ({"nothing": None}, ["nothing"]),
        ({"authSecret/nothing": 1}, ["authSecret/nothing"]),
        ({"": 1}, ["@type"]),
    ],
)
async def test_line_25_invalid_properties(nats: World, patch: dict[str, Any], paths: list[str]) -> None:
    error = await nats.client.update(patch)
    assert error["type"] == "invalidProperties"
    assert error["properties"] == paths


def test_line_25_required_without_a_default_cannot_be_null() -> None:
    kafka = Kafka(brokers=("h:1",), group_id="g")
    assert wrong(kafka, {"brokers": None, "groupId": None})["properties"] == ["brokers", "groupId"]
    assert wrong(kafka, {"brokers": None})["type"] == "invalidProperties"


def test_line_25_null_is_kept_where_it_may_stand() -> None:
    """Otherwise nobody could switch a pool's timeout off, nor send back the object that he read."""
    redis = Redis()
    assert after(redis, {"poolTimeoutWait": None})["poolTimeoutWait"] is None
    off = patched(redis, {"poolTimeoutWait": None}, VARIANTS)
    assert patched(off, {"id": "singleton", **encode(off)}, VARIANTS) == off
    assert after(Nats(), {"authUsername": None})["authUsername"] is None


# -- 26: another variant ---------------------------------------------------------------------------


async def test_line_26_another_variant_starts_from_its_defaults(nats: World) -> None:
    told = await nats.client.update({"@type": "RedisCluster", "maxRetries": 3})
    assert nats.node.coordinator == RedisCluster(max_retries=3)
    assert told["updated"]["authUsername"] == "stalwart"
    assert "maxRetries" not in told["updated"]
    # Of the same name in both, and not carried over.
    assert told["updated"]["authSecret"] == {"@type": "None"}


async def test_line_26_a_field_of_the_old_variant(nats: World) -> None:
    error = await nats.client.update({"@type": "Redis", "noEcho": True})
    assert error["properties"] == ["noEcho"]
    assert "field of Nats, not of Redis" in error["validationErrors"][0]["hint"]


@pytest.mark.parametrize(
    ("patch", "kind"),
    [
        ({"@type": "Kafka"}, "invalidProperties"),
        ({"@type": "Kafka", "brokers": ["h:1"], "groupId": "g"}, ""),
        ({"@type": "Kafka", "brokers": ["h:1"], "groupId": "g", "authSecret/@type": "None"}, ""),
        ({"@type": "Redis", "authSecret/secret": "x"}, "invalidPatch"),
        ({"@type": "Natz"}, "invalidProperties"),
        ({"@type": "nats"}, "invalidProperties"),
        ({"@type": 7}, "invalidProperties"),
        ({"@type": ["Nats"]}, "invalidProperties"),
        ({"@type": {"@type": "Nats"}}, "invalidProperties"),
        ({"@type": "Natz", "addresses/0": 1}, "invalidProperties"),
        ({"@type": "Disabled", "pingInterval": None}, "invalidProperties"),
        ({"@type": "Disabled", "id": "singleton"}, ""),
    ],
)
async def test_line_26_switching(nats: World, patch: dict[str, Any], kind: str) -> None:
    assert (await nats.client.update(patch)).get("type", "") == kind


def test_line_26_a_wrong_name_is_explained() -> None:
    error = wrong(NATS, {"@type": "Natz", "url": "x"})
    assert error["properties"] == ["@type"]
    assert "did you mean Nats?" in error["description"]
    assert "RedisSentinel" in error["description"]


@pytest.mark.parametrize("cls", VARIANTS, ids=lambda cls: cls.__name__)
def test_line_26_the_defaults_are_those_of_the_variant(cls: type[Coordinator]) -> None:
    made = {**defaults(cls), **LEAST.get(cls, {})}
    assert made == encode(decode({"@type": cls.__name__, **LEAST.get(cls, {})}), reveal=True)


def test_line_26_a_secret_of_another_kind_is_a_new_one() -> None:
    assert wrong(NATS, {"authSecret": {"@type": "Value"}})["properties"] == ["authSecret/secret"]
    assert wrong(NATS, {"authSecret/@type": "File"})["properties"] == ["authSecret/filePath"]
    error = wrong(Nats(), {"authSecret/secret": "x"})
    assert error["properties"] == ["authSecret/secret"]
    assert "not of None" in error["validationErrors"][0]["hint"]


# -- 27: what is wrong, all of it ------------------------------------------------------------------


async def test_line_27_everything_that_is_wrong_at_once(nats: World) -> None:
    patch: dict[str, Any] = {
        "addresses": ["h:0", "ok:1", "http://x"],
        "pingInterval": "5sec",
        "capacityClient": 0,
        "noEcho": "true",
        "nonsense": 1,
        "authSecret": {"@type": "Value"},
        "credentials": 7,
    }
    error = await nats.client.update(patch)
    assert error["type"] == "invalidProperties"
    assert set(error["properties"]) == {
        "addresses/0", "addresses/2", "pingInterval", "capacityClient", "noEcho", "nonsense",
        "authSecret/secret", "credentials",
    }  # fmt: skip
    assert [one["path"] for one in error["validationErrors"]] == error["properties"]
    for one in error["validationErrors"]:
        assert set(one) == {"path", "code", "message", "hint"}
        assert one["message"].startswith(one["path"])
        assert one["message"] in error["description"]
    codes = {one["path"]: one["code"] for one in error["validationErrors"]}
    assert codes["nonsense"] == "unknown"
    assert codes["capacityClient"] == "min"
    assert codes["authSecret/secret"] == "required"


async def test_line_27_the_field_of_the_published_example(nats: World) -> None:
    error = await nats.client.update({"description": "updated value"})
    assert error["type"] == "invalidProperties"
    assert error["properties"] == ["description"]
    for name in ("addresses", "pingInterval", "authSecret"):
        assert name in error["description"]


async def test_line_27_what_only_the_backend_knows(nats: World) -> None:
    from bus.errors import ConfigError

    nats.node.check_error = ConfigError("config of Zenoh: unknown field `mod`")
    error = await nats.client.update({"@type": "Zenoh", "config": "{mod: 1}"})
    assert error["type"] == "invalidProperties"
    assert error["properties"] == ["config"]
    nats.node.check_error = ConfigError("the Zenoh backend needs eclipse-zenoh, which is not installed")
    assert (await nats.client.update({"@type": "Zenoh", "config": "{}"}))["properties"] == ["@type"]
    assert not nats.node.tried


# -- 28-30: values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "shown"),
    [
        ({"pingInterval": 250}, {"pingInterval": 250}),
        ({"pingInterval": "5s"}, {"pingInterval": 5000}),
        ({"pingInterval": "1m30s"}, {"pingInterval": 90_000}),
        ({"pingInterval": "250ms"}, {"pingInterval": 250}),
        ({"addresses": {"127.0.0.1:4444": True}}, {"addresses": ["127.0.0.1:4444"]}),
        ({"addresses": ["127.0.0.1:4444", "127.0.0.1:4444"]}, {"addresses": ["127.0.0.1:4444"]}),
        ({"authUsername": " me "}, {"authUsername": "me"}),
    ],
)
async def test_line_28_forms_of_a_value(nats: World, patch: dict[str, Any], shown: dict[str, Any]) -> None:
    assert "updated" in await nats.client.update(patch)
    found = await nats.client.object()
    assert {name: found[name] for name in shown} == shown


@pytest.mark.parametrize(
    "patch",
    [
        {"pingInterval": 0},
        {"pingInterval": -5},
        {"pingInterval": 1.5},
        {"pingInterval": True},
        {"pingInterval": "1.5s"},
        {"pingInterval": "5 parsecs"},
        {"pingInterval": 2**53},
        {"addresses": {"h:1": False}},
        {"addresses": "h:1"},
        {"addresses": []},
        {"capacityClient": 10**400},
    ],
    ids=lambda patch: str(patch)[:40],
)
async def test_line_28_no_forms_of_a_value(nats: World, patch: dict[str, Any]) -> None:
    assert (await nats.client.update(patch))["properties"] == list(patch)


def test_line_28_retry_waits_are_milliseconds() -> None:
    cluster = RedisCluster()
    assert after(cluster, {"minRetryWait": 1, "maxRetryWait": "1s"})["maxRetryWait"] == 1000
    assert wrong(cluster, {"maxRetryWait": 1025})["validationErrors"][0]["code"] == "max"


async def test_line_29_the_names_are_those_of_existing_clients(nats: World) -> None:
    """The whole table is in tests/config; here that it comes through."""
    assert set(await nats.client.object()) > {
        "addresses", "maxReconnects", "timeoutConnection", "timeoutRequest", "pingInterval",
        "capacityClient", "capacityReadBuffer", "capacitySubscription", "noEcho", "useTls",
        "authUsername", "authSecret", "credentials",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "patch", "code"),
    [
        (RedisCluster(), {"minRetryWait": 9, "maxRetryWait": 3}, "conflict"),
        (
            Nats(),
            {
                "authSecret": {"@type": "Value", "secret": "a"},
                "credentials": {"@type": "Text", "secret": "b"},
            },
            "conflict",
        ),
        (Nats(), {"tlsCa": "/x"}, "conflict"),
        (Redis(), {"url": "http://h"}, "format"),
        (Redis(), {"url": "h:6379"}, "format"),
        (Zenoh(config="{}"), {"config": "mode: 1"}, "format"),
        (Kafka(brokers=("h:1",), group_id="g"), {"saslMechanism": "PLAIN"}, "conflict"),
    ],
)
def test_line_30_rules_between_fields(stored: Coordinator, patch: dict[str, Any], code: str) -> None:
    assert code in {one["code"] for one in wrong(stored, patch)["validationErrors"]}


async def test_line_30_nor_over_the_network(nats: World) -> None:
    error = await nats.client.update(
        {
            "tlsKey": "/k",
            "credentials": {"@type": "Text", "secret": "b"},
            "authSecret": {"@type": "Value", "secret": "a"},
        }
    )
    assert {one["code"] for one in error["validationErrors"]} == {"conflict"}
    assert {"tlsKey", "credentials"} <= set(error["properties"])
    assert nats.node.tried == []


KEYS = st.one_of(
    st.sampled_from(
        ["@type", "id", "addresses", "authSecret", "authSecret/@type", "authSecret/secret", "url"]
    ),
    st.text(alphabet="a/~01@", max_size=6),
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5), st.sampled_from(["Nats", "Value"])
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_patch_makes_a_variant_or_is_refused(patch: dict[str, Any]) -> None:
    for stored in (NATS, Redis(url="redis://u:pw@h")):
        try:
            made = patched(stored, patch, VARIANTS)
        except SetError as error:
            assert error.kind in ("invalidPatch", "invalidProperties")
            assert error.as_json()["properties"]
        else:
            assert decode(made) == made
