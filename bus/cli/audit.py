"""`bus audit`: who changed what, from the trail in the state directory of a node, the oldest first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from bus.cli import output, settings, typed
from bus.cli.failure import OTHER, Failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from bus.cli.client import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Who changed what, and what came of it."
    configure_trail(parser)


def configure_trail(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that reads the trail."""
    parser.add_argument("--last", type=int, metavar="N", help="the last N only")
    settings.configure_state(parser)
    output.configure(parser)


def newest(found: list[Json], last: int | None) -> list[Json]:
    """The last so many; all of them without a number."""
    if last is None:
        return found
    return found[-last:] if last > 0 else []


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Show it."""
    out = output.Output(arguments)
    folder = settings.existing_state_folder(arguments)
    records = newest(trail(folder), arguments.last)
    if not records:
        out.note(f"nothing was changed yet in {folder}")
    if out.is_json:
        for record in records:
            out.json(record, indent=None)
        return 0
    durations = known_durations(records)
    for record in records:
        _show(out, record, durations)
    return 0


def known_durations(records: list[Json]) -> Json:
    """The fields that are milliseconds, whatever variant these changes were made to."""
    if not any(record.get("changed") for record in records):
        return {}
    from bus.cli.describe import known_schema

    return typed.all_durations(known_schema())


def told(change: Json, durations: Json) -> str:
    """One field of a change, for people."""
    path = str(change.get("path"))
    old, new = (output.shown(change.get(name), is_duration=path in durations) for name in ("old", "new"))
    return f"{path}: {old} -> {new}"


def trail(folder: Path) -> list[Json]:
    """All that is kept, the oldest first. Raises Failure."""
    from bus.admin.audit import KEPT

    names = [*(f"audit.jsonl.{number}" for number in range(KEPT, 0, -1)), "audit.jsonl"]
    return [record for name in names for record in _records(folder / name)]


def _records(path: Path) -> Iterator[Json]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    found: object = json.loads(line)
                except ValueError:
                    continue  # a disk that was full left half a line
                if isinstance(found, dict):
                    yield cast("Json", found)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Failure(OTHER, "unreadable", f"{path}: {error.strerror}") from None


def _show(out: output.Output, record: Json, durations: Json) -> None:
    who = f"{record.get('token')}" + (f" from {record['remote']}" if record.get("remote") else "")
    outcome = str(record.get("outcome"))
    style = "good" if outcome == "applied" else "bad" if outcome in ("rejected", "rolled_back") else "dim"
    state = f"{record.get('oldState')} -> {record.get('newState')}"
    out.line(f"{record.get('ts')} {record.get('method')} {out.paint(outcome, style)} by {who}, {state}")
    for change in cast("list[Json]", record.get("changed") or []):
        out.line(f"    {told(change, durations)}")
    if error := cast("Json | None", record.get("error")):
        out.line(f"    {error.get('type')}: {error.get('description')}")
