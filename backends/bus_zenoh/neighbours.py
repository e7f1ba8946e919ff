"""How the processes of one user on one machine find each other: a directory of unix sockets.

Each process owns `<name>.id`, locked for as long as it lives, and listens at `<name>.sock`. It takes its own place
before it looks at the others': of two that start together at least one sees the other. A lock that can be had
belongs to a dead process, and whoever sees it clears the place. The kernel drops the lock of a killed
process and keeps that of a frozen one, so no clock and no process id decides who is alive.
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
# Bytes of a socket's path that every system takes: 108 on Linux, 104 on macOS, less the final zero.
LONGEST_PATH = 103


class Place:
    """One process' place in the directory of its channel; blocking calls, for a worker thread."""

    def __init__(self, channel: str) -> None:
        """Take a place and see the others. Raises ConfigError: no directory that is ours alone."""
        self.directory = _directory(channel)
        self._name, self._lock = self._take()
        self.endpoint = self._endpoint(self._name)
        self.others = [
            self._endpoint(path.stem)
            for path in self.directory.glob("*.id")
            if path.stem != self._name and not self._is_dead(path)
        ]

    def leave(self) -> None:
        """Give the place up. Idempotent."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            self._clear(self._name)
            os.close(lock)

    def _take(self) -> tuple[str, int]:
        while True:
            name = secrets.token_hex(6)
            path = self.directory / f"{name}.id"
            try:
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise _unusable(self.directory, str(error.strerror)) from error
            # Another one that looked before we had the lock may have cleared the place: take a new one.
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists():
                    return name, lock
            os.close(lock)

    def _is_dead(self, path: Path) -> bool:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._clear(path.stem)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True

    def _clear(self, name: str) -> None:
        for end in ("sock", "sock.lock", "id"):
            (self.directory / f"{name}.{end}").unlink(missing_ok=True)

    def _endpoint(self, name: str) -> str:
        return f"unixsock-stream/{self.directory}/{name}.sock"


def _directory(channel: str) -> Path:
    """The directory of a channel; made when it is missing.

    Not in XDG_RUNTIME_DIR: of two processes of one user one has it and one, started by cron, does not.
    """
    given = os.environ.get(VARIABLE)
    root = Path(os.path.realpath(given) if given else f"/tmp/coordinator-bus-{os.geteuid()}")
    directory = root / channel
    if len(os.fsencode(directory / "0123456789ab.sock")) > LONGEST_PATH:
        directory = root / hashlib.sha256(channel.encode()).hexdigest()[:16]
    if len(os.fsencode(directory / "0123456789ab.sock")) > LONGEST_PATH or set("?#;") & set(str(root)):
        raise _unusable(root, "the path is too long for a socket, or has one of ? # ;")
    for path in (root, directory):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.lstat()
        except OSError as error:
            raise _unusable(path, str(error.strerror)) from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise _unusable(path, "it is no directory that belongs to this user")
        if found.st_mode & 0o022:
            raise _unusable(path, f"others may write to it (mode {found.st_mode & 0o777:o})")
    return directory


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"zenoh:// needs a directory for its sockets and cannot use {path}: {why}. Set {VARIABLE} to a "
        "directory that this user owns and no other may write to, the same for every process of the cluster"
    )
