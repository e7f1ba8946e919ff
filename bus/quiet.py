"""Keeps the log short while something fails again and again: what repeats is told once, then counted.

log = quiet("bus.backend")          # a logger of its own for one bus, below the one of that name
pace = Pace(6, 60.0)                # at most six lines a minute; who is held back tells it later
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SPAN = 60.0
# Texts that are remembered; when there are more the oldest is new again.
TEXTS = 128


class Pace:
    """At most `most` lines in `span` seconds."""

    def __init__(self, most: int, span: float = SPAN) -> None:
        self._told: deque[float] = deque(maxlen=most)
        self._span = span

    def allows(self, now: float) -> bool:
        """Is there room for one more line? It counts as told."""
        if len(self._told) == self._told.maxlen and now - self._told[0] < self._span:
            return False
        self._told.append(now)
        return True


class Quiet(logging.Filter):
    """Lets a line pass once a minute; the next one says how often it was left out. DEBUG passes always."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        # Text -> when it was told, and how often it was left out since.
        self._told: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by logging for each record."""
        if record.levelno <= logging.DEBUG:
            return True
        text, now = record.getMessage(), self._now()
        at, count = self._told.pop(text, (-SPAN, 0))
        if now - at < SPAN:
            self._told[text] = at, count + 1
            return False
        self._told[text] = now, 0
        if len(self._told) > TEXTS:
            del self._told[next(iter(self._told))]
        if count:
            record.msg, record.args = f"{text} ({count} more times in the last {now - at:.0f} s)", ()
        return True


def quiet(name: str) -> logging.Logger:
    """A logger for one bus: its lines come out as those of the logger `name`, what repeats is counted."""
    log = logging.Logger(name)
    # Level, handlers and filters of that one rule as ever.
    log.parent = logging.getLogger(name)
    log.addFilter(Quiet())
    return log
