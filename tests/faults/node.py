"""The main of one node under a steady load: it writes its history and judges nothing.

The setup comes as the first line of stdin, then words, each answered by one JSON line:

    go                            publish at the rate of the setup from now on
    stop                          no more; {"published": n}
    settle {"wanted": {"<epoch>": n}, "gone": [epoch]}
                                  wait until n events of each epoch are delivered or told, and of those that
                                  are gone, or these are feared lost; at most `SETTLE` s
    end                           close the bus and end; so does the end of stdin
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import socket
import sys
import time
import warnings
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from bus import Bus, Limits
from bus.testing import leaks
from tests.faults import history
from tests.faults.recorder import LOOK, Beat, Recorder, attend, follow, measure, watch

# Longer than it takes to fear for a silent node (30 s).
SETTLE = 45.0
READY = 40.0
# Seconds of a batch of the load.
STEP = 0.02
GRACE = 1.0


class Setup(msgspec.Struct, frozen=True):
    """What one node is told."""

    coordinator: object
    cluster: str
    name: str
    peers: int
    rate: int
    history: str
    limits: Limits
    # Bytes that each event is larger than it has to be.
    size: int = 0
    # It does not wait for the others, and cannot be made to publish.
    hasty: bool = False
    # Seconds of a first `ready`, whose answer is noted.
    patience: float | None = None
    closing: Literal["once", "twice", "together"] = "once"
    # Seconds between two looks at its state.
    look: float = LOOK


class Load:
    """Publishes by a schedule; batches that were missed in a freeze are left out, not caught up."""

    def __init__(self, bus: Bus, rate: int, recorder: Recorder, size: int = 0) -> None:
        self.longest_cpu = 0.0
        self.walls = array("d")
        self._bus = bus
        self._size = max(1, round(rate * STEP))
        self._recorder = recorder
        self._number = 0
        self._pad = bytes(size)

    async def run(self) -> None:
        """For ever."""
        epoch = self._bus.status().epoch
        due = time.monotonic()
        while True:
            due = max(due + STEP, time.monotonic() - STEP)
            first = self._number + 1
            # Before it happens: who is killed must not have said more than is in its history.
            self._recorder.note(
                history.Published(at=time.monotonic(), first=first, last=self._number + self._size)
            )
            self._recorder.flush()
            for _ in range(self._size):
                self._number += 1
                cpu, wall = time.thread_time(), time.perf_counter()
                given = self._bus.publish(Beat(epoch, self._number, self._pad))
                self.longest_cpu = max(self.longest_cpu, time.thread_time() - cpu)
                self.walls.append(time.perf_counter() - wall)
                assert given == self._number
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    @property
    def longest_wall(self) -> float:
        """Seconds that the longest `publish` took."""
        return max(self.walls, default=0.0)

    @property
    def usual_wall(self) -> float:
        """Seconds that all but one of a thousand took at most."""
        return sorted(self.walls)[int(0.999 * (len(self.walls) - 1))] if self.walls else 0.0


class Goal(msgspec.Struct, frozen=True):
    """What a node waits for at the end."""

    wanted: dict[int, int]
    # Epochs that ended without a goodbye: of these a Resync is enough.
    gone: frozenset[int]


async def settle(recorder: Recorder, wanted: dict[int, int], gone: frozenset[int] = frozenset()) -> None:
    """Until all of it has come or is feared lost, or `SETTLE` seconds."""
    until = time.monotonic() + SETTLE
    while time.monotonic() < until and any(
        recorder.reached.get(epoch, 0) < count and epoch not in gone & recorder.feared
        for epoch, count in wanted.items()
    ):
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


async def obey(bus: Bus, setup: Setup, stdin: asyncio.StreamReader, recorder: Recorder, load: Load) -> None:
    """Do what the crew says, to the end."""
    if setup.patience is not None:
        answer = ""
        try:
            await bus.ready(setup.patience, peers=setup.peers)
        except TimeoutError as error:
            answer = str(error)
        recorder.note(history.Asked(at=time.monotonic(), answer=answer))
    if not setup.hasty:
        await bus.ready(READY, peers=setup.peers)
    say({"epoch": bus.status().epoch})
    publishing: asyncio.Task[None] | None = None
    while (line := (await stdin.readline()).decode().strip()) not in ("", "end"):
        word, _, rest = line.partition(" ")
        if word == "go" and (publishing is None or publishing.done()):
            publishing = asyncio.create_task(load.run())
        elif word == "stop" and publishing is not None:
            publishing.cancel()
            await asyncio.wait([publishing])
            if not publishing.cancelled():
                publishing.result()
        elif word == "settle":
            goal = msgspec.json.decode(rest, type=Goal)
            await settle(recorder, goal.wanted, goal.gone)
        say({"published": bus.status().published})
    if publishing is not None:
        publishing.cancel()
        await asyncio.wait([publishing])


async def close(bus: Bus, how: str) -> None:
    """One way to close."""
    if how == "together":
        await asyncio.gather(bus.aclose(), bus.aclose())
    else:
        await bus.aclose()
        if how == "twice":
            await bus.aclose()


def connections() -> int:
    """How many internet sockets are open; what a library's runtime keeps for itself are none."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as one:
            count += one.family in (socket.AF_INET, socket.AF_INET6)
    return count


