"""The object that `get`, `update`, `describe` and `rollback` are about: there is one, the Coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.cli.failure import usage

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("object", nargs="?", default="Coordinator", metavar="Coordinator")
    parser.add_argument("id", nargs="?", default="singleton", metavar="singleton")


def check(name: str, id: str = "singleton") -> None:
    """Raises Failure for anything else."""
    if name.lower() not in ("coordinator", "x:coordinator"):
        raise usage(f'there is no object "{name[:60]}"', "there is one: Coordinator")
    if id != "singleton":
        raise usage(f'there is no Coordinator "{id[:60]}"', 'there is one, and its id is "singleton"')
