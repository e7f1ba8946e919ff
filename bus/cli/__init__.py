"""The command line `bus`: finds the module of the command that was given, and runs it.

A command is one line in `COMMANDS`. Its module has `configure(parser)`, which adds the arguments, and
`run(parser, arguments) -> int`, which returns the exit code; or it has `main(words) -> int` and reads its
words itself. Only the module of the given command is imported: `bus --version` pays for none. What the exit
codes mean stands in `bus.cli.failure`; what commands share in `output`, `settings`, `client`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn, Protocol, cast

INTERRUPTED = 130
BROKEN_PIPE = 141

# Name -> (module, what it does).
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("bus.cli.run", "a node with the admin server"),
    "get": ("bus.cli.get", "show the Coordinator of a node"),
    "update": ("bus.cli.update", "change the Coordinator of one node, or of several"),
    "rollback": ("bus.cli.rollback", "back to the Coordinator before this one"),
    "describe": ("bus.cli.describe", "the fields of the Coordinator"),
    "validate": ("bus.cli.validate", "check a configuration file"),
    "config": ("bus.cli.config", "where each setting of a node comes from"),
    "schema": ("bus.cli.schema", "what events look like; compare two releases"),
    "doctor": ("bus.cli.doctor", "find what is wrong with a connection, and who hears whom"),
    "watch": ("bus.cli.watch", "show events as they come"),
    "publish": ("bus.cli.publish", "send an event"),
    "nodes": ("bus.cli.nodes", "who is on the bus"),
    "top": ("bus.cli.top", "nodes and rates, live"),
    "token": ("bus.cli.token", "make, list and revoke tokens of the admin server"),
    "history": ("bus.cli.history", "the versions of the Coordinator of a node"),
    "audit": ("bus.cli.audit", "who changed what"),
    "demo": ("bus.demo.command", "nodes with caches over one database; ends with the ledger"),
    "bench": ("bus.cli.bench", "throughput and latency beside the raw client"),
    "completion": ("bus.cli.completion", "completion for bash, zsh or fish"),
    "version": ("bus.cli.version", "what is installed"),
}


class Command(Protocol):
    """What the module of a command has."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command."""
        ...

    def run(self, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
        """Do it; the exit code."""
        ...


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are JSON when the rest is."""

    is_json = False

    def error(self, message: str) -> NoReturn:
        """Exit code 2."""
        if not Parser.is_json:
            super().error(message)
        hint = f"see {self.prog} --help"
        print(json.dumps({"error": {"type": "usage", "message": message, "hint": hint}}), file=sys.stderr)
        raise SystemExit(2)


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

    Parser.is_json = any(word.partition("=")[0] == "--json" for word in words)
    parser = Parser(prog="bus", description="A cluster coordinator message bus.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"bus {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    given = next((word for word in words if not word.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        chosen = commands.add_parser(name, help=text, allow_abbrev=False)
        if name != given:
            continue
        found = importlib.import_module(module)
        if hasattr(found, "main"):
            at = words.index(name)
            code: int = found.main(words[at + 1 :])
            return code
        command = cast("Command", found)
        command.configure(chosen)
        chosen.set_defaults(run=partial(_guarded, command, chosen))
    arguments = parser.parse_args(words)
    code = arguments.run(arguments)
    return code


def _guarded(command: Command, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run it; what went wrong is told once, in the form that was asked for."""
    from bus.cli.failure import Failure, from_config_error
    from bus.errors import ConfigError

    if getattr(arguments, "verbose", False) or getattr(arguments, "debug", False):
        from bus.cli import logs

        logs.set_up("text", "debug" if arguments.debug else "info", "", logs.scrub)
    try:
        return command.run(parser, arguments)
    except Failure as error:
        failure = error
    except ConfigError as error:
        failure = from_config_error(error)
    from bus.cli.output import Output

    Output(arguments).failed(failure)
    return failure.code
