"""Lines 35-37: the object on disk; whole at any instant, and never overwritten when it cannot be read."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bus.admin import AdminServer, Store, stored
from bus.admin.files import write_atomic
from bus.admin.store import StoreBroken
from bus.config import VARIANTS, Coordinator, Disabled, Memory, Nats, Redis, Value, encode
from bus.errors import ConfigError
from tests.admin.kit import FakeNode, until, world

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def opened(folder: Path) -> Generator[Store]:
    store = Store(folder, VARIANTS)
    store.open()
    try:
        yield store
    finally:
        store.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_line_35_what_is_in_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    with opened(folder) as store:
        assert store.current is None
        store.save(Nats(auth_secret=Value("pw")), "me", Disabled())
        first = store.state
        store.save(Memory(), "you", Disabled())
    content = json.loads((folder / "coordinator.json").read_text())
    assert content["version"] == 1
    assert f"{content['epoch']}-{content['generation']}" == f"{first.split('-')[0]}-2"
    assert content["object"] == {"@type": "Memory"}
    assert content["updatedBy"] == "you"
    assert content["updatedAt"].endswith("Z")
    before = json.loads((folder / "coordinator.json.1").read_text())
    assert before["object"] == encode(Nats(auth_secret=Value("pw")), reveal=True)
    assert before["generation"] == 1
    assert mode(folder) == 0o700
    for name in ("coordinator.json", "coordinator.json.1", ".lock"):
        assert mode(folder / name) == 0o600


def test_line_35_the_first_version_keeps_what_was_before_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.save(Memory(), "me", Redis())
        assert store.previous().object == Redis()
        assert store.previous().generation == 0


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o777])
def test_line_35_a_directory_that_others_can_write_is_refused(tmp_path: Path, bits: int) -> None:
    tmp_path.chmod(bits)
    with pytest.raises(ConfigError, match="can be written by others"):
        Store(tmp_path, VARIANTS).open()


def test_line_35_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.save(Memory(), "me", Disabled())
    store.path.chmod(0o660)
    with pytest.raises(ConfigError, match="can be written by others"):
        Store(tmp_path, VARIANTS).open()


def test_line_35_what_others_can_read_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o755)
    with opened(tmp_path):
        assert "can be read by others" in caplog.text


def test_line_35_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"state directory .*file"):
        Store(tmp_path / "file" / "x", VARIANTS).open()


def run_crash(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.admin.crash", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=50, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_line_36_killed_at_each_step(tmp_path: Path) -> None:
    found = run_crash("steps", str(tmp_path))
    steps = ["created", "written", "synced", "replaced", "settled"]
    assert [one["step"] for one in found] == [
        f"{what} {step}" for what in ("before", "object") for step in steps
    ]
    for one in found:
        is_done = one["step"] in ("object replaced", "object settled")
        assert one["broken"] == ""
        assert one["numbers"] == [str(one["number"] + is_done)], one
        assert one["strays"] == []
        assert one["before"] in (one["generation"], one["generation"] - 1)


def test_line_36_killed_two_hundred_times_at_random(tmp_path: Path) -> None:
    found = run_crash("random", str(tmp_path), "200")
    assert len(found) == 200
    generations = [one["generation"] for one in found]
    assert generations == sorted(generations)
    assert generations[-1] >= 200
    for one in found:
        assert one["broken"] == ""
        assert one["numbers"] == [str(one["generation"])]
        assert one["strays"] == []


GOOD = {
    "version": 1, "epoch": "0123abcd", "generation": 7, "object": {"@type": "Memory"},
    "updatedAt": "2026-01-01T00:00:00.000Z", "updatedBy": "me",
}  # fmt: skip
BROKEN: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("zeros", b"\0" * 100),
    ("half", json.dumps(GOOD).encode()[:50]),
    ("array", b"[]"),
    ("null", b"null"),
    ("version", json.dumps({**GOOD, "version": 2}).encode()),
    ("epoch", json.dumps({**GOOD, "epoch": "xyz"}).encode()),
    ("generation", json.dumps({**GOOD, "generation": True}).encode()),
    ("negative", json.dumps({**GOOD, "generation": -1}).encode()),
    ("url", json.dumps({**GOOD, "object": "nats://u:s3cr3t@h"}).encode()),
    ("variant", json.dumps({**GOOD, "object": {"@type": "Carrier", "password": "s3cr3t"}}).encode()),
    ("field", json.dumps({**GOOD, "object": {"@type": "Nats", "authSecret": "s3cr3t"}}).encode()),
    ("mask", json.dumps({**GOOD, "object": {"@type": "Redis", "url": "redis://u:****@h"}}).encode()),
    ("twice", b'{"version": 1, "version": 1}'),
    ("huge", b" " * 1_048_577),
]


@pytest.mark.parametrize("content", [one for _, one in BROKEN], ids=[name for name, _ in BROKEN])
async def test_line_36_a_file_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    file = folder / "coordinator.json"
    file.write_bytes(content)
    file.chmod(0o600)
    assert stored(folder) == Disabled()
    async with world(tmp_path, node=FakeNode(Nats())) as here:
        # It runs Disabled, says so, and where the trouble is.
        assert (await here.client.object())["@type"] == "Disabled"
        await until(lambda: here.node.coordinator == Disabled())
        reply = await here.client.ask("GET", "/health/ready")
        assert reply.status == 503
        said = reply.json()["checks"]["store"]["output"]
        assert said.startswith(str(file))
        error = await here.client.set(update={"singleton": {"@type": "Memory"}})
        assert error["type"] == "serverFail"
        assert str(file) in error["description"]
        assert "s3cr3t" not in str(here.client.received) + said
        assert not here.node.tried or here.node.tried == [Memory()]
    assert file.read_bytes() == content


def test_line_36_what_may_not_be_read_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "coordinator.json").mkdir()  # root may read any file, but not a directory as one
    with opened(tmp_path) as store:
        assert "Is a directory" in store.broken
        with pytest.raises(StoreBroken):
            store.save(Memory(), "me", Disabled())


async def test_line_36_a_repaired_file_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    file = folder / "coordinator.json"
    file.write_text("{")
    file.chmod(0o600)
    async with world(tmp_path) as here:
        assert (await here.client.ask("GET", "/health/ready")).status == 503
        file.write_text(json.dumps(GOOD))
        await here.admin.reload()
        await until(lambda: here.node.coordinator == Memory())
        found = await here.client.get()
        assert found["list"][0]["@type"] == "Memory"
        assert found["state"] == "0123abcd-7"
        assert (await here.client.ask("GET", "/health/ready")).status == 200
        assert (await here.client.update({"@type": "Disabled"})) == {"updated": None}


async def test_line_36_a_rollback_leads_out_of_a_broken_file(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        store.save(Memory(), "me", Disabled())
        store.save(Nats(), "me", Disabled())
    store.path.write_text("{")
    async with world(tmp_path) as here:
        assert (await here.client.call("x:Coordinator/rollback", {"dryRun": True}))["updated"]
        assert here.file.read_text() == "{"
        result = await here.client.call("x:Coordinator/rollback", {})
        assert result["updated"]["singleton"]["@type"] == "Memory"
        assert here.stored()["object"] == {"@type": "Memory"}
        assert (here.folder / "coordinator.json.broken").read_text() == "{"
        assert (await here.client.ask("GET", "/health/ready")).status == 200


async def test_a_file_that_breaks_while_we_run_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.client.update({"@type": "Memory"})
        state = (await here.client.get())["state"]
        good = here.file.read_bytes()
        here.file.write_text("{")
        await here.admin.reload()
        await until(lambda: here.admin._store.broken)  # pyright: ignore[reportPrivateUsage]  # when it is seen
        found = await here.client.get()
        assert (found["state"], found["list"][0]["@type"]) == (state, "Memory")
        assert here.node.coordinator == Memory()
        assert (await here.client.set(update={"singleton": {"@type": "Nats"}}))["type"] == "serverFail"
        here.file.write_bytes(good)
        await here.admin.reload()
        await until(lambda: not here.admin._store.broken)  # pyright: ignore[reportPrivateUsage]  # as above
        assert (await here.client.get())["state"] == state
        assert "updated" in await here.client.update({"@type": "Nats"})
        assert json.loads((here.folder / "coordinator.json.1").read_text())["object"] == {"@type": "Memory"}


async def test_a_file_that_is_removed_while_we_run_comes_back(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.client.update({"@type": "Memory"})
        here.file.unlink()
        await here.admin.reload()
        assert (await here.client.object())["@type"] == "Memory"
        assert "updated" in await here.client.update({"@type": "Nats"})
        assert here.stored()["generation"] == 2


async def test_line_36_stray_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    stray = tmp_path / "state" / ".coordinator.json.abc.tmp"
    stray.write_text("x")
    async with world(tmp_path):
        assert not stray.exists()


async def test_line_36_a_disk_that_is_full_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as here:
        await here.client.update({"@type": "Memory"})
        before, state = here.file.read_bytes(), (await here.client.get())["state"]

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            error = await here.client.set(update={"singleton": {"@type": "Nats"}})
        assert error["type"] == "serverFail"
        assert "No space left" in error["description"]
        assert here.file.read_bytes() == before
        assert (await here.client.get())["state"] == state
        assert here.node.switched == [Memory()]
        assert not list(here.folder.glob(".*.tmp"))
        assert "updated" in await here.client.update({"@type": "Nats"})


async def test_line_37_two_servers_with_one_directory(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
            await AdminServer(FakeNode(), state_dir=here.folder, listen="127.0.0.1:0").__aenter__()
        with pytest.raises(ConfigError, match="BUS_STATE_DIR"):
            stored(here.folder)
    async with world(tmp_path):
        pass


def test_write_atomic_keeps_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fails(step: str) -> None:
        if step == "synced":
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        write_atomic(path, b"new", fails)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_the_epoch_of_each_store_is_its_own(tmp_path: Path) -> None:
    epochs: set[str] = set()
    for name in "abc":
        with opened(tmp_path / name) as store:
            epochs.add(store.state)
    assert len(epochs) == 3


def test_stored_says_what_to_open_a_bus_with(tmp_path: Path) -> None:
    assert stored(tmp_path) is None
    kept: Coordinator = Nats(auth_secret=Value("pw"))
    with opened(tmp_path) as store:
        store.save(kept, "me", Disabled())
    assert stored(tmp_path) == kept
