"""Files that are whole at any instant: written beside, synced, and put in place by one rename."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from bus.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

log: logging.Logger = logging.getLogger("bus.admin")

# Called with the name of each step, for tests that kill the process there.
Hook = Callable[[str], object]


def no_hook(step: str) -> None:
    """Nothing happens between two steps."""


def write_atomic(path: Path, content: bytes, hook: Hook = no_hook) -> os.stat_result:
    """Replace the file: after a crash at any point it is the old one or the new one. Mode 0600.

    Returns what `stat` says of the new file. Raises OSError; the old file is still there then, unless
    only the directory could not be synced.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            hook("created")
            file.write(content)
            file.flush()
            hook("written")
            os.fsync(file.fileno())
            found = os.fstat(file.fileno())
            hook("synced")
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    hook("replaced")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    hook("settled")
    return found


def remove_stray(folder: Path, name: str) -> None:
    """Remove what a killed `write_atomic` left behind."""
    for stray in folder.glob(f".{name}.*.tmp"):
        with suppress(OSError):
            stray.unlink()


def make_private(folder: Path) -> None:
    """Make the directory, 0700, if it is missing. Raises ConfigError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"state directory {folder}: {error.strerror}; name another one") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"state directory {folder}: this process may not write there")
    check_private(folder)


def check_private(path: Path) -> None:
    """Raise ConfigError if others may write a file or directory; warn if they may read it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"{path} can be written by others, who could put any configuration there: chmod go-w it"
        )
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        log.warning("%s can be read by others; it may hold secrets: chmod go= it", path)
