"""Nobody waits for a slow one: a frozen peer, a loop that spins."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bus.config import Zenoh
from bus_zenoh import ZenohBackend
from bus_zenoh.link import ZenohLink
from tests.backends.zenoh_node import FLOOD, Node, context

LOCAL = Zenoh(config="{}", local=True)


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="bz", dir="/tmp"))
    monkeypatch.setenv("BUS_RUNTIME_DIR", str(path))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def nodes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def longest_send(link: ZenohLink, frame: bytes, count: int) -> float:
    longest = 0.0
    for _ in range(count):
        before = time.perf_counter()
        await link.send(frame)
        longest = max(longest, time.perf_counter() - before)
        await asyncio.sleep(0)
    return longest


@pytest.mark.parametrize(("size", "count"), [(200, 5000), (60_000, 1000), (960_000, 60)])
async def test_send_does_not_wait_for_a_frozen_peer(nodes: ExitStack, size: int, count: int) -> None:
    """T17. The shortest of some tries: the machine stalls now and then, zenoh must not."""
    heard: set[bytes] = set()
    frozen = nodes.enter_context(Node("frozen")).up()
    healthy = nodes.enter_context(Node("healthy")).up()
    link = await ZenohBackend(LOCAL, context("c", heard.add)).connect()

    async def all_heard() -> None:
        async with asyncio.timeout(8):
            while heard != {b"frozen", b"healthy"}:
                await asyncio.sleep(0.01)

    await all_heard()
    times: list[float] = []
    for _ in range(4):
        frozen.freeze()
        times.append(await longest_send(link, b"x" * size, count))
        frozen.thaw()
        if min(times) < 0.02:
            break
        # The next try begins as the first one did.
        heard.clear()
        await all_heard()
    assert min(times) < 0.02, f"send held the loop for {times} s"
    heard.clear()
    await all_heard()
    healthy.kill()
    frozen.kill()
    await link.close()


async def test_loop_that_spins_loses_little_and_keeps_its_peers(nodes: ExitStack) -> None:
    """T16: with zenoh's callbacks 7 of 20,000 arrived, and the transport was closed."""
    numbers: set[int] = set()
    names: set[bytes] = set()

    def heard(frame: bytes) -> None:
        if frame.startswith(FLOOD):
            numbers.add(int(frame[len(FLOOD) :][:6]))
        else:
            names.add(frame)

    link = await ZenohBackend(LOCAL, context("c", heard)).connect()
    flood = nodes.enter_context(Node("flood", flood=20_000)).up()
    async with asyncio.timeout(10):
        while not numbers:
            await link.send(b"go")
            await asyncio.sleep(0.01)
    deadline = time.monotonic() + 8
    while not names and time.monotonic() < deadline:
        slice_end = time.perf_counter() + 0.002
        while time.perf_counter() < slice_end:
            pass
        await asyncio.sleep(0)
    assert names == {b"flood"}, "the peer is lost"
    assert len(numbers) > 10_000
    flood.kill()
    await link.close()
