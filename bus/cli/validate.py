"""`bus validate WHAT`: all that is wrong with a configuration; with --connect, whether it works.

WHAT is the path of a file, a URL, a Coordinator as JSON, or - for any of these on stdin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.cli import output, settings
from bus.cli.failure import CONNECTION, Failure
from bus.cli.reading import Problems

if TYPE_CHECKING:
    import argparse

    from bus.config import Coordinator


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = (
        "Check the settings of a node, or a Coordinator alone, without the environment and what is stored."
    )
    parser.add_argument(
        "what",
        metavar="FILE|URL|JSON|-",
        help="a file (TOML, JSON, YAML); - reads TOML, JSON or a URL from stdin",
    )
    parser.add_argument("--connect", action="store_true", help="make a trial connection, too")
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Check it."""
    import argparse

    from bus.cli import reading
    from bus.config import type_of
    from bus.config.redacted import redact

    out = output.Output(arguments)
    problems = reading.Problems()
    file = reading.anything(arguments.what, problems)
    found = settings.settle(file, {}, argparse.Namespace(), problems, is_alone=True)
    name = file.path or (redact(arguments.what) if "://" in arguments.what else "JSON")

    check_backend(found)
    told: dict[str, object] = {"file": name, "type": type_of(found.configured), "valid": True}
    seconds = 0.0
    if arguments.connect:
        seconds = try_it(found.configured, found)
        told["connected"], told["seconds"] = True, round(seconds, 3)
    if out.is_json:
        out.json(told)
    elif arguments.connect:
        out.line(f"{name}: valid, and it works ({told['type']}, {seconds:.2f} s)")
    else:
        out.line(f"{name}: valid ({told['type']})")
    return 0


def check_backend(found: settings.Settings) -> None:
    """What only the backend knows: its library is there, and takes it. Raises Failure."""
    from bus import Bus
    from bus.errors import ConfigError
    from bus.trial import scrubbed

    try:
        Bus.open(
            found.configured,
            cluster=found.text("cluster") or "default",
            node=found.text("node"),
            store=found.text("store"),
            key=found.cluster_key(),
        )
    except ConfigError as error:
        text = scrubbed(str(error), found.configured)
    else:
        return
    words = text.replace(":", " ").replace(",", " ").split()
    problems = Problems()
    if words[0] in found.values:
        problems.add(found.values[words[0]].source, text, path=words[0])
        problems.raise_all()
    named = next((name for name in found.configured.__struct_encode_fields__ if name in words), "")
    source = found.sources.get(named) or found.sources.get("@type", "")
    place = ".".join(filter(None, ("coordinator", named)))
    problems.add(source, f"{place}: {text}", path=named or "@type")
    problems.raise_all()


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
            key=found.cluster_key(),
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
