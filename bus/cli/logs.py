"""Logs on stderr: text for people, JSON lines for machines; no secret of the node in either.

Of `bus run` always, of the other commands with -v and --debug.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bus.config import Coordinator

# What the command connects with, as soon as that is known: none of its secrets is logged.
_hidden: list[Coordinator] = []


def hide(coordinator: Coordinator) -> None:
    """From now on `scrub` leaves the secrets of this one out."""
    _hidden[:] = [coordinator]


def scrub(text: str) -> str:
    """A line of the log without any secret that is known, or that a URL shows."""
    from bus.config.redacted import redact
    from bus.trial import scrubbed

    for coordinator in _hidden:
        text = scrubbed(text, coordinator)
    return redact(text) if "://" in text and ("@" in text or "?" in text) else text


class TextFormat(logging.Formatter):
    """ "12:00:00.123 INFO bus.admin text"."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
        self._scrub = scrub

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        return self._scrub(super().format(record))


class JsonFormat(logging.Formatter):
    """One object a line: ts, level, logger, node, msg, error."""

    def __init__(self, node: str, scrub: Callable[[str], str]) -> None:
        super().__init__()
        self._node = node
        self._scrub = scrub

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        found: dict[str, object] = {
            "ts": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "node": self._node,
            "msg": self._scrub(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0] is not None:
            found["error"] = record.exc_info[0].__name__
            found["trace"] = self._scrub(self.formatException(record.exc_info))
        return json.dumps(found)


def set_up(form: str, level: str, node: str, scrub: Callable[[str], str]) -> None:
    """Log to stderr; "auto" is text on a terminal, else JSON."""
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormat(node, scrub) if is_json else TextFormat(scrub))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # What libraries say at INFO is not ours to repeat.
    logging.getLogger("bus").setLevel(level.upper())
