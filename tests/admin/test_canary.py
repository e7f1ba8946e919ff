"""Line 34: a secret put in every place that can hold one is seen in no answer, log, file of ours, or repr."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import pickle
import pprint
import traceback
from pathlib import Path
from typing import Any

import pytest
import rich.pretty

from bus.admin import LiveNode, Tokens
from bus.admin.cutover import Wish
from bus.admin.jmap.errors import SetError
from bus.admin.jmap.methods import Caller
from bus.admin.patch import patched
from bus.backend import Fault
from bus.config import (
    VARIANTS,
    Coordinator,
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
    decode,
    encode,
)  # fmt: skip
from bus.errors import ConfigError
from bus.testing.brokers import Broker, Certificates
from bus.trial import TrialFailed
from tests.admin.kit import Client, FakeNode, Way, World, world
from tests.admin.test_masks import HOLDERS, PW
from tests.config.test_canary import CANARY, WRONG

# Where a patch can carry one; each is sent, refused at the trial, stored, shown, and changed again.
PATCHES: list[dict[str, Any]] = [
    json.loads(json.dumps(encode(one, reveal=True)).replace(PW, CANARY)) for one in HOLDERS
]


def noisy() -> Exception:
    """What a careless library might raise."""
    return ConfigError(f"login with '{CANARY}' failed")


async def everything(here: World, patch: dict[str, Any]) -> None:
    """All that can be done with one object."""
    client, node = here.client, here.node
    node.trial_error = TrialFailed("auth", Fault.AUTH, "refused")
    await client.update(patch)
    node.trial_error = None
    node.switch_error = noisy()
    await client.update(patch)
    node.switch_error = None
    node.check_error = ConfigError(f"config: '{CANARY}' is wrong")
    await client.update(patch)
    node.check_error = None
    assert "updated" in await client.update(patch), patch
    shown = await client.object()
    await client.update(shown)
    await client.update({**shown, "nonsense": 1})
    await client.update({"@type": "Disabled"})
    await client.call("x:Coordinator/rollback", {})
    await client.update({"timeout": 5, "pingInterval": 5, "timeoutMessage": 5})
    await client.ask("GET", "/health/ready")


def looks(here: World) -> list[str]:
    """Every text about the objects of the server that somebody might print."""
    admin: Any = here.admin
    things: list[Any] = [
        admin, admin._store, admin._store.current, admin._cutover, admin._cutover.snapshot(), admin._tokens,
        admin._tokens.all(), admin._policy, admin._node, here.node.coordinator, vars(admin._cutover),
        Wish("set", Caller(admin._tokens._admin, "127.0.0.1", "1")),
    ]  # fmt: skip
    return [view(thing) for thing in things for view in (repr, str, pprint.pformat, rich.pretty.pretty_repr)]


@pytest.fixture(autouse=True)
def many_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.admin.app.CHANGES_PER_SECOND", 10**6)


@pytest.mark.parametrize("patch", PATCHES, ids=[str(decode(one)) for one in PATCHES])
async def test_line_34_nothing_that_is_shown_holds_the_secret(
    tmp_path: Path,
    way: Way,
    certificates: Certificates,
    patch: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    async with world(tmp_path, way, certificates=certificates) as here:
        await everything(here, patch)
        # It was really there, and is where it has to be.
        assert CANARY in (here.folder / "coordinator.json").read_text()
        seen = [
            *(one.decode() for one in here.client.received),
            (here.folder / "audit.jsonl").read_text(),
            caplog.text,
            *looks(here),
            (await here.client.get())["state"],
        ]
    seen += [caplog.text, *capfd.readouterr()]
    for text in seen:
        assert CANARY not in text


OBJECTS: list[Any] = [one for one in WRONG if isinstance(one, dict)]


@pytest.mark.parametrize("source", OBJECTS, ids=str)
async def test_line_34_no_refusal_holds_the_secret(
    tmp_path: Path, source: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with world(tmp_path, node=FakeNode(Nats(auth_secret=Value(CANARY)))) as here:
        for validate in ("connect", "none"):
            await here.client.update(source, validate=validate)
        await here.client.post(str(source).encode())
        seen = [*here.client.received, (here.folder / "audit.jsonl").read_bytes(), caplog.text.encode()]
    for text in seen:
        assert CANARY.encode() not in text


def _refused(stored: Coordinator, patch: Any) -> SetError:
    with pytest.raises(SetError) as caught:
        patched(stored, patch, VARIANTS)
    return caught.value


def test_line_34_no_error_has_it_in_its_context() -> None:
    """A log that prints the chain of causes shows more than the error itself."""
    stored = Nats(auth_secret=Value(CANARY))
    patches: list[dict[str, Any]] = [
        {"addresses": ["evil:1"]},
        {"authSecret": {"@type": "Value", "secret": [CANARY]}},
        {"credentials": {"@type": "Text", "secret": CANARY}},
        {"authSecret/x": CANARY},
        {"x/y": CANARY},
        {"@type": "Redis", "url": f"redis://u:{CANARY}@h:x"},
    ]
    for patch in patches:
        error = _refused(stored, patch)
        report = "".join(traceback.format_exception(error))
        assert CANARY not in report + repr(error) + repr(error.as_json()) + repr(vars(error))
        assert error.__context__ is None
        assert CANARY not in pickle.dumps(error.as_json()).decode("latin-1")


async def test_line_34_names_are_resolved_and_their_values_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, nats_server: Broker
) -> None:
    """Of a variable and of a file, with a real server that refuses what is in them."""
    from bus import Bus
    from tests.bus.cluster import cluster_name

    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("NATS_CANARY", CANARY)
    (tmp_path / "pw").write_text(CANARY)
    async with Bus.open("memory://", cluster=cluster_name()) as bus, world(tmp_path, node=bus) as here:
        for secret in (EnvironmentVariable("NATS_CANARY"), File(str(tmp_path / "pw"))):
            for config in (
                Nats(addresses=(nats_server.url,), auth_secret=secret),
                Redis(url="redis://127.0.0.1:1"),
                RedisCluster(urls=(Uri("redis://127.0.0.1:1"),), auth_secret=secret),
                RedisSentinel(urls=(Uri("redis://127.0.0.1:1"),), auth_secret=secret),
                Kafka(brokers=("127.0.0.1:1",), group_id="g", security_protocol="SASL_PLAINTEXT",
                      sasl_mechanism="PLAIN", auth_username="u", auth_secret=secret),
                Zenoh(config=f'{{mode:"client",connect:{{endpoints:["tcp/127.0.0.1:1"],timeout_ms:100}},'
                             f'transport:{{auth:{{usrpwd:{{user:"u",password:"{CANARY}"}}}}}}}}'),
                Nats(addresses=("127.0.0.1:1",), credentials=Text(CANARY)),
            ):  # fmt: skip
                await here.client.update(encode(config, reveal=True))
        assert repr(LiveNode(bus))
        seen = [*here.client.received, (here.folder / "audit.jsonl").read_bytes()]
    seen.append(caplog.text.encode())
    for text in seen:
        assert CANARY.encode() not in text


async def test_line_34_a_bug_of_ours_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger("bus").addHandler(handler)
    secret = "".join([CANARY])

    async def fails(*args: object, **options: object) -> None:
        raise RuntimeError(f"while storing {secret}")

    monkeypatch.setattr("bus.admin.cutover.Cutover._save", fails)
    async with world(tmp_path) as here:
        error = await here.client.set(
            update={"singleton": {"@type": "Nats", "authSecret": {"@type": "Value", "secret": secret}}}
        )
        assert error["type"] == "serverFail"
        audited = (here.folder / "audit.jsonl").read_text()
        received = b"".join(here.client.received).decode()
    logging.getLogger("bus").removeHandler(handler)
    assert "RuntimeError" in stream.getvalue()
    assert secret not in stream.getvalue() + caplog.text + audited + received


async def test_line_34_tokens_are_nowhere_but_where_they_were_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with world(tmp_path) as here:
        text = Tokens(here.folder).create("mine", ["sysCoordinatorGet", "sysCoordinatorUpdate"])
        await here.admin.reload()
        mine = Client(here.admin, "inside", text)
        await mine.update({"@type": "Memory"})
        await mine.get()
        await mine.ask("GET", "/jmap/session")
        await mine.ask("GET", f"/{text}")
        await Client(here.admin, "inside", text + "x").ask("GET", "/jmap/session")
        files = [path.read_bytes() for path in here.folder.iterdir() if path.is_file()]
        seen = [*mine.received, *files, *(one.encode() for one in looks(here)), caplog.text.encode()]
    secret = text[13:].encode()
    for one in seen:
        assert secret not in one
    await asyncio.sleep(0)
