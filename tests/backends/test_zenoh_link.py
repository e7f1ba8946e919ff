"""One Zenoh link from its birth to its end: given up, aborted, closed, orphaned; nothing is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bus_zenoh
from bus.config import Zenoh
from bus.errors import ConfigError, Fault, LinkError
from bus_zenoh import ZenohBackend
from bus_zenoh.link import ZenohLink, in_thread
from bus_zenoh.neighbours import Place
from tests.backends.zenoh_node import ROOT, Door, context, until

LOCAL = Zenoh(config="{}", local=True)


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of this test's own, empty again at the end."""
    path = Path(tempfile.mkdtemp(prefix="bz", dir="/tmp"))
    monkeypatch.setenv("BUS_RUNTIME_DIR", str(path))
    yield path
    assert list(path.iterdir()) == []
    shutil.rmtree(path)


async def eventually(is_so: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.005)


def zenoh_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "zenoh" in thread.name]


@pytest.mark.loops
async def test_frame_arrives_unchanged_and_close_leaves_nothing(sockets: Path) -> None:
    heard: list[bytes] = []
    a = await ZenohBackend(LOCAL, context("c")).connect()
    b = await ZenohBackend(LOCAL, context("c", heard.append)).connect()
    frame = bytes(range(256)) * 100

    def arrives() -> bool:
        return frame in heard

    async with asyncio.timeout(5):
        while not arrives():
            await a.send(frame)
            await asyncio.sleep(0.02)
    assert set(heard) == {frame}
    await a.close()
    await b.close()
    assert zenoh_threads() == []
    assert os.listdir(sockets) == []


async def test_each_connect_takes_a_new_place(sockets: Path) -> None:
    backend = ZenohBackend(LOCAL, context("c"))
    names: set[str] = set()
    for _ in range(3):
        link = await backend.connect()
        names.update(name for name in os.listdir(sockets / "bus.c") if name.endswith(".id"))
        await link.close()
    assert len(names) == 3


async def test_abort_ends_run_and_every_thread(sockets: Path) -> None:
    link = await ZenohBackend(LOCAL, context("c")).connect()
    run = asyncio.create_task(link.run())
    await asyncio.sleep(0)
    link.abort()
    link.abort()
    with pytest.raises(LinkError, match="has ended"):
        await run
    with pytest.raises(LinkError, match="closed"):
        await link.send(b"x")
    await link.close()
    link.abort()
    assert zenoh_threads() == []


async def test_link_ends_when_the_bus_is_gone() -> None:
    door = Door(lambda frame: None)
    link = await ZenohBackend(LOCAL, context("c", door=door)).connect()
    other = await ZenohBackend(LOCAL, context("c")).connect()
    run = asyncio.create_task(link.run())
    door.is_shut = True
    async with asyncio.timeout(5):
        while not run.done():
            await other.send(b"x")
            await asyncio.sleep(0.02)
    assert isinstance(run.exception(), LinkError)
    await link.close()
    await other.close()


def test_abort_works_when_the_loop_is_dead(sockets: Path) -> None:
    links: list[ZenohLink] = []

    async def live() -> None:
        links.append(await ZenohBackend(LOCAL, context("c")).connect())
        links.append(await ZenohBackend(LOCAL, context("c")).connect())

    asyncio.run(live())
    for link in links:
        link.abort()
    until(lambda: not zenoh_threads(), 5)
    assert list(sockets.iterdir()) == []


async def test_given_up_connect_closes_what_it_opened(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    made: list[Place] = []

    class SlowPlace(Place):
        def __init__(self, channel: str) -> None:
            go.wait()
            super().__init__(channel)
            made.append(self)

    monkeypatch.setattr(bus_zenoh, "Place", SlowPlace)
    task = asyncio.create_task(ZenohBackend(LOCAL, context("c")).connect())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made == []
    go.set()
    await eventually(lambda: made)
    await eventually(lambda: not zenoh_threads() and not list(sockets.iterdir()))


async def test_connect_given_up_in_the_moment_of_success_closes_again(
    sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled_late(call: Callable[[], object]) -> None:
        await in_thread(call)
        raise asyncio.CancelledError

    monkeypatch.setattr(bus_zenoh, "in_thread", cancelled_late)
    with pytest.raises(asyncio.CancelledError):
        await ZenohBackend(LOCAL, context("c")).connect()
    await eventually(lambda: not zenoh_threads() and not os.listdir(sockets))


async def test_connect_to_a_silent_server_does_not_hold_the_loop_and_ends_by_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        text = f'{{mode: "client", connect: {{endpoints: ["tcp/127.0.0.1:{port}"]}}}}'
        backend = ZenohBackend(Zenoh(config=text), context("c"))
        task = asyncio.create_task(backend.connect())
        longest = 0.0
        while not task.done():
            before = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - before)
        with pytest.raises(LinkError, match="Unable to connect") as caught:
            await task
        assert backend.classify(caught.value) is Fault.UNREACHABLE
    assert longest < 0.5, "zenoh held the loop"


@pytest.mark.parametrize(
    "text",
    [
        '{mode: "client"}',
        '{connect: {endpoints: ["carrier-pigeon/127.0.0.1:1"]}}',
        '{listen: {endpoints: ["tls/127.0.0.1:0"]}}',
        '{transport: {auth: {usrpwd: {dictionary_file: "/nowhere", user: "u", password: "hunter2"}}}}',
    ],
)
async def test_what_can_never_work_is_an_error_of_the_configuration(text: str) -> None:
    backend = ZenohBackend(Zenoh(config=text), context("c"))
    with pytest.raises(ConfigError) as caught:
        await backend.connect()
    assert "hunter2" not in str(caught.value)
    assert backend.classify(caught.value) is Fault.CONFIG


async def test_directory_that_cannot_be_used_is_an_error_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BUS_RUNTIME_DIR", "/dev/null/run")
    backend = ZenohBackend(LOCAL, context("c"))
    with pytest.raises(ConfigError, match="BUS_RUNTIME_DIR") as caught:
        await backend.connect()
    assert backend.classify(caught.value) is Fault.CONFIG


async def test_errors_that_are_not_of_the_network_are_our_bugs() -> None:
    assert ZenohBackend(LOCAL, context("c")).classify(ValueError("x")) is None


PROGRAM = """
import asyncio, os, sys
from bus.config import Zenoh
from bus.errors import Forked
from bus_zenoh import ZenohBackend
from tests.backends.zenoh_node import context

links = []
async def live():
    backend = ZenohBackend(Zenoh(config="{}", local=True), context("c"))
    links.append(await backend.connect())
    return backend
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'backends'}"},
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )


def test_program_that_forgets_to_close_ends_normally() -> None:
    for _ in range(4):
        done = run("asyncio.run(live())\nsys.exit(3)\n")
        assert (done.returncode, done.stderr) == (3, "")


def test_forked_child_is_told_instead_of_hanging() -> None:
    done = run("""
backend = asyncio.run(live())
links[0].abort()
pid = os.fork()
if pid == 0:
    told = 0
    try:
        ZenohBackend(Zenoh(config="{}", local=True), backend._context)
    except Forked as error:
        told += "spawn" in str(error)
    try:
        asyncio.run(backend.connect())
    except Forked as error:
        told += 1
    os._exit(told)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""")
    assert (done.returncode, done.stderr) == (2, "")
