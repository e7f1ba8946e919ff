"""`bus history`: the versions of the Coordinator of a node, the oldest first, from its trail of changes.

Each change that came into effect made one; so did the way back from a change that failed. The one before the
last is kept as a whole: `bus rollback` goes there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from bus.cli import output, settings
from bus.cli.audit import configure_trail, known_durations, newest, told, trail

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from bus.cli.client import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "The versions of the Coordinator of a node; secrets are never shown."
    configure_trail(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Show them."""
    out = output.Output(arguments)
    folder = settings.existing_state_folder(arguments)
    found = newest(versions(folder), arguments.last)
    if out.is_json:
        for one in found:
            out.json(one, indent=None)
        return 0
    if not found:
        out.note(f"nothing was changed yet in {folder}")
        return 0
    durations = known_durations(found)
    rows = [
        (str(one["state"]), str(one["at"]), str(one["by"]), str(one["method"]), _told(one, durations))
        for one in found
    ]
    out.table(("state", "since", "by", "method", "what"), rows)
    return 0


def versions(folder: Path) -> list[Json]:
    """The changes of a trail that made another state. Raises Failure."""
    found: list[Json] = []
    # First: it says so when the directory is closed to who asks.
    records = trail(folder)
    now, before = _stored(folder)
    for record in records:
        state = record.get("newState")
        if not isinstance(state, str) or state == record.get("oldState"):
            continue
        made: Json = {
            "state": state,
            "at": record.get("ts"),
            "by": record.get("token"),
            "method": record.get("method"),
            "outcome": record.get("outcome"),
            "changed": record.get("changed") if record.get("outcome") != "rolled_back" else [],
        }
        if state in (now, before):
            made["version"] = "current" if state == now else "before"
        found.append(made)
    return found


def _stored(folder: Path) -> tuple[str | None, str | None]:
    """The states of the object that is stored, and of the one before it."""
    from bus.admin.server import variants
    from bus.admin.store import NAME, Store, StoreBroken

    if not (folder / NAME).exists():
        return None, None
    store = Store(folder, variants())
    store.adopt()
    before = None
    with suppress(StoreBroken):
        before = store.previous().state
    return (store.current.state if store.current is not None else None), before


def _told(version: Json, durations: Json) -> str:
    marks = {"current": "(now) ", "before": "(rollback goes here) "}
    mark = marks.get(str(version.get("version")), "")
    if version["outcome"] == "rolled_back":
        return f"{mark}as before: the change did not work"
    changed = cast("list[Json]", version["changed"] or [])
    return mark + "; ".join(told(one, durations) for one in changed)
