"""What is left behind, how long the event loop stood still, and what was said in the logs meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from bus.testing.conformance.station import until
from bus.testing.leaks import no_leaks

TICK = 0.005


def descriptors() -> set[tuple[str, str]]:
    """(number, target) of every open file descriptor; empty where the system does not tell."""
    found: set[tuple[str, str]] = set()
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            found.add((entry.name, os.readlink(entry)))
        except OSError:  # closed meanwhile; the one that reads the folder always is
            continue
    return found


@asynccontextmanager
async def nothing_left(seconds: float) -> AsyncGenerator[None, None]:
    """The block leaves no task, thread, process or descriptor; they have `seconds` to go."""
    before = descriptors()
    async with no_leaks(seconds):
        yield
    await until(
        lambda: not descriptors() - before,
        seconds,
        lambda: f"still open: {', '.join(sorted(target for _, target in descriptors() - before))}",
    )


class Gaps:
    """How long the event loop did not run others: the longest pause of a task that wakes every 5 ms."""

    def __init__(self) -> None:
        self.longest: float = 0.0

    async def watch(self) -> None:
        """Runs until cancelled."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            self.longest = max(self.longest, now - before - TICK)
            before = now


@asynccontextmanager
async def watchdog() -> AsyncGenerator[Gaps, None]:
    """Measure the loop during the block."""
    gaps = Gaps()
    task = asyncio.create_task(gaps.watch(), name="conformance.watchdog")
    await asyncio.sleep(2 * TICK)
    gaps.longest = 0.0
    try:
        yield gaps
        await asyncio.sleep(2 * TICK)
    finally:
        task.cancel()
        await asyncio.wait({task})


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def overheard() -> Generator[list[str], None, None]:
    """Every line that is logged during the block, by whomever, with tracebacks."""
    listener = _Listener()
    root = logging.getLogger()
    names = ("", "bus")
    levels = {name: logging.getLogger(name).level for name in names}
    root.addHandler(listener)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield listener.lines
    finally:
        root.removeHandler(listener)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
