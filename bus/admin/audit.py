"""Who changed what, and what came of it: one JSON object a line, appended, never rewritten.

<state_dir>/audit.jsonl, rotated at 10 MiB to .1 ... .4; the same as a record on the logger "bus.audit"
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from bus.admin.jmap import ijson
from bus.config import encode

if TYPE_CHECKING:
    from pathlib import Path

    from bus.admin.jmap.errors import MethodError, SetError
    from bus.admin.jmap.ijson import JsonObject
    from bus.admin.jmap.methods import Caller
    from bus.config import Coordinator

MAX_SIZE = 10 * 1_048_576
KEPT = 4

log: logging.Logger = logging.getLogger("bus.audit")


class Audit:
    """The trail of one state directory. `write` blocks."""

    def __init__(self, folder: Path, max_size: int = MAX_SIZE) -> None:
        self.path: Path = folder / "audit.jsonl"
        self._max_size = max_size
        # For metrics: what came of changes, since this process runs.
        self.outcomes: Counter[str] = Counter()

    def write(self, record: Mapping[str, object]) -> None:
        """Append one record; a disk that is full is logged and changes nothing else."""
        if isinstance(outcome := record.get("outcome"), str):
            self.outcomes[outcome] += 1
        line = ijson.write({"ts": _now(), **record})
        log.info("%s", line.decode())
        try:
            self._rotate(len(line) + 1)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # One write: a line is whole, or not there.
                os.write(file, line + b"\n")
            finally:
                os.close(file)
        except OSError as error:
            log.error("the audit trail %s cannot be written: %s", self.path, error.strerror)

    def _rotate(self, more: int) -> None:
        if not self.path.exists() or self.path.stat().st_size + more <= self._max_size:
            return
        for number in range(KEPT, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            if newer.exists():
                os.replace(newer, older)


def changes(old: Coordinator, new: Coordinator) -> list[JsonObject]:
    """Every path that differs, with the old and the new value as they may be shown."""
    before, after = _flat(encode(old)), _flat(encode(new))
    # A changed password looks the same before and after: what differs is seen in the real values.
    real_before, real_after = _flat(encode(old, reveal=True)), _flat(encode(new, reveal=True))
    paths = dict.fromkeys([*real_before, *real_after])
    return [
        {"path": path, "old": before.get(path), "new": after.get(path)}
        for path in paths
        if real_before.get(path) != real_after.get(path)
    ]


def _flat(value: JsonObject, above: str = "") -> JsonObject:
    found: JsonObject = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            found |= _flat(cast("JsonObject", inner), f"{above}{name}/")
        else:
            found[above + name] = inner
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Entry:
    """One line of the audit trail while it is being written."""

    def __init__(self, action: str, caller: Caller | None, state: str) -> None:
        self.action = action
        self.by: str = caller.token.id if caller is not None else action
        self.is_news = True
        self._stages: JsonObject = {}
        self.record: JsonObject = {
            "request": caller.request_id if caller is not None else None,
            "token": self.by,
            "remote": caller.remote if caller is not None else None,
            "method": action,
            "outcome": "stopped",
            "oldState": state,
            "newState": state,
            "changed": [],
            "stageMs": self._stages,
        }

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Measure one stage."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._stages[name] = round((time.monotonic() - began) * 1e3, 1)

    def fail(self, error: SetError | MethodError) -> None:
        """It came to nothing."""
        if self.record["outcome"] == "stopped":
            self.record["outcome"] = "rejected"
        self.record["error"] = error.as_json()
