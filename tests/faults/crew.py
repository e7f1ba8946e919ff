"""The node processes of one run, seen from the test: started together, driven by words, ended for sure."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from tests.faults.history import History, histories

ROOT = Path(__file__).parents[2]
# Seconds: the slowest answer is that to "settle", and at the start a busy machine imports for a while.
ANSWER = 60.0
END = 5.0


class Member:
    """One node process: `<name>.jsonl` in the folder is its history, `<name>.log` its log."""

    def __init__(self, setup: dict[str, object], folder: Path) -> None:
        self.name = str(setup["name"])
        self.epoch = 0
        self._log = folder / f"{self.name}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.node"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backends")))},
            )
        self.tell(json.dumps({**setup, "history": str(folder / f"{self.name}.jsonl")}))

    def tell(self, line: str) -> None:
        """One word; its answer is read apart, so that all nodes work at once."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, int]:
        """The answer that is due. Raises AssertionError, with the end of the log, when there is none."""
        stdout = self._process.stdout
        assert stdout is not None
        line = stdout.readline() if select.select([stdout], [], [], ANSWER)[0] else b""
        assert line, f"node {self.name} does not answer; its log ends with\n{self._log.read_text()[-3000:]}"
        return cast("dict[str, int]", json.loads(line))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def leave(self) -> None:
        """Let it close its bus and end; idempotent."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def end(self) -> None:
        """Wait until it has left; kill it when it is late."""
        self.leave()
        try:
            self._process.wait(END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Crew:
    """`count` nodes a, b, c … on one coordinator. Entered, all of them hear each other.

    `rate`: events a second of each. `limits`: fields of `Limits`.
    """

    def __init__(
        self,
        coordinator: object,
        folder: Path,
        *,
        count: int = 3,
        rate: int = 500,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self._folder = folder
        self._members: list[Member] = []
        cluster = f"faults-{secrets.token_hex(4)}"
        self._setups: list[dict[str, object]] = [
            {
                "coordinator": coordinator,
                "cluster": cluster,
                "name": name,
                "peers": count - 1,
                "rate": rate,
                "limits": limits or {},
            }
            for name in "abcdefghijklmnopqrstuvwxyz"[:count]
        ]

    def __enter__(self) -> Self:
        try:
            self._members += [Member(setup, self._folder) for setup in self._setups]
            for member in self._members:
                member.epoch = member.answer()["epoch"]
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def members(self) -> Sequence[Member]:
        """In the order of their names."""
        return self._members

    def go(self) -> None:
        """All begin to publish."""
        self._ask("go")

    def finish(self) -> list[History]:
        """Stop the load, wait until all of it is delivered or told, end the nodes; what they wrote."""
        published = {member.epoch: answer["published"] for member, answer in self._ask("stop")}
        for member in self._members:
            others = {epoch: count for epoch, count in published.items() if epoch != member.epoch}
            member.tell(f"settle {json.dumps(others)}")
        for member in self._members:
            member.answer()
        self._end()
        return histories(self._folder)

    def _ask(self, word: str) -> list[tuple[Member, dict[str, int]]]:
        for member in self._members:
            member.tell(word)
        return [(member, member.answer()) for member in self._members]

    def _end(self) -> None:
        for member in self._members:
            member.leave()
        while self._members:
            self._members.pop().end()


def pause(seconds: float) -> None:
    """Let real time pass: how long a fault lasts is what is tested."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        signal.sigtimedwait([], left)
