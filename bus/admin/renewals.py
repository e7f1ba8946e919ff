"""Which files a configuration names, and whether somebody has renewed them: secrets and certificates.

A link reads them when it connects, each time anew. A connection that lives goes on with the old ones; so
what was renewed is taken over as a change is, by a new link beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import msgspec.inspect

from bus.config import File
from bus.config.uri import FILE_PATH

if TYPE_CHECKING:
    from bus.config import Coordinator

_Stamps = dict[str, tuple[int, ...] | None]


class Renewals:
    """Looks at the files now and then."""

    def __init__(self) -> None:
        self._of: Coordinator | None = None
        self._used: _Stamps = {}
        self._last: _Stamps = {}

    def look(self, coordinator: Coordinator) -> bool:
        """True once when files that it names are others than before, and no longer being written. Blocks."""
        now = {path: _stamp(path) for path in files(coordinator)}
        if coordinator != self._of:
            self._of, self._used = coordinator, now
        # A certificate and its key are two files: not while one was changed since the last look.
        is_renewed = now != self._used and now == self._last
        if is_renewed:
            self._used = now
        self._last = now
        return is_renewed


def files(coordinator: Coordinator) -> Iterator[str]:
    """The paths of all files that a configuration names."""
    kind = msgspec.inspect.type_info(type(coordinator))
    if not isinstance(kind, msgspec.inspect.StructType):
        return
    for field in kind.fields:
        value: object = getattr(coordinator, field.name)
        if isinstance(value, File):
            yield value.file_path.strip()
        elif isinstance(value, str) and _is_path(field.type):
            yield value


def _is_path(kind: msgspec.inspect.Type) -> bool:
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(map(_is_path, kind.types))
    if not isinstance(kind, msgspec.inspect.Metadata):
        return False
    extra = cast("dict[str, object]", kind.extra or {})  # pyright: ignore[reportUnknownMemberType]  # a bare dict
    return extra.get("format") is FILE_PATH


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
