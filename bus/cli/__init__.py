"""The command line `bus`: finds the module of the command that was given, and runs it.

A command is one line in `COMMANDS`. Its module has `configure(parser)`, which adds the arguments,
and `run(parser, arguments) -> int`, which returns the exit code: 0 good, 1 bad, 2 usage
(`parser.error`). Only the module of the given command is imported: `bus --version` pays for none.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Protocol, cast

INTERRUPTED = 130
BROKEN_PIPE = 141

# Name -> (module, what it does).
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("bus.demo.command", "nodes with caches over one database; ends with the ledger"),
}


class Command(Protocol):
    """What the module of a command has."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command."""
        ...

    def run(self, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
        """Do it; the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` defaults to the arguments of the process. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone: say nothing more, also not at the last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return code


def _run(words: list[str]) -> int:
    # Here, since `bus` itself imports nothing of the command line.
    from bus import __version__

    parser = argparse.ArgumentParser(
        prog="bus", description="A cluster coordinator message bus.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"bus {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    given = next((word for word in words if not word.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        chosen = commands.add_parser(name, help=text, allow_abbrev=False)
        if name == given:
            command = cast("Command", importlib.import_module(module))
            command.configure(chosen)
            chosen.set_defaults(run=partial(command.run, chosen))
    arguments = parser.parse_args(words)
    code: int = arguments.run(arguments)
    return code
