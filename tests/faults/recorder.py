"""Writes the history of one node while it happens."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import msgspec

from bus import Bus, Event, Gap, Loss, Overflow, Resync, Subscription
from bus.signals import Down, Duplicate, Restarted, Up
from tests.faults import history

if TYPE_CHECKING:
    from bus.signals import PeerStatus

# Seconds between two looks at the state, and at what the process uses.
LOOK = 0.02
SAMPLE = 0.5
_PAGE = resource.getpagesize()


class Beat(Event, tag="faults.beat"):
    """The only event of a run: its number is the one that `publish` gave; `pad` makes it large."""

    epoch: int
    number: int
    pad: bytes = b""


class Recorder(logging.Handler):
    """Writes the history, and knows how far each epoch has come."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(logging.WARNING)
        # The highest number that was delivered or told of each epoch, and who was feared lost.
        self.reached: dict[int, int] = {}
        self.feared: set[int] = set()
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

    def emit(self, record: logging.LogRecord) -> None:
        """A line of the log, from any thread."""
        text = record.getMessage()
        line = history.Logged(
            at=time.monotonic(), level=record.levelname, text=text[:300], trace=record.exc_info is not None
        )
        self._file.write(msgspec.json.encode(line).decode() + "\n")

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
                if item.epoch is not None:
                    self.feared.add(item.epoch)
            case Overflow():
                self.note(history.Overflown(at=now, count=item.count))
            case _:
                raise TypeError(f"a loss of a new kind: {item!r}")


async def follow(inbox: Subscription[Beat], recorder: Recorder) -> None:
    """Note everything that is received."""
    while True:
        recorder.batch(await inbox.batch())


async def watch(bus: Bus, recorder: Recorder, look: float = LOOK) -> None:
    """Note every change of the state and every new peer, and write to the file now and then."""
    seen = ""
    met = set[int]()
    while True:
        status = bus.status()
        if status.state != seen:
            seen = status.state
            error = status.links[0].error if status.links else None
            recorder.note(history.State(at=time.monotonic(), state=seen, error=error))
        for peer in status.peers:
            if peer.epoch not in met:
                met.add(peer.epoch)
                recorder.note(_met(peer))
        recorder.flush()
        await asyncio.sleep(look)


def _met(peer: PeerStatus) -> history.Met:
    # Its baseline is the first number that it is to deliver.
    return history.Met(at=time.monotonic(), node=peer.node, epoch=peer.epoch, baseline=peer.baseline - 1)


async def attend(bus: Bus, recorder: Recorder) -> None:
    """Note who comes and goes."""
    async for change in bus.membership():
        assert isinstance(change, Up | Down | Restarted | Duplicate)
        recorder.note(history.Changed(at=time.monotonic(), change=type(change).__name__, node=change.node))


async def measure(recorder: Recorder) -> None:
    """Note what the process uses."""
    while True:
        with suppress(OSError):  # no descriptors: nothing can be read
            recorder.note(sample())
        await asyncio.sleep(SAMPLE)


def sample() -> history.Sample:
    """What this process uses now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return history.Sample(
        at=time.monotonic(), cpu=time.process_time(), rss=pages * _PAGE, fds=len(os.listdir("/proc/self/fd")),
        tasks=len(asyncio.all_tasks()), threads=threading.active_count(),
    )  # fmt: skip
