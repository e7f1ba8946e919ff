"""A line that carries so many bytes a second, whoever they are from.

line = Line(32_000)
for proxy in proxies:
    proxy.down = Toxics(rate=line)        # all connections of all these proxies share it
"""

from __future__ import annotations

import threading
import time

__all__ = ["Line", "bytes_in"]


class Line:
    """`rate`: bytes a second. Each who shares it books its next piece when the last one has been carried.

    By that it is fair: whoever has something to send gets one piece in turn, as from the queues of a router.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free = 0.0
        # Each proxy has a thread of its own.
        self._lock = threading.Lock()

    def book(self, size: int) -> float:
        """When a piece that is handed over now has been carried (monotonic)."""
        with self._lock:
            self._free = max(self._free, time.monotonic()) + size / self.rate
            return self._free


def bytes_in(seconds: float, rate: float | Line) -> int:
    """How many are carried in that time, at least one."""
    return max(1, int(seconds * (rate.rate if isinstance(rate, Line) else rate)))
