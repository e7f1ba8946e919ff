"""Lines 43-46: tokens, permissions, limits, the audit trail."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from bus.admin import PERMISSIONS, AdminServer, Tokens, state_directory
from bus.admin.audit import Audit
from bus.admin.files import write_atomic
from bus.admin.throttle import MAX_KEYS, Buckets, Places
from bus.backend import Fault
from bus.config import Memory, Nats, Value
from bus.errors import ConfigError
from bus.trial import TrialFailed
from tests.admin.kit import TOKEN, Client, FakeNode, World, until, world


def tokens_in(folder: Path) -> Tokens:
    tokens = Tokens(folder, folder / "given")
    tokens.open()
    return tokens


# -- 43: tokens ------------------------------------------------------------------------------------


def test_line_43_a_token_is_kept_as_a_digest(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    text = tokens.create("ci", ["sysCoordinatorGet"], timedelta(days=90))
    match = re.fullmatch(r"bus_([a-z0-9]{8})_([A-Za-z0-9_-]{43})", text)
    assert match
    content = tokens.path.read_text()
    assert match[2] not in content
    assert hashlib.sha256(match[2].encode()).hexdigest() in content
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
    (token,) = tokens.all()
    assert (token.id, token.name) == (match[1], "ci")
    assert token.permissions == {"sysCoordinatorGet"}
    assert token.expires is not None
    assert token.expires - token.created == timedelta(days=90)
    assert tokens_in(tmp_path).all() == [token]
    assert tokens.authenticate(text) == token
    assert match[2] not in repr(token) + repr(tokens)


def test_line_43_what_is_no_token(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    text = tokens.create("a", ["sysCoordinatorGet"])
    id, secret = text[4:12], text[13:]
    other = tokens.create("b", ["sysCoordinatorGet"])
    for wrong in (
        *("", "bus_", id, secret, text[:-1], text + "x", " " + text, text + "\n", text.replace("_", "-")),
        *(f"bus_{id}_{other[13:]}", f"bus_{other[4:12]}_{secret}", f"bus_zzzzzzzz_{secret}"),
        *(f"BUS_{id}_{secret}", f"bus_{id}_{'A' * 43}", f"bus_{id}_"),
        *("x" * 100_000, "\x00", "ü" * 43),
    ):
        assert tokens.authenticate(wrong) is None


def test_line_43_an_expired_token_is_none(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    text = tokens.create("old", ["sysCoordinatorGet"], timedelta(seconds=-1))
    assert tokens.authenticate(text) is None
    assert tokens.all()[0].is_expired


def test_line_43_revoked(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    text, kept = (tokens.create(name, ["sysCoordinatorGet"]) for name in "ab")
    assert tokens.revoke(text[4:12])
    assert not tokens.revoke(text[4:12])
    assert tokens.authenticate(text) is None
    assert tokens.authenticate(kept)


@pytest.mark.parametrize(
    ("name", "permissions"),
    [
        ("", ["sysCoordinatorGet"]),
        ("x" * 81, ["sysCoordinatorGet"]),
        ("a\nb", ["sysCoordinatorGet"]),
        ("a", []),
        ("a", ["sysCoordinatorDestroy"]),
    ],
)
def test_line_43_what_cannot_be_created(tmp_path: Path, name: str, permissions: list[str]) -> None:
    with pytest.raises(ConfigError):
        tokens_in(tmp_path).create(name, permissions)


def test_line_43_names_survive_the_file(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    names = ['a "quoted" one', "back\\slash", "ünïcode \U0001f600", "[[token]]", "# no comment", "'"]
    for name in names:
        tokens.create(name, ["busMetricsRead"])
    tokens.load()
    assert sorted(one.name for one in tokens.all()) == sorted(names)


ENTRY = '[[token]]\nid = "a"\nname = "a"\n'
HASH = f'hash = "{"0" * 64}"\n'


@pytest.mark.parametrize(
    "content",
    [
        "x",
        "[[token]]\n",
        "token = 1\n",
        '[[token]]\nid = 1\nname = "a"\nhash = "b"\npermissions = []\ncreated = 2026-01-01T00:00:00Z\n',
        ENTRY + HASH + 'permissions = "x"\ncreated = 2026-01-01T00:00:00Z\n',
        ENTRY + HASH + "permissions = []\ncreated = 2026-01-01T00:00:00\n",
        ENTRY + HASH + 'permissions = []\ncreated = "2026"\n',
        ENTRY + 'hash = ""\npermissions = []\ncreated = 2026-01-01T00:00:00Z\n',
        "\udcff",
    ],
)
def test_line_43_a_file_of_tokens_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokens.toml").write_bytes(content.encode(errors="surrogateescape"))
    (tmp_path / "tokens.toml").chmod(0o600)
    with pytest.raises(ConfigError, match=r"tokens\.toml"):
        tokens_in(tmp_path)


def test_line_43_a_file_of_tokens_that_others_can_write(tmp_path: Path) -> None:
    (tmp_path / "tokens.toml").write_text("")
    (tmp_path / "tokens.toml").chmod(0o666)
    with pytest.raises(ConfigError, match="written by others"):
        tokens_in(tmp_path)


async def test_line_43_a_change_is_seen_without_a_restart(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        text = Tokens(here.folder).create("new", ["sysCoordinatorGet"])
        new = Client(here.admin, "inside", text)
        seen = here.admin._tokens  # pyright: ignore[reportPrivateUsage]  # so that no failure is counted
        await until(lambda: seen.authenticate(text))
        assert (await new.ask("GET", "/jmap/session")).status == 200
        assert Tokens(here.folder).revoke(text[4:12])
        await until(lambda: not seen.authenticate(text))
        assert (await new.ask("GET", "/jmap/session")).status == 401


async def test_line_43_a_file_that_breaks_leaves_the_tokens_of_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as here:
        text = Tokens(here.folder).create("kept", ["sysCoordinatorGet"])
        await here.admin.reload()
        write_atomic(here.folder / "tokens.toml", b"x")  # an empty file in between would be a good one
        await here.admin.reload()
        assert (await Client(here.admin, "inside", text).ask("GET", "/jmap/session")).status == 200
        assert "tokens.toml" in caplog.text


# -- 44: permissions and the first token -----------------------------------------------------------


def test_line_44_the_permissions() -> None:
    assert PERMISSIONS == (
        "sysCoordinatorGet",
        "sysCoordinatorUpdate",
        "busEventsRead",
        "busEventsPublish",
        "busMetricsRead",
        "busTokensManage",
    )


async def test_line_44_the_first_start_makes_a_token_for_the_administrator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with world(tmp_path, token_file=None) as here:
        path = here.folder / "admin.token"
        text = path.read_text().strip()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert str(path) in caplog.text
        assert text[13:] not in caplog.text
        client = Client(here.admin, "inside", text)
        assert "updated" in await client.update({"@type": "Memory"})
    async with world(tmp_path, token_file=None):
        assert path.read_text().strip() == text  # once only


async def test_line_44_a_token_that_the_operator_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "run" / "token"
    given.parent.mkdir()
    monkeypatch.setenv("BUS_ADMIN_TOKEN_FILE", str(given))
    async with world(tmp_path, token_file=None) as here:
        # Made, where it is missing.
        text = given.read_text().strip()
        assert (await Client(here.admin, "inside", text).ask("GET", "/jmap/session")).status == 200
        assert not (here.folder / "admin.token").exists()
        given.write_text("o" * 32 + "\n")
        await here.admin.reload()
        assert (await Client(here.admin, "inside", text).ask("GET", "/jmap/session")).status == 401
        assert (await Client(here.admin, "inside", "o" * 32).ask("GET", "/jmap/session")).status == 200


@pytest.mark.parametrize("content", ["", "short", "o" * 31, "o" * 513, "with a blank " * 4, "ü" * 40])
def test_line_44_a_given_token_must_be_good(tmp_path: Path, content: str) -> None:
    (tmp_path / "given").write_text(content)
    with pytest.raises(ConfigError, match="BUS_ADMIN_TOKEN_FILE") as caught:
        tokens_in(tmp_path)
    assert not content or content not in str(caught.value)


def test_line_44_the_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("BUS_STATE_DIR", raising=False)
    assert state_directory() == tmp_path / ".local" / "state" / "bus"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "x"))
    assert state_directory() == tmp_path / "x" / "bus"
    monkeypatch.setenv("BUS_STATE_DIR", str(tmp_path / "y"))
    assert state_directory() == tmp_path / "y"
    assert state_directory(tmp_path / "z") == tmp_path / "z"


# -- 45: limits; those of connections are in test_http ---------------------------------------------


def test_line_45_buckets() -> None:
    now = 0.0
    buckets = Buckets(10, 10 / 60, lambda: now)
    assert [buckets.take("a") for _ in range(11)] == [True] * 10 + [False]
    assert buckets.take("b")
    assert buckets.wait("a") == 6
    now = 5.9
    assert not buckets.take("a")
    now = 6.1
    assert buckets.take("a")
    assert not buckets.take("a")
    now = 1e9
    assert buckets.level("a") == 10


def test_line_45_the_buckets_of_an_attacker_with_many_addresses_are_bounded() -> None:
    buckets = Buckets(2, 1, lambda: 0.0)
    for number in range(MAX_KEYS * 2):
        buckets.take(str(number))
    assert len(buckets._levels) == MAX_KEYS  # pyright: ignore[reportPrivateUsage]  # what it holds


def test_line_45_places() -> None:
    places = Places(2)
    with (
        places.one("a") as first,
        places.one("a") as second,
        places.one("a") as third,
        places.one("b") as other,
    ):
        assert (first, second, third, other) == (True, True, False, True)
    assert not places.is_full("a")
    assert not places._taken  # pyright: ignore[reportPrivateUsage]  # nothing is kept


async def test_line_45_headers_that_are_too_large(here: World) -> None:
    reply = await here.client.ask("GET", "/jmap/session", headers={"x-large": "y" * 20_000})
    # Headers that come in pieces are refused by the connection, before they are whole.
    assert reply.status in ((431,) if here.client.way == "inside" else (431, 400))


@pytest.mark.parametrize(
    "path",
    [
        f"/api?access_token={TOKEN}",
        f"/jmap/session?token={TOKEN}",
        f"/jmap/session?authorization=Bearer {TOKEN}",
    ],
)
async def test_line_45_a_token_in_the_url_is_none(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as here:
        method = "POST" if path.startswith("/api") else "GET"
        reply = await here.client.ask(method, path.replace(" ", "%20"), b"{}", {"authorization": None})
        assert reply.status == 401


# -- 46: the audit trail ---------------------------------------------------------------------------


async def test_line_46_every_change_leaves_a_line(here: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bus.audit")
    await here.client.update({"@type": "Nats", "authSecret": {"@type": "Value", "secret": "0ld-pw"}})
    await here.client.update({"authSecret/secret": "n3w-pw", "pingInterval": 5})
    await here.client.update({"nonsense": 1})
    here.node.trial_error = TrialFailed("auth", Fault.AUTH, "no")
    await here.client.update({"pingInterval": 6})
    lines = here.audited()
    assert [one["outcome"] for one in lines] == ["applied", "applied", "rejected", "rejected"]
    assert [one["method"] for one in lines] == ["set"] * 4
    for one in lines:
        assert one["token"] == "admin"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["ts"])
        assert one["remote"] == "127.0.0.1"
        assert re.fullmatch(r"[0-9a-f]{16}", one["request"])
    assert lines[0]["newState"] == lines[1]["oldState"] != lines[1]["newState"]
    assert lines[2]["oldState"] == lines[2]["newState"]
    # A changed secret is seen to have changed, and not what it was or is.
    assert lines[1]["changed"] == [
        {"path": "pingInterval", "old": 60000, "new": 5},
        {"path": "authSecret/secret", "old": "****", "new": "****"},
    ]
    assert lines[3]["error"]["stage"] == "auth"
    assert set(lines[1]["stageMs"]) == {"validate", "trial", "store", "switch"}
    text = (here.folder / "audit.jsonl").read_text()
    assert "0ld-pw" not in text
    assert "n3w-pw" not in text
    assert [
        json.loads(record.getMessage()) for record in caplog.records if record.name == "bus.audit"
    ] == lines
    assert stat.S_IMODE((here.folder / "audit.jsonl").stat().st_mode) == 0o600


def test_line_46_the_trail_is_rotated(tmp_path: Path) -> None:
    audit = Audit(tmp_path, max_size=1000)
    for number in range(100):
        audit.write({"number": number})
    files = sorted(one.name for one in tmp_path.iterdir())
    assert files == ["audit.jsonl", *(f"audit.jsonl.{number}" for number in (1, 2, 3, 4))]
    numbers: list[int] = []
    for name in [*reversed(files[1:]), files[0]]:
        assert (tmp_path / name).stat().st_size <= 1000
        numbers += [json.loads(line)["number"] for line in (tmp_path / name).read_text().splitlines()]
    assert numbers == list(range(numbers[0], 100))


async def test_line_46_a_trail_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as here:
        (here.folder / "audit.jsonl").mkdir()
        assert "updated" in await here.client.update({"@type": "Memory"})
        assert "cannot be written" in caplog.text
        assert here.node.coordinator == Memory()


async def test_trio_is_told_that_it_needs_asyncio(tmp_path: Path) -> None:
    def run() -> None:
        import anyio

        async def main() -> None:
            async with AdminServer(FakeNode(Nats(auth_secret=Value("x"))), state_dir=tmp_path):
                pass

        anyio.run(main, backend="trio")

    import asyncio

    with pytest.raises(ConfigError, match="asyncio"):
        await asyncio.to_thread(run)
