"""The containers as the story sees them: `docker compose`, words to its services, and what they say.

Everything goes through the engine's socket: no port of this machine is needed, and none of an event.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demos.ledger import Document

ROOT = Path(__file__).parent.parent
PROJECT = "busdemo"
NODES = ("node-1", "node-2", "node-3")
PATIENCE = 60.0
POLL = 0.1
# Both networks of the file; a node that is off the bus still has a page.
BUS = f"{PROJECT}_bus"


class StageError(Exception):
    """A command failed, or something did not happen in time; the text says which."""


class Stage:
    """One project on one engine. `backend` is a profile of docker-compose.yml."""

    def __init__(self, backend: str, folder: Path = ROOT) -> None:
        self.backend = backend
        self._folder = folder
        self._env = {**os.environ, "BACKEND": backend, "COMPOSE_PROFILES": backend}
        self._docker = shlex.split(os.environ.get("DEMO_DOCKER", "docker"))

    def compose(self, *words: str, seconds: float = PATIENCE) -> str:
        """`docker compose words`; its stdout. Raises StageError."""
        return self._run([*self._docker, "compose", *words], seconds)

    def down(self) -> None:
        """Remove the containers of every profile, networks and volumes. Raises StageError."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "5")

    def docker(self, *words: str) -> str:
        """`docker words`; its stdout. Raises StageError."""
        return self._run([*self._docker, *words], PATIENCE)

    def inside(self, node: str, *words: str) -> tuple[int, str]:
        """Run a command in a container; its exit code, and all that it said."""
        done = self._ran([*self._docker, "compose", "exec", "-T", node, *words], PATIENCE)
        return done.returncode, done.stdout + done.stderr

    def is_ready(self, node: str) -> bool:
        """Whether its health check would pass now."""
        return self.inside(node, "python", "-m", "demos.healthy")[0] == 0

    def tallies(self) -> list[Document]:
        """Of every life of every node, oldest first. Raises StageError."""
        script = 'for file in $(ls -tr "$DEMO_TALLY"/*.json); do cat "$file"; echo; done'
        found: list[Document] = []
        for node in NODES:
            code, said = self.inside(node, "sh", "-c", script)
            if code:
                raise StageError(f"no tally of {node}: {said}")
            found += [json.loads(line) for line in said.splitlines() if line]
        return found

    def burst(self, rate: int, seconds: float) -> None:
        """Have every node publish; returns when all have heard of it. Raises StageError."""
        asked = json.dumps({"rate": rate, "seconds": seconds})
        code, said = self.inside(
            "node-1", "bus", "publish", "--config", f"/etc/bus/{self.backend}.toml", "--node", "story",
            "--import", "demos.traffic", "--peers", str(len(NODES)), "--type", "demo.burst", asked,
        )  # fmt: skip
        if code:
            raise StageError(f"bus publish ended with {code}: {said}")

    def container(self, service: str) -> str:
        """The id of its container. Raises StageError."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def until(self, is_so: Callable[[], bool], what: str, seconds: float) -> float:
        """Wait for it; how long it took. Raises StageError."""
        start = time.monotonic()
        while not is_so():
            if time.monotonic() - start > seconds:
                raise StageError(f"it did not happen within {seconds:g} s: {what}")
            time.sleep(POLL)
        return time.monotonic() - start

    def _run(self, words: list[str], seconds: float) -> str:
        done = self._ran(words, seconds)
        if done.returncode:
            raise StageError(f"{shlex.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def _ran(self, words: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                words, cwd=self._folder, env=self._env, capture_output=True, text=True, timeout=seconds,
                check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise StageError(f"{shlex.join(words)} took longer than {seconds:g} s") from None
        except FileNotFoundError:
            raise StageError(f"there is no {words[0]}: install Docker with Compose 2.24 or newer") from None
