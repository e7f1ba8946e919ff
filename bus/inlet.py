"""Events from other threads on their way into the log: encoded there, numbered in the loop's thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from bus.errors import UsageError

if TYPE_CHECKING:
    from bus.event import Event


class ThreadInlet:
    """A bounded queue with one wake-up of the loop per burst."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._waiting: deque[tuple[Event, bytes]] = deque()
        self._lock = threading.Lock()

    def put(self, event: Event, body: bytes) -> bool:
        """From any thread. True = the loop has to be woken. Raises UsageError when a whole log waits."""
        with self._lock:
            if self._bytes > self._limit:
                raise UsageError(
                    f"{self._bytes} bytes from threads wait for the event loop, at most {self._limit} "
                    "may: the loop is blocked, or the threads publish faster than it can send"
                )
            self._waiting.append((event, body))
            self._bytes += len(body)
            return len(self._waiting) == 1

    def take(self) -> list[tuple[Event, bytes]]:
        """Everything that waits, in order."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
        return taken
