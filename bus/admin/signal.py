"""Something happened: every task that listens wakes up, and none misses it while it is busy."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager


class Signal:
    """`set` wakes all who `listen`."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Event] = set()

    def set(self) -> None:
        """It happened."""
        for listener in self._listeners:
            listener.set()

    @contextmanager
    def listen(self) -> Generator[asyncio.Event]:
        """An event that is set at each `set`; the listener clears it."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)
