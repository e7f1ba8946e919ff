"""Lines 31-33: what a client sees of a secret, and what becomes of it on the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bus.admin import SecretPolicy
from bus.admin.jmap.errors import SetError
from bus.admin.patch import patched
from bus.config import (
    VARIANTS,
    Coordinator,
    Duration,
    EnvironmentVariable,
    File,
    Kafka,
    Nats,
    Redis,
    RedisCluster,
    RedisSentinel,
    Text,
    Uri,
    Value,
    Zenoh,
    encode,
)
from bus.testing.brokers import Certificates
from tests.admin.kit import FakeNode, Way, world

PW = "s3cr3t"
ZENOH = f'{{mode:"client",transport:{{auth:{{usrpwd:{{user:"u",password:"{PW}"}}}}}}}}'

HOLDERS: list[Coordinator] = [
    Nats(auth_secret=Value(PW)),
    Nats(credentials=Text(f"{PW}\n")),
    Kafka(brokers=("h:1",), group_id="g", security_protocol="SASL_SSL", sasl_mechanism="PLAIN",
          auth_username="u", auth_secret=Value(PW)),
    Redis(url=f"redis://u:{PW}@h:1/2?protocol=3"),
    Redis(url=f"redis://{PW}@h"),
    Redis(url=f"unix:///run/redis.sock?password={PW}"),
    RedisCluster(auth_secret=Value(PW)),
    RedisCluster(urls=(Uri(f"redis://u:{PW}@h"), Uri(f"redis://v:{PW}2@i"), Uri("redis://j"))),
    RedisSentinel(auth_secret=Value(PW), sentinel_username="s", sentinel_secret=Value(PW + "2")),
    Zenoh(config=ZENOH),
]  # fmt: skip


@pytest.mark.parametrize("stored", HOLDERS, ids=str)
async def test_line_31_a_secret_is_never_returned(
    tmp_path: Path, way: Way, certificates: Certificates, stored: Coordinator
) -> None:
    assert PW in str(encode(stored, reveal=True))
    async with world(tmp_path, way, FakeNode(stored), certificates) as here:
        shown = await here.client.object()
        assert "****" in str(shown)
        await here.client.update({"@type": type(stored).__name__, "timeout": 1, "pingInterval": 1})
        assert PW.encode() not in b"".join(here.client.received)


@pytest.mark.parametrize("stored", HOLDERS, ids=str)
async def test_line_32_the_whole_object_back_keeps_the_secret(
    tmp_path: Path, way: Way, certificates: Certificates, stored: Coordinator
) -> None:
    async with world(tmp_path, way, FakeNode(stored), certificates) as here:
        found = await here.client.set(update={"singleton": await here.client.object()})
        assert found["updated"] == {"singleton": None}
        assert found["newState"] == found["oldState"]
        assert here.node.coordinator is stored


@pytest.mark.parametrize("stored", HOLDERS, ids=str)
async def test_line_32_a_change_of_something_else_keeps_the_secret(
    tmp_path: Path, way: Way, certificates: Certificates, stored: Coordinator
) -> None:
    other = {"Kafka": "timeoutMessage", "Nats": "pingInterval", "Zenoh": "local"}.get(
        type(stored).__name__, "timeout"
    )
    async with world(tmp_path, way, FakeNode(stored), certificates) as here:
        changed = await here.client.object()
        changed[other] = True if other == "local" else 4321
        assert (await here.client.update(changed)) == {"updated": None}
        found, before = (encode(one, reveal=True) for one in (here.node.coordinator, stored))
        assert found == {**before, other: changed[other]}
        # ... and it is in the file, and the file is read again.
        assert PW in here.file.read_text()
    async with world(tmp_path, node=FakeNode(stored)) as here:
        assert (await here.client.object())[other] == changed[other]


def refused(stored: Coordinator, patch: dict[str, Any]) -> list[str]:
    with pytest.raises(SetError) as caught:
        patched(stored, patch, VARIANTS)
    error = caught.value.as_json()
    assert error["type"] == "invalidProperties"
    assert PW not in str(error)
    properties: list[str] = error["properties"]  # type: ignore[assignment]  # so it is
    return properties


def after(stored: Coordinator, patch: dict[str, Any]) -> str:
    return str(encode(patched(stored, patch, VARIANTS), reveal=True))


MASK = {"@type": "Value", "secret": "****"}
NATS, SENTINEL = HOLDERS[0], HOLDERS[8]


def test_line_32_the_mask_by_a_pointer() -> None:
    assert PW in after(NATS, {"authSecret/secret": "****"})
    assert PW in after(NATS, {"authSecret/@type": "Value", "authSecret/secret": "****"})
    assert PW in after(NATS, {"authSecret": MASK})
    assert PW not in after(NATS, {"authSecret": {"@type": "Value", "secret": "new"}})


@pytest.mark.parametrize(
    ("stored", "patch"),
    [
        (Nats(), {"authSecret": MASK}),
        (Nats(), {"credentials": {"@type": "Text", "secret": "****"}}),
        (Nats(auth_secret=File("/f")), {"authSecret": MASK}),
        (Nats(auth_secret=EnvironmentVariable("E")), {"authSecret": MASK}),
        # Of one field, for another.
        (NATS, {"credentials": {"@type": "Text", "secret": "****"}, "authSecret": None}),
    ],
    ids=str,
)
def test_line_32_the_mask_without_a_stored_secret(stored: Coordinator, patch: dict[str, Any]) -> None:
    (path,) = refused(stored, patch)
    assert path.endswith("/secret")


def test_line_32_the_mask_beside_something_unknown_is_no_way_around() -> None:
    assert refused(NATS, {"authSecret": {**MASK, "x": 1}}) == ["authSecret/x"]


@pytest.mark.parametrize("stored", [one for one in HOLDERS if not isinstance(one, Zenoh)], ids=str)
def test_line_32_never_to_another_variant_and_back(stored: Coordinator) -> None:
    shown = encode(stored)
    away = patched(stored, {"@type": "Disabled"}, VARIANTS)
    with pytest.raises(SetError):
        patched(away, shown, VARIANTS)
    twin: type[Coordinator] = RedisSentinel if isinstance(stored, RedisCluster) else RedisCluster
    if "authSecret" in shown:
        assert PW not in after(stored, {"@type": twin.__name__, "authUsername": "u"})
        assert "authSecret/secret" in refused(stored, {"@type": twin.__name__, "authSecret": MASK})


MOVED: list[tuple[Coordinator, dict[str, Any]]] = [
    (NATS, {"addresses": ["evil:4222"]}),
    (NATS, {"addresses": ["127.0.0.1:4444", "evil:4222"]}),
    (NATS, {"addresses": {"evil:4222": True}}),
    (NATS, {"addresses": ["127.0.0.1:4445"]}),
    (NATS, {"addresses": ["evil:4222"], "authSecret": MASK}),
    (NATS, {"addresses": ["evil:4222"], "authSecret/secret": "****"}),
    (HOLDERS[2], {"brokers": ["evil:1"]}),
    (HOLDERS[6], {"urls": ["redis://evil"]}),
    (HOLDERS[6], {"urls": ["rediss://127.0.0.1"]}),
    (SENTINEL, {"urls": ["redis://evil"]}),
]


@pytest.mark.parametrize(("stored", "patch"), MOVED, ids=str)
def test_line_32_never_to_another_host(stored: Coordinator, patch: dict[str, Any]) -> None:
    paths = refused(stored, patch)
    assert paths == (
        ["authSecret/secret", "sentinelSecret/secret"] if stored is SENTINEL else ["authSecret/secret"]
    )
    given = {"@type": "Value", "secret": "given anew"}
    again = {name.partition("/")[0]: given for name in paths}
    patch = {name: value for name, value in patch.items() if not name.startswith("authSecret")}
    assert PW not in after(stored, {**patch, **again})


async def test_line_32_not_over_the_network_either(
    tmp_path: Path, way: Way, certificates: Certificates
) -> None:
    stored = Redis(url=Uri(f"redis://u:{PW}@h:1"))
    async with world(tmp_path, way, FakeNode(stored), certificates) as here:
        error = await here.client.update({"url": "redis://u:****@evil:1"})
        assert (error["type"], error["properties"]) == ("invalidProperties", ["url"])
        assert here.node.tried == []
        assert (await here.client.update({"url": "redis://u:****@h:1", "timeout": 7}))["updated"] is None
        assert here.node.coordinator == Redis(url=Uri(f"redis://u:{PW}@h:1"), timeout=Duration(7))


def test_line_32_fewer_hosts_are_the_same_hosts() -> None:
    stored = Nats(addresses=("a:1", "b:2"), auth_secret=Value(PW))
    assert PW in after(stored, {"addresses": ["b:2"]})
    assert PW in after(stored, {"addresses": ["b:2", "a:1"]})


def test_line_32_a_wrong_host_is_told_as_that() -> None:
    assert refused(NATS, {"addresses": ["evil:0"]}) == ["addresses/0"]
    assert refused(NATS, {"addresses": "x", "pingInterval": 0}) == ["addresses", "pingInterval"]


LOGIN = HOLDERS[3]
URLS: list[tuple[Coordinator, str, str | None]] = [
    # stored, given, what is stored then (None: refused)
    (LOGIN, "redis://u:****@h:1/2?protocol=3", f"redis://u:{PW}@h:1/2?protocol=3"),
    (LOGIN, "redis://u:****@h:1/2", f"redis://u:{PW}@h:1/2"),
    (LOGIN, "redis://u:****@h:1/2?protocol=2&x=****", None),
    (LOGIN, "redis://h:1/2", "redis://h:1/2"),
    (LOGIN, "redis://u:new@evil/2", "redis://u:new@evil/2"),
    (LOGIN, "redis://u:****@evil:1/2", None),
    (LOGIN, "redis://u:****@h:2/2", None),
    (LOGIN, "redis://u:****@h:1/3", None),
    (LOGIN, "rediss://u:****@h:1/2", None),
    (LOGIN, "redis://v:****@h:1/2", None),
    (LOGIN, "redis://:****@h:1/2", None),
    (LOGIN, "redis://****@h:1/2", None),
    (LOGIN, "redis://u:****@h:1/2?password=****", None),
    (HOLDERS[4], "redis://****@h", f"redis://{PW}@h"),
    (HOLDERS[4], "redis://****@i", None),
    (HOLDERS[4], "redis://x:****@h", None),
    (HOLDERS[5], "unix:///run/redis.sock?password=****", f"unix:///run/redis.sock?password={PW}"),
    (HOLDERS[5], "unix:///run/redis.sock?password=****&db=1", f"unix:///run/redis.sock?password={PW}&db=1"),
    (HOLDERS[5], "unix:///run/evil.sock?password=****", None),
    (HOLDERS[5], "unix:///run/redis.sock?db=****", None),
    (Redis(url="redis://h"), "redis://u:****@h", None),
]


@pytest.mark.parametrize(("stored", "given", "becomes"), URLS, ids=str)
def test_line_32_the_login_in_a_url(stored: Coordinator, given: str, becomes: str | None) -> None:
    if becomes is None:
        assert refused(stored, {"url": given}) == ["url"]
    else:
        assert encode(patched(stored, {"url": given}, VARIANTS), reveal=True)["url"] == becomes


def test_line_32_the_logins_in_a_list_of_urls() -> None:
    stored = HOLDERS[7]
    turned = {"redis://j": True, "redis://v:****@i": True, "redis://u:****@h": True}
    assert encode(patched(stored, {"urls": turned}, VARIANTS), reveal=True)["urls"] == [
        "redis://j", f"redis://v:{PW}2@i", f"redis://u:{PW}@h",
    ]  # fmt: skip
    assert refused(stored, {"urls": ["redis://u:****@h", "redis://u:****@i"]}) == ["urls/1"]


def test_line_32_the_zenoh_text_comes_back_as_it_was_or_with_its_secret() -> None:
    stored = HOLDERS[-1]
    shown = str(encode(stored)["config"])
    assert PW in after(stored, {"config": shown, "local": True})
    assert refused(stored, {"config": shown.replace("client", "peer")}) == ["config"]
    assert PW + "9" in after(stored, {"config": shown.replace("****", PW + "9")})


def test_null_of_a_url_is_the_default_of_a_url() -> None:
    assert encode(patched(LOGIN, {"url": None}, VARIANTS), reveal=True)["url"] == "redis://127.0.0.1"


# -- 33: names -------------------------------------------------------------------------------------


async def test_line_33_names_are_shown_and_resolved_at_the_trial(
    tmp_path: Path, way: Way, certificates: Certificates
) -> None:
    async with world(tmp_path, way, FakeNode(Nats()), certificates) as here:
        for secret in (
            {"@type": "EnvironmentVariable", "variableName": "NATS_PASSWORD"},
            {"@type": "File", "filePath": str(tmp_path / "pw")},
        ):
            assert "updated" in await here.client.update({"authSecret": secret})
            assert (await here.client.object())["authSecret"] == secret


FORBIDDEN = [
    {"@type": "EnvironmentVariable", "variableName": "AWS_SECRET_ACCESS_KEY"},
    {"@type": "EnvironmentVariable", "variableName": "BUS_TOKEN"},
    {"@type": "EnvironmentVariable", "variableName": "BUS_ADMIN_TOKEN_FILE"},
    {"@type": "File", "filePath": "/etc/shadow"},
    {"@type": "File", "filePath": "{folder}/../../etc/passwd"},
    {"@type": "File", "filePath": "{folder}/link"},
    {"@type": "File", "filePath": "relative"},
    {"@type": "File", "filePath": "{folder}x/y"},
    {"@type": "File", "filePath": "{folder}/../state/tokens.toml"},
]


@pytest.mark.parametrize("secret", FORBIDDEN, ids=str)
async def test_line_33_not_every_variable_and_file(
    tmp_path: Path, way: Way, certificates: Certificates, secret: dict[str, str]
) -> None:
    secret = {name: value.replace("{folder}", f"{tmp_path}/ok") for name, value in secret.items() if name}
    (tmp_path / "ok").mkdir()
    (tmp_path / "ok" / "link").symlink_to("/etc/passwd")
    policy = SecretPolicy(directories=(f"{tmp_path}/ok",))
    async with world(tmp_path, way, FakeNode(Nats()), certificates, secrets=policy) as here:
        error = await here.client.update({"authSecret": secret})
        assert error["type"] == "invalidProperties"
        assert error["properties"] == [f"authSecret/{'filePath' if 'filePath' in secret else 'variableName'}"]
        assert not here.node.tried


async def test_line_33_the_state_directory_has_a_place_for_secrets(
    tmp_path: Path, way: Way, certificates: Certificates
) -> None:
    async with world(tmp_path, way, FakeNode(Nats()), certificates, secrets=SecretPolicy()) as here:
        for path, is_allowed in ((here.folder / "secrets" / "pw", True), (here.file, False)):
            result = await here.client.update({"authSecret": {"@type": "File", "filePath": str(path)}})
            assert ("updated" in result) == is_allowed


async def test_line_33_what_the_operator_configured_stays_but_not_for_another_host(
    tmp_path: Path, way: Way, certificates: Certificates
) -> None:
    """A file that only the node's own configuration may name is not sent to a host of the client's choice."""
    stored = Nats(auth_secret=File("/opt/secret"))
    async with world(tmp_path, way, FakeNode(stored), certificates) as here:
        assert "updated" in await here.client.update({"pingInterval": 1})
        assert "updated" in await here.client.update({**await here.client.object(), "pingInterval": 2})
        error = await here.client.update({"addresses": ["evil:1"]})
        assert error["properties"] == ["authSecret/filePath"]
        assert "sent to another server" in error["validationErrors"][0]["message"]
