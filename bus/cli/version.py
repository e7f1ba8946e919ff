"""`bus version`: what is installed, for a bug report."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

from bus.cli import output

if TYPE_CHECKING:
    import argparse

PACKAGES = (
    "anyio", "msgspec", "starlette", "uvicorn", "eclipse-zenoh", "nats-py", "hiredis", "aiokafka", "uvloop",
    "isal",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Print it."""
    from bus import __version__

    out = output.Output(arguments)
    found: dict[str, str | None] = {
        "bus": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    if out.is_json:
        out.json(found)
    else:
        out.table(("name", "version"), [(name, text or "not installed") for name, text in found.items()])
    return 0
