"""The application of the demo's nodes, on buses of this process."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from bus import Bus, Message
from bus.testing import Losses
from demos import ledger, traffic


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEMO_TALLY", str(tmp_path))
    return tmp_path


def documents(folder: Path) -> list[ledger.Document]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"), key=os.path.getmtime)]


@asynccontextmanager
async def nodes(count: int) -> AsyncGenerator[list[Bus]]:
    """Nodes whose application runs, and who know each other."""
    async with AsyncExitStack() as stack:
        buses = [
            await stack.enter_async_context(Bus.open("memory://", node=f"node-{number}"))
            for number in range(1, count + 1)
        ]
        working = [asyncio.create_task(traffic.main(bus)) for bus in buses]
        try:
            for bus in buses:
                await bus.ready(peers=count - 1)
            yield buses
        finally:
            for task in working:
                task.cancel()
            await asyncio.wait(working)


async def settled(folder: Path, asked: int) -> list[ledger.Document]:
    async with asyncio.timeout(15):
        while True:
            found = documents(folder)
            if sum(one["asked"] for one in found) == asked and ledger.settled(found):
                return found
            await asyncio.sleep(0.05)


async def test_a_burst_asks_every_node_and_everything_is_accounted_for(folder: Path) -> None:
    async with nodes(3) as buses, Bus.open("memory://", node="story") as story:
        await story.ready(peers=3)
        story.publish(traffic.Burst(200, 0.5))
        # Whoever plays with the page or the command line publishes on the same bus: no harm.
        buses[0].publish(Message("hello", b"world"))
        found = await settled(folder, 300)
        assert [row.due for row in ledger.rows(found)] == [100] * 6
        assert all(row.is_balanced and row.told == 0 for row in ledger.rows(found))
        # A node may ask for one, too, and takes part in it itself.
        buses[1].publish(traffic.Burst(100, 0.1))
        found = await settled(folder, 330)
        assert [row.delivered for row in ledger.rows(found)] == [110] * 6


async def test_a_burst_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MOST_PER_SECOND", 50)
    monkeypatch.setattr(traffic, "LONGEST", 0.2)
    async with nodes(2) as buses:
        buses[0].publish(traffic.Burst(1_000_000, 1e9))
        found = await settled(folder, 20)
        assert [one["published"] for one in found] == [10, 10]


async def test_a_loss_that_was_told_is_in_the_file(folder: Path, bus_losses: Losses) -> None:
    async with nodes(2) as buses:
        epoch = buses[1].status().epoch
        bus_losses.gap(buses[0], 1, 3, node="node-2", epoch=epoch)
        async with asyncio.timeout(10):
            while [[epoch, 3]] not in [one["told"] for one in documents(folder)]:
                await asyncio.sleep(0.05)
