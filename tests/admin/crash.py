"""A program that is killed while it stores: run by test_store, prints what it found as JSON.

    python -m tests.admin.crash steps FOLDER        killed at each step of one `save`
    python -m tests.admin.crash random FOLDER N     killed N times at a random moment of many

One process forks all the others: starting Python for each would take most of the time. What is in the
file's place after each death must be a whole object, the one before or the one after.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bus.admin.store import Store
from bus.config import VARIANTS, Nats, decode


def nats(number: int) -> Nats:
    """An object that is large enough to be written in more than one piece by a careless writer."""
    made = decode({"@type": "Nats", "addresses": [f"host-{place}:{number}" for place in range(40)]})
    assert isinstance(made, Nats)
    return made


def look(folder: Path) -> dict[str, Any]:
    """What the next start finds."""
    store = Store(folder, VARIANTS)
    store.open()
    try:
        found = store.current
        strays = [one.name for one in folder.iterdir() if one.name.endswith(".tmp")]
        numbers: set[str] = set()
        if found is not None:
            assert isinstance(found.object, Nats)
            numbers = {address.rpartition(":")[2] for address in found.object.addresses}
        return {
            "broken": store.broken,
            "generation": found.generation if found else 0,
            "numbers": sorted(numbers),
            "strays": strays,
            "before": _generation(store),
        }
    finally:
        store.close()


def _generation(store: Store) -> int | None:
    return store.previous().generation if store.before.exists() else None


def forked(call: Callable[[], object]) -> int:
    """Run in a child; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            call()
        finally:
            os._exit(0)
    return pid


def steps(folder: Path) -> list[dict[str, Any]]:
    """Die at each step in turn, until a save comes to its end."""
    found: list[dict[str, Any]] = []
    store = Store(folder, VARIANTS)
    store.open()
    store.save(nats(1), "test", nats(1))
    store.close()
    number = 1
    while True:
        status = os.waitpid(forked(partial(_die_at, folder, len(found), number + 1)), 0)[1]
        if not os.WIFSIGNALED(status):
            return found
        seen = look(folder)
        found.append({"step": (folder / "died").read_text(), "number": number, **seen})
        number = int(seen["numbers"][0])


def _die_at(folder: Path, left: int, number: int) -> None:
    """Save an object, and be killed after `left` steps."""

    def hook(step: str) -> None:
        nonlocal left
        if not left:
            (folder / "died").write_text(step)
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    store = Store(folder, VARIANTS, hook)
    store.open()
    store.save(nats(number), "test", nats(1))


def at_random(folder: Path, times: int) -> list[dict[str, Any]]:
    """Die in the middle of one save after the other."""
    found: list[dict[str, Any]] = []
    writing = -1

    def save_for_ever() -> None:
        store = Store(folder, VARIANTS)
        store.open()
        number = store.current.generation if store.current else 0
        while True:
            number += 1
            store.save(nats(number), "test", nats(1))
            os.write(writing, b".")

    for _ in range(times):
        reading, writing = os.pipe()
        pid = forked(save_for_ever)
        os.close(writing)
        # One is whole; then somewhere in the next ones.
        os.read(reading, 1)
        time.sleep(random.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
        found.append(look(folder))
    return found


if __name__ == "__main__":
    what, where, *more = sys.argv[1:]
    seen = steps(Path(where)) if what == "steps" else at_random(Path(where), int(more[0]))
    sys.stdout.write(json.dumps(seen))
