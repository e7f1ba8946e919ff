"""Draws docs/architecture.md from the source: `python -m tests.drawing` writes it, a test compares it.

The layers are those of tests/architecture.py; jobs and imports are read from the files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture import LAYERS, Module, layer, within

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/architecture.md"
WIDTH = 74

HEAD = """\
# Architecture

Drawn from the imports by `python -m tests.drawing`; a test fails when it is not true any more. Each layer may
import itself and what stands above it. Nothing imports the leaves in the last one. `backends/` is a folder of
plug-in packages: they import `bus.backend`, `bus.config`, `bus.errors` and their client library, and nothing
imports them; the registry loads the one that a configuration names.
"""

FLOW = """\
## The way of an event

```text
publish() -> encode into the open part of the log -> wake the pump if it sleeps
pump      -> next frame at the link's cursor -> link.send(frame)
             one disposable task per link, watched from outside
library   -> deliver(frame) -> header -> own epoch? proof of life
             else reassembly -> decode once -> routes by type -> inboxes -> wake the readers
```

Two wake-ups per burst, and no task, future or lock per event.
"""


def modules() -> list[Module]:
    """All files of the runtime and the backends."""
    found = [path for top in ("bus", "backends") for path in sorted((ROOT / top).rglob("*.py"))]
    return [Module(path.relative_to(ROOT).as_posix(), path.read_text()) for path in found]


def unit(name: str) -> str:
    """What a module belongs to in the drawing: the entry of LAYERS that fits it best."""
    entries = [entry for entries in LAYERS for entry in entries if within(name, entry)]
    return max(entries, key=len)


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, "```text", *drawing(), "```", "", FLOW, *table(), *backends(), ""])


def drawing() -> Iterator[str]:
    """One box per layer."""
    for entries in LAYERS:
        rows = [""]
        for entry in sorted(entries):
            word = entry.removeprefix("bus.")
            if len(rows[-1]) + len(word) + 3 > WIDTH - 4:
                rows.append("")
            rows[-1] += ("   " if rows[-1] else "") + word
        yield "+" + "-" * (WIDTH - 2) + "+"
        yield from (f"| {row:<{WIDTH - 4}} |" for row in rows)
    yield "+" + "-" * (WIDTH - 2) + "+"


def table() -> Iterator[str]:
    """Every unit with its job, and what it imports."""
    found = modules()
    yield "## Who imports whom\n"
    yield "| | job | imports |\n|---|---|---|"
    for entries in LAYERS:
        for entry in sorted(entries):
            mine = [one for one in found if not one.is_backend and unit(one.name) == entry]
            uses = {
                unit(imported.name)
                for one in mine for imported in one.imports
                if within(imported.name, "bus") and layer(imported.name) is not None
            } - {entry}  # fmt: skip
            shown = ", ".join(f"`{use.removeprefix('bus.')}`" for use in sorted(uses))
            yield f"| `{entry}` | {job(mine[0])} | {shown} |"


def backends() -> Iterator[str]:
    """The plug-ins."""
    yield "\n## Backends\n"
    yield "| | job |\n|---|---|"
    found = [one for one in modules() if one.is_backend]
    for package in sorted({one.name.split(".")[0] for one in found}):
        first = next(one for one in found if one.name == package)
        yield f"| `{package}` | {job(first)} |"


def job(module: Module) -> str:
    """The first sentence of its docstring."""
    text = " ".join((ast.get_docstring(module.tree) or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