async def left_over(tasks: set[asyncio.Task[object]], before: int) -> tuple[str, ...]:
    """What is still there after a while of what came after these."""
    until = time.monotonic() + GRACE
    while True:
        gc.collect()
        found = [f"task {task!r}" for task in leaks.tasks() - tasks]
        found += [f"thread {thread.name}" for thread in leaks.threads() if thread.name != "MainThread"]
        if (more := connections() - before) > 0:
            found.append(f"{more} connections")
        if not found or time.monotonic() > until:
            return tuple(found)
        await asyncio.sleep(STEP)


async def live(setup: Setup, stdin: asyncio.StreamReader, recorder: Recorder) -> None:
    """From the opening of the bus to its end."""
    tasks_before, connections_before = leaks.tasks(), connections()
    bus = Bus.open(setup.coordinator, node=setup.name, cluster=setup.cluster, limits=setup.limits)
    async with bus, bus.subscribe(Beat) as inbox:
        recorder.note(history.Opened(at=time.monotonic(), node=setup.name, epoch=bus.status().epoch))
        recorder.flush()
        load = Load(bus, setup.rate, recorder, setup.size)
        works = (
            follow(inbox, recorder),
            watch(bus, recorder, setup.look),
            attend(bus, recorder),
            measure(recorder),
        )
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await obey(bus, setup, stdin, recorder, load)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        peers = bus.status().peers
        started = time.monotonic()
        await close(bus, setup.closing)
        took = time.monotonic() - started
    recorder.note(
        history.Closed(
            at=time.monotonic(),
            longest_cpu=load.longest_cpu,
            longest_wall=load.longest_wall,
            usual_wall=load.usual_wall,
            repaired=sum(peer.repaired for peer in peers),
            duplicates=sum(peer.duplicates for peer in peers),
            close=took,
            left=await left_over(tasks_before, connections_before),
        )
    )


async def main() -> None:
    """Run the node that stdin describes."""
    stdin = await lines()
    setup = msgspec.json.decode(await stdin.readline(), type=Setup)
    with Path(setup.history).open("w") as file:  # noqa: ASYNC230  # nothing else runs yet
        recorder = Recorder(file)
        logging.getLogger().addHandler(recorder)
        with suppress(BrokenPipeError):
            await live(setup, stdin, recorder)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # What nobody closed is an error of ours; it comes to the log.
    logging.captureWarnings(True)
    warnings.simplefilter("always", ResourceWarning)
    asyncio.run(main())
