"""`bus validate FILE`: all that is wrong with a configuration; with --connect, whether it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.cli import output, settings
from bus.cli.failure import CONNECTION, Failure

if TYPE_CHECKING:
    import argparse

    from bus.config import Coordinator


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = (
        "Check a file of settings, or of a Coordinator alone, without the environment and what is stored."
    )
    parser.add_argument("file", metavar="FILE", help="TOML, JSON or YAML")
    parser.add_argument("--connect", action="store_true", help="make a trial connection, too")
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Check it."""
    import argparse

    out = output.Output(arguments)
    found = settings.load(argparse.Namespace(config=arguments.file), environment={})
    from bus.config import type_of

    check_backend(found)
    told = {"file": arguments.file, "type": type_of(found.configured), "valid": True}
    seconds = 0.0
    if arguments.connect:
        seconds = try_it(found.configured, found)
        told["connected"], told["seconds"] = True, round(seconds, 3)
    if out.is_json:
        out.json(told)
    elif arguments.connect:
        out.line(f"{arguments.file}: valid, and it works ({told['type']}, {seconds:.2f} s)")
    else:
        out.line(f"{arguments.file}: valid ({told['type']})")
    return 0


def check_backend(found: settings.Settings) -> None:
    """What only the backend knows: its library is there, and takes it. Raises ConfigError."""
    from bus import Bus

    Bus.open(
        found.configured,
        cluster=found.text("cluster") or "default",
        node=found.text("node"),
        store=found.text("store"),
    )


def try_it(coordinator: Coordinator, found: settings.Settings) -> float:
    """Make a trial connection; the seconds that it took. Raises Failure."""
    import asyncio
    import time

    from bus import opening, trial
    from bus.isolation import current_loop

    resolved = opening.coordinator_of(coordinator, found.text("store"))

    async def attempt() -> None:
        await trial.trial(
            current_loop(),
            resolved,
            node=opening.name_of(found.text("node")),
            channel=opening.channel_of(found.text("cluster") or "default"),
            timeout=trial.budget(resolved),
        )

    began = time.monotonic()
    try:
        asyncio.run(attempt())
    except trial.TrialFailed as error:
        failure = Failure(
            CONNECTION, "connectionFailed", f"at stage {error.stage}: {error}", error.hint, stage=error.stage
        )
    else:
        return time.monotonic() - began
    raise failure
