"""The files of the page, read once, under a name that changes when any of them does: so they never expire.

One folder for all, since the modules name each other by relative paths.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import NamedTuple

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """What one path answers."""

    content: bytes
    media_type: str


class Assets:
    """Blocks when it is made: it reads the files."""

    def __init__(self) -> None:
        folder = resources.files("bus.admin.page") / "static"
        found = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        index = found.pop("index.html")
        digest = hashlib.sha256()
        for name in sorted(found):
            digest.update(name.encode() + b"\0" + found[name])
        version = digest.hexdigest()[:16]
        self.icon: Asset = Asset(found["icon.svg"], _TYPES["svg"])
        self.index: Asset = Asset(index.replace(b"{version}", version.encode()), "text/html; charset=utf-8")
        self.by_path: dict[str, Asset] = {
            f"/static/{version}/{name}": Asset(content, _TYPES[name.rpartition(".")[2]])
            for name, content in found.items()
        }
