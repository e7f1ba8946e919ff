"""What the tests of the command line share: commands as processes, and nodes that run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bus.testing.brokers import Process, free_port
from bus.testing.brokers.process import accepts, own_path

BUS = [sys.executable, "-m", "bus"]


@dataclass
class Ran:
    """What a command has said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    def error(self) -> Any:
        """Of a command with --json: its last words."""
        return json.loads(self.err.splitlines()[-1])["error"]


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without anything that changes what a command says."""
    noise = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI")
    return {
        name: text
        for name, text in environment.items()
        if name not in noise and (not name.startswith("BUS_") or name.startswith("BUS_TEST_"))
    }


def in_process(
    *words: str, stdin: str | None = None, env: Mapping[str, str] | None = None, seconds: float = 20
) -> Ran:
    """A command as a process of its own; `env` on top of a clean environment."""
    done = subprocess.run(
        [*BUS, *words], input=stdin, capture_output=True, text=True, timeout=seconds,
        env=clean(own_path()) | dict(env or {}),
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def until(is_so: Callable[[], object], seconds: float = 10, pause: float = 0.05) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(pause)


class Node:
    """`bus run` as a process; `arguments` are its own."""

    def __init__(
        self, folder: Path, name: str, arguments: Sequence[str], env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.state = self.folder / "state"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        words = [
            "run", "--node", name, "--state-dir", str(self.state), "--listen", f"127.0.0.1:{self.port}",
            "--log-format", "json", *arguments,
        ]  # fmt: skip
        given = {name: "" for name in os.environ if name.startswith("BUS_") and "BUS_TEST_" not in name}
        environment = {**own_path(), **given, "HOME": str(self.folder), **(env or {})}
        self.process = Process(f"bus-{name}", [*BUS, *words], self.folder, env=environment)
        self._given = dict(pairwise(arguments)).get("--token-file")
        self.process.start(lambda: accepts("127.0.0.1", self.port) and self.token.exists())

    @property
    def token(self) -> Path:
        """Of the administrator."""
        return Path(self._given) if self._given else self.state / "admin.token"

    @property
    def env(self) -> dict[str, str]:
        """For commands that talk to it."""
        return {"BUS_URL": self.url, "BUS_TOKEN_FILE": str(self.token)}

    def logged(self) -> list[Any]:
        return [json.loads(line) for line in self.process.logs().splitlines()]
