"""The main of one node under a steady load: it writes its history and judges nothing.

The setup comes as the first line of stdin, then words, each answered by one JSON line:

    go                            publish at the rate of the setup from now on
    stop                          no more; {"published": n}
    settle {"<epoch>": n, ...}    wait until n events of each epoch are delivered or told, at most `SETTLE` s
    end                           close the bus and end; so does the end of stdin
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from pathlib import Path
from typing import TextIO

import msgspec

from bus import Bus, Event, Gap, Limits, Loss, Overflow, Resync, Subscription
from tests.faults import history

SETTLE = 30.0
READY = 40.0
# Seconds: of a batch of the load, and between two looks at the state.
STEP = 0.02


class Setup(msgspec.Struct, frozen=True):
    """What one node is told."""

    coordinator: object
    cluster: str
    name: str
    peers: int
    rate: int
    history: str
    limits: Limits


class Beat(Event, tag="faults.beat"):
    """The only event of a run: its number is the one that `publish` gave."""

    epoch: int
    number: int


class Recorder:
    """Writes the history, and knows how far each epoch has come."""

    def __init__(self, file: TextIO) -> None:
        self.reached: dict[int, int] = {}
        self._file = file
        self._run: tuple[int, int, int] | None = None

    def note(self, line: history.Line) -> None:
        """Append one line."""
        self._end_run()
        self._file.write(msgspec.json.encode(line).decode() + "\n")

    def batch(self, items: list[Beat | Loss]) -> None:
        """What an inbox gave."""
        for item in items:
            if isinstance(item, Beat):
                self._beat(item.epoch, item.number)
            else:
                self._loss(item)
        self._end_run()

    def flush(self) -> None:
        """To the file: a kill loses nothing older."""
        self._file.flush()

    def _beat(self, epoch: int, number: int) -> None:
        if self._run is None or (epoch, number) != (self._run[0], self._run[2] + 1):
            self._end_run()
            self._run = (epoch, number, number)
        else:
            self._run = (epoch, self._run[1], number)
        self.reached[epoch] = number

    def _end_run(self) -> None:
        if self._run is not None:
            (epoch, first, last), self._run = self._run, None
            self.note(history.Delivered(at=time.monotonic(), epoch=epoch, first=first, last=last))

    def _loss(self, item: Loss) -> None:
        now = time.monotonic()
        match item:
            case Gap():
                self.note(history.Gapped(at=now, epoch=item.epoch, ranges=item.ranges, reason=item.reason))
                self.reached[item.epoch] = item.ranges[-1][1]
            case Resync():
                self.note(history.Resynced(at=now, epoch=item.epoch, after=item.after, reason=item.reason))
            case Overflow():
                self.note(history.Overflown(at=now, count=item.count))
            case _:
                raise TypeError(f"a loss of a new kind: {item!r}")


class Load:
    """Publishes by a schedule; batches that were missed in a freeze are left out, not caught up."""

    def __init__(self, bus: Bus, rate: int, recorder: Recorder) -> None:
        self.longest_cpu = self.longest_wall = 0.0
        self._bus = bus
        self._size = max(1, round(rate * STEP))
        self._recorder = recorder
        self._number = 0

    async def run(self) -> None:
        """For ever."""
        epoch = self._bus.status().epoch
        due = time.monotonic()
        while True:
            due = max(due + STEP, time.monotonic() - STEP)
            first = self._number + 1
            for _ in range(self._size):
                self._number += 1
                cpu, wall = time.thread_time(), time.perf_counter()
                given = self._bus.publish(Beat(epoch, self._number))
                self.longest_cpu = max(self.longest_cpu, time.thread_time() - cpu)
                self.longest_wall = max(self.longest_wall, time.perf_counter() - wall)
                assert given == self._number
            self._recorder.note(history.Published(at=time.monotonic(), first=first, last=self._number))
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def follow(inbox: Subscription[Beat], recorder: Recorder) -> None:
    """Note everything that is received."""
    while True:
        recorder.batch(await inbox.batch())


async def watch(bus: Bus, recorder: Recorder) -> None:
    """Note every change of the state, and write to the file now and then."""
    seen = ""
    while True:
        status = bus.status()
        if status.state != seen:
            seen = status.state
            error = status.links[0].error if status.links else None
            recorder.note(history.State(at=time.monotonic(), state=seen, error=error))
        recorder.flush()
        await asyncio.sleep(STEP)


async def settle(recorder: Recorder, wanted: dict[int, int]) -> None:
    """Until all of it has come, or `SETTLE` seconds."""
    until = time.monotonic() + SETTLE
    while time.monotonic() < until and any(recorder.reached.get(e, 0) < n for e, n in wanted.items()):
        await asyncio.sleep(STEP)


def say(answer: object) -> None:
    """One line for the crew."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def lines() -> asyncio.StreamReader:
    """Stdin, line by line."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def live(setup: Setup, stdin: asyncio.StreamReader, recorder: Recorder) -> None:
    """From the opening of the bus to its end."""
    async with (
        Bus.open(setup.coordinator, node=setup.name, cluster=setup.cluster, limits=setup.limits) as bus,
        bus.subscribe(Beat) as inbox,
    ):
        epoch = bus.status().epoch
        recorder.note(history.Opened(at=time.monotonic(), node=setup.name, epoch=epoch))
        load = Load(bus, setup.rate, recorder)
        tasks = [asyncio.create_task(follow(inbox, recorder)), asyncio.create_task(watch(bus, recorder))]
        try:
            await bus.ready(READY, peers=setup.peers)
            say({"epoch": epoch})
            publishing: asyncio.Task[None] | None = None
            while (line := (await stdin.readline()).decode().strip()) not in ("", "end"):
                word, _, rest = line.partition(" ")
                if word == "go":
                    publishing = asyncio.create_task(load.run())
                elif word == "stop" and publishing is not None:
                    publishing.cancel()
                    await asyncio.wait([publishing])
                elif word == "settle":
                    await settle(recorder, {int(key): count for key, count in json.loads(rest).items()})
                say({"published": bus.status().published})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        peers = bus.status().peers
        recorder.note(
            history.Closed(
                at=time.monotonic(),
                longest_cpu=load.longest_cpu,
                longest_wall=load.longest_wall,
                repaired=sum(peer.repaired for peer in peers),
                duplicates=sum(peer.duplicates for peer in peers),
            )
        )


async def main() -> None:
    """Run the node that stdin describes."""
    stdin = await lines()
    setup = msgspec.json.decode(await stdin.readline(), type=Setup)
    with Path(setup.history).open("w") as file:  # noqa: ASYNC230  # nothing else runs yet
        await live(setup, stdin, Recorder(file))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(main())
