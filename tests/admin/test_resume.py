"""A process that died in the middle of a change: where the next one starts, and where it goes from there."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from bus.admin import Store, stored
from bus.admin.renewals import Renewals, files
from bus.config import VARIANTS, Coordinator, Disabled, File, Memory, Nats, decode
from bus.signals import Status
from tests.admin.kit import FakeNode, until, world


class Beside(FakeNode):
    """A node on a link that has been READY for a while."""

    alone = False
    since = 5.0

    def status(self) -> Status:
        found = super().status()
        link = msgspec.structs.replace(found.links[0], since=self.since)
        return msgspec.structs.replace(found, alone=self.alone, links=(link,))


def interrupted(folder: Path) -> Path:
    """A state directory of one who died while it went from Memory to Nats."""
    store = Store(folder, VARIANTS)
    store.open()
    store.save(Nats(), "me", Memory(), is_switching=True)
    store.close()
    return store.path


def test_it_starts_where_it_was(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    assert json.loads(path.read_text())["switching"] is True
    assert stored(tmp_path) == Memory()
    store = Store(tmp_path, VARIANTS)
    store.open()
    state = store.state
    store.settle()
    store.settle()
    assert store.state == state
    store.close()
    assert "switching" not in json.loads(path.read_text())
    assert stored(tmp_path) == Nats()


def test_without_a_version_before_it_starts_with_what_there_is(tmp_path: Path) -> None:
    interrupted(tmp_path)
    (tmp_path / "coordinator.json.1").write_text("?")
    assert stored(tmp_path) == Nats()


async def test_it_goes_on(tmp_path: Path) -> None:
    path = interrupted(tmp_path / "state")
    async with world(tmp_path, node=Beside(Memory())) as here:
        await until(lambda: here.node.switched == [Nats()])
        await until(lambda: not here.stored().get("switching"))
        await until(here.audited)
        (line,) = here.audited()
        assert (line["method"], line["outcome"]) == ("resume", "applied")
        assert (await here.client.ask("GET", "/health/ready")).status == 200
    assert "switching" not in json.loads(path.read_text())


async def test_it_stays_with_those_who_stayed(tmp_path: Path) -> None:
    interrupted(tmp_path / "state")
    node = Beside(Memory())
    node.switch_error = TimeoutError("not every peer lists us on it: b")
    async with world(tmp_path, node=node) as here:
        await until(lambda: here.stored()["object"] == {"@type": "Memory"})
        await until(here.audited)
        assert here.audited()[-1]["outcome"] == "rolled_back"
        assert "switching" not in here.stored()
        assert (await here.client.ask("GET", "/health/ready")).status == 200


async def test_where_nobody_is_left_it_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.admin.cutover.AGAIN", 0.0)
    interrupted(tmp_path / "state")
    node = Beside(Memory())
    node.alone = True
    node.switch_error = TimeoutError("the broker is down")
    async with world(tmp_path, node=node) as here:
        await until(here.audited)
        assert here.stored()["object"]["@type"] == "Nats"
        assert (await here.client.ask("GET", "/health/ready")).status == 503
        node.switch_error = None
        await here.admin.reload()
        await until(lambda: node.switched == [Nats()])


async def test_it_listens_before_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is on the old link has to be heard first, or it would leave him there."""
    interrupted(tmp_path / "state")
    node = Beside(Memory())
    node.since = 0.1
    async with world(tmp_path, node=node) as here:
        await here.admin._cutover.follow()  # pyright: ignore[reportPrivateUsage]  # a whole look, not to wait for one
        assert not node.switched
        monkeypatch.setattr("bus.admin.cutover.LISTEN_MOST", 0.0)
        await here.admin.reload()
        await until(lambda: node.switched == [Nats()])


async def test_opened_with_the_new_one_there_is_nothing_left_to_do(tmp_path: Path) -> None:
    path = interrupted(tmp_path / "state")
    async with world(tmp_path, node=Beside(Nats())) as here:
        assert "switching" not in json.loads(path.read_text())
        assert not here.node.switched


async def test_a_switch_that_breaks_off_is_made_up_for(tmp_path: Path) -> None:
    async with world(tmp_path, node=Beside(Disabled())) as here:
        here.node.switch_error = RuntimeError("ours")
        assert (await here.client.update({"@type": "Memory"}))["type"] == "serverFail"
        here.node.switch_error = None
        await here.admin.reload()
        await until(lambda: here.node.switched == [Memory()])
        await until(lambda: not here.stored().get("switching"))


# -- renewed files ---------------------------------------------------------------------------------


def test_the_files_that_a_configuration_names(tmp_path: Path) -> None:
    config = decode({
        "@type": "Nats", "addresses": ["tls://h"], "tlsCa": "/ca", "tlsCert": "/cert", "tlsKey": "/key",
        "authUsername": "u", "authSecret": {"@type": "File", "filePath": " /secret "}, "tlsHostname": "name",
    })  # fmt: skip
    assert sorted(files(config)) == ["/ca", "/cert", "/key", "/secret"]
    assert list(files(Nats())) == list(files(Memory())) == []


def test_a_file_is_renewed_once_and_when_nobody_writes_it_any_more(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    config: Coordinator = Nats(auth_username="u", auth_secret=File(str(path)))
    looks = Renewals()
    assert not looks.look(config)
    path.write_text("one")
    assert not looks.look(config)  # it may still be being written
    assert looks.look(config)
    assert not looks.look(config)
    path.write_text("second")
    assert not looks.look(config)
    path.write_text("the third")
    assert not looks.look(config)
    assert looks.look(config)
    # Another configuration starts with what its files are.
    path.write_text("number four")
    assert not looks.look(Nats(auth_username="v", auth_secret=File(str(path))))
    assert not looks.look(Nats(auth_username="v", auth_secret=File(str(path))))
