"""What is typed: `bus demo [--backend X] [--nodes N] [--seconds S] [--kill] [--json] [--url URL]`.

Without `--url` the server that a system needs is started on this machine, for as long as the run takes.

Exit code 0: the ledger is balanced and no read was stale; 1: it is not, or a node failed; 2: usage, or
something is not installed; 130 and 143: interrupted. With `--json` the last and only line on stdout is
the ledger; all else goes to stderr.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bus import Bus, ConfigError
from bus.demo import distributions, host
from bus.demo.database import Database
from bus.demo.systems import SYSTEMS, NoServer, server_of, system_of
from bus.demo.table import Progress, ledger_lines, progress_on

if TYPE_CHECKING:
    import argparse
    from types import FrameType

DEFAULT = "zenoh"
MOST_NODES = 32
LONGEST = 86_400.0
TERMINATED = 143


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = (
        "Nodes write to one SQLite database and read it through local caches, which the bus keeps "
        "right. At the end every event is accounted for: delivered once, or told lost."
    )
    parser.add_argument("--backend", metavar="|".join(SYSTEMS), help=f"messaging system (default {DEFAULT})")
    parser.add_argument("--url", help="where it runs (default: a server of its own on this machine)")
    parser.add_argument("--nodes", type=int, default=3, help="number of nodes (default 3)")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long (default 8)")
    parser.add_argument("--kill", action="store_true", help="SIGKILL and restart a node half way")
    parser.add_argument("--sealed", action="store_true", help="with a cluster key: every frame is sealed")
    parser.add_argument("--json", action="store_true", help="print the ledger as one line of JSON")


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run it; the exit code."""
    plan = _plan(parser, arguments)
    as_json: bool = arguments.json
    out = sys.stderr if as_json else sys.stdout
    try:
        with (
            _terminable(),
            tempfile.TemporaryDirectory(prefix="bus-demo-") as name,
            progress_on(out) as progress,
        ):
            folder = Path(name)
            rows = Database.create(folder / "demo.sqlite", distributions.rows())
            with _system(plan.backend, arguments.url, progress) as url:
                progress.say(f"{plan.nodes} nodes on {plan.backend}, {rows:,} rows of real metadata")
                plan = msgspec.structs.replace(plan, url=url)
                result = asyncio.run(_until_terminated(plan, folder, rows, progress))
    except NoServer as error:
        parser.error(str(error))
    except host.NodeFailed as error:
        print(f"bus demo: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return TERMINATED
    ledger = result.ledger
    for line in ledger_lines(ledger, result.seconds, result.totals, rows):
        print(line, file=out)
    if as_json:
        print(ledger.to_json())
    return 0 if ledger.balanced and not ledger.stale_reads else 1


@contextmanager
def _terminable() -> Generator[None]:
    """SIGTERM unwinds what is open, as Ctrl-C does."""

    def end(_number: int, _frame: FrameType | None) -> None:
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _system(backend: str, url: str | None, progress: Progress) -> Generator[str]:
    """Where the messaging system is; one that needs a server is started. Raises NoServer."""
    system = SYSTEMS[backend]
    if url is not None or not system.is_served:
        yield url or system.url
        return
    progress.say(f"starting a server for {backend}")
    with server_of(backend) as started:
        yield started


async def _until_terminated(plan: host.Plan, folder: Path, rows: int, progress: Progress) -> host.Result:
    """SIGTERM ends it as Ctrl-C does: by cancelling, so that everything is closed."""
    task = asyncio.current_task()
    assert task is not None
    # Windows has no such handlers.
    with suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await host.run(plan, folder, rows, progress)


def _plan(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> host.Plan:
    """What was asked for, or a usage error: exit code 2."""
    url: str | None = arguments.url
    # What has no scheme is not shown: it may be anything, also a password.
    if url is not None and "://" not in url:
        parser.error(f"--url has no scheme; write for example {SYSTEMS['nats'].url}")
    scheme = url.partition("://")[0].lower() if url else None
    backend: str = arguments.backend or (system_of(scheme) if scheme else DEFAULT)
    nodes: int = arguments.nodes
    seconds: float = arguments.seconds
    if backend not in SYSTEMS:
        parser.error(f"the backend {backend!r} is not available; available: {', '.join(SYSTEMS)}")
    if scheme and system_of(scheme) != backend:
        parser.error(f"--url has the scheme {scheme}://, --backend is {backend}: leave one out")
    if not 2 <= nodes <= MOST_NODES:
        parser.error(f"--nodes is {nodes}; 2 to {MOST_NODES} are possible")
    if not 0 < seconds <= LONGEST:
        parser.error(f"--seconds is {seconds:g}; it must be above 0 and at most {LONGEST:g}")
    if arguments.kill and backend == "memory":
        parser.error("--kill needs nodes that are processes; those of memory live in this one")
    # Its own cluster: two runs at a time do not hear each other.
    cluster = f"demo-{secrets.token_hex(6)}"
    url = url or SYSTEMS[backend].url
    try:
        # Validates the URL and that the client library is installed, without any I/O.
        Bus.open(url, cluster=cluster, key=secrets.token_hex(32) if arguments.sealed else None)
    except ConfigError as error:
        parser.error(str(error))
    return host.Plan(backend, url, cluster, nodes, seconds, arguments.kill, arguments.sealed)
