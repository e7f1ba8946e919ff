"""The application of a node in the compose demo: `bus run --app demos.traffic:main`.

It is quiet until somebody publishes a `Burst`, for example from inside of any node:

    bus publish --import demos.traffic --type demo.burst '{"rate": 200, "seconds": 5}'

Then every node publishes `rate` events per second for `seconds`, 60 at most, and keeps a tally of what it
takes from the others, in a file of its own that survives a SIGKILL: `$DEMO_TALLY/<epoch>.json`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from bus import Bus, Event, Loss
from demos.tally import Tally

MOST_PER_SECOND = 1_000
LONGEST = 60.0
SAVE = 0.1
# Publishing in small steps: a timer for each event would be inexact.
STEP = 0.01


class Burst(Event, tag="demo.burst"):
    """Every node is to publish."""

    rate: int
    seconds: float


class Beat(Event, tag="demo.beat"):
    """One event of a burst. `number` is what the bus calls it, `count` counts those of this application."""

    node: str
    epoch: int
    count: int
    number: int
    sent: float


class Traffic:
    """The work of one node."""

    def __init__(self, bus: Bus, folder: Path) -> None:
        self._bus = bus
        self._node = bus.status().node
        self._epoch = bus.status().epoch
        self._path = folder / f"{self._epoch}.json"
        self._tally = Tally()
        self._asked = 0
        self._published = 0

    async def publish(self) -> None:
        """Do what bursts ask for, one after the other."""
        async with self._bus.subscribe(Burst, echo=True) as bursts:
            async for item in bursts:
                # A burst that was lost asks for nothing.
                if isinstance(item, Burst):
                    await self._burst(min(item.rate, MOST_PER_SECOND), min(item.seconds, LONGEST))

    async def _burst(self, rate: int, seconds: float) -> None:
        self._tally.forget_delays()
        start, base, total = time.monotonic(), self._published, int(rate * seconds)
        self._asked += total
        while (done := self._published - base) < total:
            due = min(total, int((time.monotonic() - start) * rate) + 1)
            for _ in range(due - done):
                # Nothing can come between: only this thread publishes.
                number = self._bus.status().published + 1
                self._published += 1
                self._bus.publish(Beat(self._node, self._epoch, self._published, number, time.time()))
            await asyncio.sleep(STEP)

    async def take(self) -> None:
        """Count what comes from the others."""
        async with self._bus.subscribe(Beat) as beats:
            async for item in beats:
                match item:
                    case Beat():
                        delay = 1e3 * (time.time() - item.sent)
                        self._tally.take(item.node, item.epoch, item.count, self._first_due(item), delay)
                    case Loss():
                        self._tally.lost(item)

    def _first_due(self, beat: Beat) -> int:
        """What was published before we joined is not due; only the first event of an epoch must know."""
        if beat.epoch in self._tally.accounts:
            return 1
        baselines = {peer.epoch: peer.baseline for peer in self._bus.status().peers}
        return max(1, beat.count - (beat.number - baselines.get(beat.epoch, 1)))

    async def save(self) -> None:
        """Keep the file fresh."""
        before = ""
        while True:
            text = self._text()
            if text != before:
                await asyncio.to_thread(self._write, text)
                before = text
            await asyncio.sleep(SAVE)

    def _text(self) -> str:
        status = self._bus.status()
        return json.dumps(
            {
                "node": self._node,
                "epoch": self._epoch,
                "asked": self._asked,
                "published": self._published,
                "state": status.state,
                "link": "+".join(link.type for link in status.links if link.state == "READY"),
                "up": sorted(peer.node for peer in status.peers if peer.state == "UP"),
                **self._tally.document(),
            }
        )

    def _write(self, text: str) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(text)
        new.replace(self._path)


async def main(bus: Bus) -> None:
    """The life of the application."""
    folder = Path(os.environ["DEMO_TALLY"])
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    traffic = Traffic(bus, folder)
    async with asyncio.TaskGroup() as tasks:
        for work in (traffic.publish(), traffic.take(), traffic.save()):
            tasks.create_task(work)
