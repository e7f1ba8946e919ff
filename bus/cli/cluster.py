"""`bus update --nodes`: one change on several nodes, in two phases, with a table of what came of it.

1. A dry run on each node, one after the other, with its trial connection; the first that refuses ends it, and
   nothing has changed anywhere.
2. The change on all nodes at once: a node moves to the new link only when every live peer is heard there, so
   one by one they would wait for each other in vain. A node that cannot move stays, by itself, where it was,
   and so do those that wait for it.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from bus.cli import waiting
from bus.cli.client import Client
from bus.cli.failure import Failure
from bus.cli.patch import patch_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bus.cli.client import Json
    from bus.cli.output import Output
    from bus.cli.target import Target

WORDS = {
    "good": "would work",
    "changed": "changed",
    "unchanged": "is so already",
    "failed": "FAILED",
    "open": "not asked",
}


class Step(NamedTuple):
    """One node, and how far it is."""

    client: Client
    patch: Json
    state: str = ""
    outcome: str = "open"
    failure: Failure | None = None

    @property
    def url(self) -> str:
        """Of its admin server."""
        return self.client.target.url


def run(out: Output, arguments: argparse.Namespace, targets: Sequence[Target]) -> int:
    """Both phases; the exit code is that of the first failure."""
    steps = [Step(Client(target), {}) for target in targets]
    # Made once, of the first node: stdin can be read once only, and all nodes are to become alike.
    first = steps[0].client
    patch = patch_of(arguments, first.schema(), first.coordinator()[1])
    phase = "dry run"
    for number, step in enumerate(steps):
        out.note(f"dry run on {step.url}")
        steps[number] = _try(step._replace(patch=patch), arguments)
        if steps[number].failure is not None:
            break
    if not any(step.failure for step in steps) and not arguments.dry_run:
        phase = "change"
        out.note(f"change on {len(steps)} nodes")
        deadline = time.monotonic() + (arguments.timeout if arguments.wait else 0.0)
        with ThreadPoolExecutor(len(steps)) as pool:
            steps = list(pool.map(partial(_change, arguments=arguments, deadline=deadline), steps))
    _show(out, phase, steps)
    failures = [step.failure for step in steps if step.failure is not None]
    return failures[0].code if failures else 0


def _try(step: Step, arguments: argparse.Namespace) -> Step:
    try:
        response = step.client.update(step.patch, validate=arguments.validate, dryRun=True)
    except Failure as error:
        return step._replace(outcome="failed", failure=error)
    return step._replace(outcome="good", state=str(response["oldState"]))


def _change(step: Step, arguments: argparse.Namespace, deadline: float) -> Step:
    state = None if arguments.force else step.state
    try:
        response = waiting.patiently(
            lambda: step.client.update(step.patch, validate=arguments.validate, ifInState=state), deadline
        )
        if arguments.wait:
            waiting.until_ready(step.client, deadline)
    except Failure as error:
        return step._replace(outcome="failed", failure=error)
    is_same = response["oldState"] == response["newState"]
    return step._replace(outcome="unchanged" if is_same else "changed", state=str(response["newState"]))


def _show(out: Output, phase: str, steps: Sequence[Step]) -> None:
    if out.is_json:
        nodes = [
            {
                "url": step.url,
                "outcome": step.outcome,
                "state": step.state or None,
                "error": step.failure.as_json() if step.failure else None,
            }
            for step in steps
        ]
        out.json({"phase": phase, "nodes": nodes})
        return
    rows = [(step.url, WORDS[step.outcome], step.state or "-") for step in steps]
    out.table(("node", phase, "state"), rows)
    for step in steps:
        if step.failure is not None:
            out.note(f"{step.url}: {step.failure.as_text()}")
    if phase == "dry run" and any(step.failure for step in steps):
        out.note("nothing was changed anywhere")
