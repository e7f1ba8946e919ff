"""How the processes of one user on one machine find each other: a directory of unix sockets.

Each process owns `<name>.id`, locked for as long as it lives, and listens at `<name>.sock`. It
takes its own place before it looks at the others': of two that start together at least one sees the
other. A lock that can be had belongs to a dead process, and whoever sees it clears the place: the
kernel drops the lock of a killed process and keeps that of a frozen one. No clock and no process
id decides who is alive.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from bus.errors import ConfigError

VARIABLE = "BUS_RUNTIME_DIR"
# Bytes of a socket's path that every system takes: 108 on Linux, 104 on macOS, with the zero.
LONGEST_PATH = 103
TRIES = 100


class Place:
    """One process' place in the directory of its channel. Blocking: for a worker thread."""

    def __init__(self, channel: str) -> None:
        """Take a place, then see the others. Raises ConfigError: no directory is ours alone."""
        self._directory, self._name, self._lock = _take(channel)
        self.endpoint: str = self._endpoint(self._name)
        self.others: list[str] = [
            self._endpoint(path.stem)
            for path in self._directory.glob("*.id")
            if path.stem != self._name and self._is_alive(path)
        ]

    def leave(self) -> None:
        """Give the place up. Idempotent, never raises."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            self._clear(self._name)
            os.close(lock)
            with suppress(OSError):  # others are here
                self._directory.rmdir()

    def _is_alive(self, path: Path) -> bool:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # gone
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._clear(path.stem)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _clear(self, name: str) -> None:
        for end in ("sock", "sock.lock", "id"):
            with suppress(OSError):
                (self._directory / f"{name}.{end}").unlink(missing_ok=True)

    def _endpoint(self, name: str) -> str:
        return f"unixsock-stream/{self._directory}/{name}.sock"


def _take(channel: str) -> tuple[Path, str, int]:
    directory = _directory(channel)
    for left in range(TRIES, -1, -1):
        name = secrets.token_hex(6)
        path = directory / f"{name}.id"
        try:
            _make_own(directory.parent)
            _make_own(directory)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # The last one here may just have left, and taken the directory along.
            if left and isinstance(error, FileNotFoundError):
                continue
            raise _unusable(directory, str(error.strerror)) from error
        # Who looked before we had the lock may have cleared the place: then take a new one.
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():
                return directory, name, lock
        os.close(lock)
    raise _unusable(directory, "files disappear from it")


def _directory(channel: str) -> Path:
    # Not in XDG_RUNTIME_DIR: a login session has it, and a job of cron of the same user has not.
    given = os.environ.get(VARIABLE)
    root = Path(os.path.realpath(given) if given else f"/tmp/coordinator-bus-{os.geteuid()}")
    hashed = hashlib.sha256(channel.encode()).hexdigest()[:16]
    directory = root / (channel if _fits(root / channel) else hashed)
    if not _fits(directory) or set("?#;") & set(str(root)):
        raise _unusable(root, "the path of a socket in it is too long, or has one of ?#;")
    return directory


def _make_own(directory: Path) -> None:
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700, parents=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise _unusable(directory, "it is no directory that belongs to this user")
    if found.st_mode & 0o022:
        raise _unusable(directory, f"others may write to it (mode {found.st_mode & 0o777:o})")


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / "0123456789ab.sock")) <= LONGEST_PATH


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"Zenoh cannot keep its sockets in {path}: {why}. Set {VARIABLE} to a directory that this "
        "user owns and no other may write to, the same for all processes of the cluster"
    )
