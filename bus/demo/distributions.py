"""The real input of the demo: metadata and file lists of the Python distributions on this machine.

A bare virtual environment has few: then the standard library is listed as one more, as it lies on
the disk.
"""

from __future__ import annotations

import importlib.metadata
import os
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

# Enough for a cache to have something to miss, and few enough to be written in a second.
FEWEST = 2_000
MOST = 5_000
LONGEST_VALUE = 200


class Row(NamedTuple):
    """One fact about one distribution."""

    kind: str
    distribution: str
    name: str
    value: str


def rows() -> list[Row]:
    """At most `MOST` rows: installed distributions first."""
    found = list(islice(installed(), MOST))
    if len(found) < FEWEST:
        found += islice(standard_library(), MOST - len(found))
    return found


def installed() -> Iterator[Row]:
    """Metadata fields and files of every distribution that this interpreter can import."""
    seen: set[str] = set()
    for found in importlib.metadata.distributions():
        # The type says that there are some; a half removed distribution has none.
        metadata: importlib.metadata.PackageMetadata | None = found.metadata
        name = (metadata.get_all("Name") or [""])[0] if metadata else ""
        if not metadata or not name or name in seen:
            continue
        seen.add(name)
        for field in dict.fromkeys(metadata):
            for value in metadata.get_all(field) or ():
                yield Row("field", name, field, str(value)[:LONGEST_VALUE])
        for file in found.files or ():
            digest = f"{file.hash.mode}={file.hash.value}" if file.hash else ""
            yield Row("file", name, str(file), f"{file.size or 0} {digest}")


def standard_library() -> Iterator[Row]:
    """The files of the standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(set(inner) - {"site-packages", "dist-packages", "__pycache__"})
        for file in sorted(files):
            path = Path(folder, file)
            # lstat: a link may lead nowhere.
            yield Row("file", "python", str(path.relative_to(root)), str(path.lstat().st_size))
