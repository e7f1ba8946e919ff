"""Events from other threads on their way into the log: encoded there, numbered in the loop's thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from bus import refusals
from bus.errors import UsageError
from bus.protocol.log import Oversize

if TYPE_CHECKING:
    from bus.event import Event, EventTypes
    from bus.protocol.limits import Limits


class ThreadInlet:
    """A bounded queue with one wake-up of the loop per burst."""

    def __init__(self, types: EventTypes, limits: Limits) -> None:
        self._types = types
        self._limit = limits.log_bytes
        self._most = limits.event
        self._bytes = 0
        self._waiting: deque[tuple[Event, bytes]] = deque()
        self._lock = threading.Lock()

    def put(self, event: Event) -> bool:
        """From any thread. True = the loop has to be woken.

        Raises UsageError when a whole log waits, and as `Bus.publish` does.
        """
        body = self._encoded(event)
        with self._lock:
            if self._bytes > self._limit:
                raise UsageError(
                    f"{self._bytes} bytes from threads wait for the event loop, at most {self._limit} "
                    "may: the loop is blocked, or the threads publish faster than it can send"
                )
            self._waiting.append((event, body))
            self._bytes += len(body)
            return len(self._waiting) == 1

    def _encoded(self, event: Event) -> bytes:
        if event.__class__ not in self._types.known:
            self._types.add((event.__class__,))
        try:
            body = self._types.encoder.encode(event)
            if len(body) > self._most:
                raise Oversize(len(body))
        except Exception as error:
            raise refusals.unfit(event, error, self._most) from error
        return body

    def take(self) -> list[tuple[Event, bytes]]:
        """Everything that waits, in order."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
        return taken
