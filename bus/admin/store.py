"""The stored Coordinator: one file, the version before it, and a state string that changes with it.

    <state_dir>/coordinator.json     {"version", "epoch", "generation", "object", "updatedAt", "updatedBy"},
                                     and "switching" until the bus has moved to it
    <state_dir>/coordinator.json.1   the one before
    <state_dir>/.lock                one process at a time

All calls block; the server makes them in a thread, one at a time. A file that cannot be read is never
overwritten: the node then runs Disabled and says so, until somebody repairs it, removes it, or rolls back.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from bus.admin import files
from bus.admin.jmap import ijson
from bus.config import Coordinator, Disabled, decode, encode
from bus.config.secret import read_regular
from bus.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
NAME = "coordinator.json"
MAX_FILE = 1_048_576
_EPOCH = re.compile(r"[0-9a-f]{8}")


class StoreBroken(Exception):
    """The file cannot be read; the text names it and says why."""


class Stored(NamedTuple):
    """One version of the object."""

    epoch: str
    generation: int
    object: Coordinator
    updated_at: str
    updated_by: str
    # The bus was still moving to it: a process that dies now starts again where it was, and moves again.
    is_switching: bool = False

    @property
    def state(self) -> str:
        """Changes if, and only if, the object does. No digest: that could be used to guess a secret."""
        return f"{self.epoch}-{self.generation}"


class Store:
    """The object of one node. `open` before anything else, `close` at the end."""

    def __init__(
        self, folder: Path, variants: Sequence[type[Coordinator]], hook: files.Hook = files.no_hook
    ) -> None:
        self.path: Path = folder / NAME
        self.before: Path = folder / f"{NAME}.1"
        # Why the file cannot be used; "" while it can.
        self.broken: str = ""
        self._folder = folder
        self._variants = variants
        self._hook = hook
        self._lock = -1
        # One attribute: the event loop reads it while a thread changes it. None: never stored, or broken.
        self.current: Stored | None = None
        self._first = secrets.token_hex(4)
        # What the file was when we looked last, and the last content that was good.
        self._seen: bytes | None = None
        self._good: bytes | None = None
        self._stamp: tuple[int, ...] | None = None

    def open(self) -> None:
        """Lock and read. Raises ConfigError: not ours alone, writable by others, not accessible."""
        files.make_private(self._folder)
        files.check_private(self.path)
        self._lock = _locked(self._folder / ".lock")
        files.remove_stray(self._folder, self.path.name)
        files.remove_stray(self._folder, self.before.name)
        self.adopt()

    def close(self) -> None:
        """Let another process have it. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def state(self) -> str:
        """The state string, also of an object that was never stored."""
        return self.current.state if self.current is not None else f"{self._first}-0"

    def is_changed(self) -> bool:
        """Whether somebody else has written the file since we did."""
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return False
        if _content(self.path) == (self._seen, ""):
            self._stamp = stamp
            return False
        return True

    def adopt(self) -> bool:
        """Take the file as it is now; True if the object is another one. A broken file sets `broken`."""
        self._stamp = _stamp(self.path)
        self._seen, broken = _content(self.path)
        found = None
        if self._seen is not None and not broken:
            try:
                found = self._read(self.path, self._seen)
            except StoreBroken as error:
                broken = str(error)
        self.broken = broken
        if found is None:
            return False
        known, before = self.current, self._good
        if known is None:
            self.current, self._good = found, self._seen
            return True
        if found.object == known.object:
            return False
        # Edited by hand: nobody raised the generation, and a state that was told must not come back.
        generation = max(known.generation, found.generation) + 1
        if before is not None:
            files.write_atomic(self.before, before)
        self._write(found.object, known.epoch, generation, found.updated_by, is_switching=True)
        return True

    def opening(self) -> Coordinator | None:
        """What to open a bus with; None if nothing was ever stored.

        Disabled if the file cannot be read: nobody knows what it said. In the middle of a change it is what
        the bus ran on: the others may have stayed there, and only one that hears both sides can tell.
        """
        if self.broken:
            return Disabled()
        if self.current is None:
            return None
        if self.current.is_switching:
            with suppress(StoreBroken):
                return self.previous().object
        return self.current.object

    def settle(self) -> None:
        """The bus has moved to what is stored. Raises OSError; then the next start moves it once more."""
        now = self.current
        if now is not None and now.is_switching and not self.broken:
            self._write(now.object, now.epoch, now.generation, now.updated_by)

    def save(self, new: Coordinator, by: str, old: Coordinator, *, is_switching: bool = False) -> None:
        """Make `new` the stored object; `old` is what counts as the version before the first.

        `is_switching`: the bus has yet to move to it, and `settle` will tell. Raises StoreBroken, OSError;
        what is in the file is what this object says, then as before.
        """
        if self.broken:
            raise StoreBroken(self.broken)
        epoch, generation = (self._first, 0) if self.current is None else self.current[:2]
        before = self._good or _encoded(old, epoch, generation, "")
        try:
            files.write_atomic(self.before, before, lambda step: self._hook(f"before {step}"))
            self._write(new, epoch, generation + 1, by, is_switching=is_switching)
        except BaseException:
            # Perhaps the new one is in place and only could not be synced.
            self._look_again()
            raise

    def previous(self) -> Stored:
        """The version before this one. Raises StoreBroken when there is none."""
        content, trouble = _content(self.before)
        if content is None or trouble:
            raise StoreBroken(trouble or f"there is no version before this one ({self.before} is missing)")
        return self._read(self.before, content)

    def set_aside(self) -> None:
        """Keep a file that cannot be read under another name, so that `save` may write. Raises OSError."""
        kept = self.path.with_name(f"{NAME}.broken")
        kept.unlink(missing_ok=True)
        # A second name and not another one: there is no moment without the file.
        os.link(self.path, kept)
        self.broken = ""

    def _write(
        self, new: Coordinator, epoch: str, generation: int, by: str, *, is_switching: bool = False
    ) -> None:
        content = _encoded(new, epoch, generation, by, is_switching=is_switching)
        found = files.write_atomic(self.path, content, lambda step: self._hook(f"object {step}"))
        self._stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        self._seen = self._good = content
        self.current = self._read(self.path, content)

    def _look_again(self) -> None:
        content, trouble = _content(self.path)
        if content is not None and not trouble:
            with suppress(StoreBroken):
                self.current = self._read(self.path, content)
                self._seen = self._good = content
                self._stamp = _stamp(self.path)

    def _read(self, path: Path, content: bytes) -> Stored:
        """Raises StoreBroken, whose text names the path and holds no secret."""
        trouble = ""
        try:
            value = ijson.read(content)
            if not ijson.is_object(value):
                raise StoreBroken(f"{path}: it holds no object")
            return self._stored(path, value)
        except ijson.NotJson as error:
            trouble = str(error)
        except ConfigError as error:
            trouble = str(error)
        raise StoreBroken(f"{path}: {trouble}")

    def _stored(self, path: Path, value: ijson.JsonObject) -> Stored:
        if value.get("version") != VERSION:
            raise StoreBroken(f'{path}: "version" is not {VERSION}; it was written by another release')
        epoch, generation = value.get("epoch"), value.get("generation")
        if not isinstance(epoch, str) or not _EPOCH.fullmatch(epoch):
            raise StoreBroken(f'{path}: "epoch" must be 8 hex digits')
        if type(generation) is not int or generation < 0:
            raise StoreBroken(f'{path}: "generation" must be a whole number from 0 on')
        if not ijson.is_object(value.get("object")):
            raise StoreBroken(f'{path}: "object" must be an object')
        at, by = value.get("updatedAt", ""), value.get("updatedBy", "")
        return Stored(
            epoch,
            generation,
            decode(value.get("object"), variants=self._variants),
            at if isinstance(at, str) else "",
            by if isinstance(by, str) else "",
            value.get("switching") is True,
        )


def _encoded(new: Coordinator, epoch: str, generation: int, by: str, *, is_switching: bool = False) -> bytes:
    content: dict[str, object] = {
        "version": VERSION,
        "epoch": epoch,
        "generation": generation,
        "object": encode(new, reveal=True),
        "updatedAt": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "updatedBy": by,
    }
    if is_switching:
        content["switching"] = True
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


def _locked(path: Path) -> int:
    import fcntl  # not on Windows

    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = os.read(lock, 20).decode(errors="replace").strip()
        os.close(lock)
        raise ConfigError(
            f"state directory {path.parent} is in use by process {pid or 'unknown'}: "
            "give each node its own (BUS_STATE_DIR)"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _content(path: Path) -> tuple[bytes | None, str]:
    """(content, ""), (None, "") if there is no such file, or (b"", what is wrong)."""
    try:
        return read_regular(str(path), MAX_FILE)[0], ""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return b"", f"{path}: {error.strerror}"
    except ValueError as error:
        return b"", f"{path}: {error}"
