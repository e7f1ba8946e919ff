"""The leak check finds each kind of thing, waits for what is about to end, and lets pools be."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from bus.testing.leaks import Leaked, children, no_leaks, tasks

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists child processes")


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Set at the end of the test: what waits for it may go."""
    event = threading.Event()
    yield event
    event.set()


def test_a_thread_that_stays_is_found_by_name(release: threading.Event) -> None:
    with pytest.raises(Leaked, match="thread 'left over'"), no_leaks(grace=0.02):
        threading.Thread(target=release.wait, name="left over").start()


def test_a_thread_that_is_about_to_end_is_waited_for(release: threading.Event) -> None:
    with no_leaks(grace=10):
        threading.Thread(target=release.wait).start()
        threading.Timer(0.05, release.set).start()


def test_a_thread_from_before_is_not_blamed(release: threading.Event) -> None:
    threading.Thread(target=release.wait).start()
    with no_leaks(grace=0):
        pass


@on_linux
def test_a_child_process_is_found() -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    started: list[subprocess.Popen[bytes]] = []
    with pytest.raises(Leaked, match=r"child process \d+: .*stdin.read"), no_leaks(grace=0.02):
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE))
    with started[0]:
        pass  # closes its input, at which it ends, and waits for it


@on_linux
def test_a_child_process_that_nobody_waited_for_is_found() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert "nobody waited" in children()[process.pid]
    assert process.pid not in children()


@pytest.mark.loops
async def test_a_pending_task_is_found() -> None:
    forever = asyncio.Event()
    started: list[asyncio.Task[object]] = []
    with pytest.raises(Leaked, match="waits_for_ever"):
        async with no_leaks(grace=0.02):
            started.append(asyncio.create_task(forever.wait(), name="waits_for_ever"))
    assert tasks() == set(started)
    forever.set()
    await asyncio.wait(started)


@pytest.mark.loops
async def test_an_error_that_only_the_log_has_seen_is_found() -> None:
    async def fails() -> None:
        raise ValueError("nobody looks")

    with pytest.raises(Leaked, match="nobody looks"):
        async with no_leaks():
            task = asyncio.create_task(fails())
            await asyncio.wait([task])
            del task


async def test_the_handler_of_the_loop_is_put_back() -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    async with no_leaks():
        assert loop.get_exception_handler() != before
    assert loop.get_exception_handler() == before


async def test_workers_of_pools_are_no_leak() -> None:
    async with no_leaks(grace=0.02):
        await asyncio.get_running_loop().run_in_executor(None, int)
        await anyio.to_thread.run_sync(int)


def test_workers_of_trio_are_no_leak() -> None:
    async def main() -> None:
        await anyio.to_thread.run_sync(int)

    with no_leaks(grace=0.02):
        anyio.run(main, backend="trio")


async def test_the_error_of_the_block_is_not_hidden() -> None:
    forever = asyncio.Event()
    started: list[asyncio.Task[object]] = []
    with pytest.raises(KeyError):
        async with no_leaks():
            started.append(asyncio.create_task(forever.wait()))
            raise KeyError
    forever.set()
    await asyncio.wait(started)
