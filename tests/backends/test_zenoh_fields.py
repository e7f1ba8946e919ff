"""What each field of the variant Zenoh does."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import Bus
from bus.testing.brokers.process import accepts, free_port
from bus.testing.proxy import Proxy
from tests.fields.effects import effect


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of this test's own; its path is short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="bz", dir="/tmp"))
    monkeypatch.setenv("BUS_RUNTIME_DIR", str(path))
    yield path
    shutil.rmtree(path)


def places(directory: Path, cluster: str) -> int:
    return len(list(directory.glob(f"bus.{cluster}/*.sock")))


def zenoh(config: str, *, local: bool = False) -> dict[str, object]:
    return {"@type": "Zenoh", "config": config, "local": local}


def listening(port: int) -> str:
    return f'{{mode: "peer", listen: {{endpoints: ["tcp/127.0.0.1:{port}"]}}}}'


def connecting(port: int) -> str:
    return f'{{mode: "peer", connect: {{endpoints: ["tcp/127.0.0.1:{port}"]}}}}'


@effect(
    "Zenoh", "config", "the JSON5 text is the session's configuration: it listens and connects where it says"
)
async def test_session_listens_and_connects_where_the_text_says() -> None:
    port = free_port()
    cluster = secrets.token_hex(4)
    with Proxy(("127.0.0.1", port)) as proxy:
        async with Bus.open(zenoh(listening(port)), cluster=cluster) as one:
            with pytest.raises(TimeoutError):  # alone: a first rebuild comes after 6 s
                await one.ready(0.5)
            assert accepts("127.0.0.1", port)
            assert proxy.connections == 0
            async with Bus.open(zenoh(connecting(proxy.port)), cluster=cluster) as two:
                await two.ready(10, peers=1)
                assert proxy.connections == 1
        assert not accepts("127.0.0.1", port)


@effect("Zenoh", "local", "true: processes of one user on one machine find each other, by unix sockets")
async def test_local_sessions_find_each_other_by_a_socket_in_the_directory(sockets: Path) -> None:
    cluster = secrets.token_hex(4)
    async with (
        Bus.open(zenoh("{}", local=True), cluster=cluster) as one,
        Bus.open(zenoh("{}", local=True), cluster=cluster) as two,
    ):
        await one.ready(10, peers=1)
        await two.ready(10, peers=1)
        assert places(sockets, cluster) == 2


@effect("Zenoh", "local", "false: only what `config` says is connected")
async def test_session_that_is_not_local_takes_no_place_and_is_not_found(sockets: Path) -> None:
    cluster = secrets.token_hex(4)
    async with Bus.open(zenoh(listening(free_port())), cluster=cluster) as one:
        async with Bus.open(zenoh("{}", local=True), cluster=cluster) as two:
            with pytest.raises(TimeoutError):
                await two.ready(3, peers=1)
            assert places(sockets, cluster) == 1
        assert one.status().alone
