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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from tests.faults.history import History, histories

ROOT = Path(__file__).parents[2]
# Seconds: the slowest answer is that to "settle", and at the start a busy machine imports for a while.
ANSWER = 60.0
END = 5.0


class Member:
    """One node process: `<life>.jsonl` in the folder is its history, `<life>.log` its log.

    `life`: other than its name when another one had or has that name. `prefix`: words before its command.
    `env`: more of its environment.
    """

    def __init__(
        self,
        setup: Mapping[str, object],
        folder: Path,
        life: str,
        prefix: Sequence[str],
        env: Mapping[str, str],
    ) -> None:
        self.name = str(setup["name"])
        self.epoch = 0
        self.is_gone = False
        self._log = folder / f"{life}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "tests.faults.node"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **env, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backends")))},
            )
        self.tell(json.dumps({**setup, "history": str(folder / f"{life}.jsonl")}))

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

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        self.is_gone = True
        self._process.kill()
        self._process.wait()

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

    `rate`: events a second of each. `limits`: fields of `Limits`. `prefix`: the words before the command of
    a node. `setup`: more of what each is told. `env`: more environment, by the names of the nodes.
    """

    def __init__(
        self,
        coordinator: object,
        folder: Path,
        *,
        count: int = 3,
        rate: int = 500,
        limits: Mapping[str, float] | None = None,
        prefix: Callable[[str], Sequence[str]] = lambda name: (),
        setup: Mapping[str, object] | None = None,
        env: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.members: list[Member] = []
        self._folder = folder
        self._prefix = prefix
        self._env = env or {}
        self._names = "abcdefghijklmnopqrstuvwxyz"[:count]
        self._lives = 0
        self._setup: dict[str, object] = {
            "coordinator": coordinator,
            "cluster": f"faults-{secrets.token_hex(4)}",
            "peers": count - 1,
            "rate": rate,
            "limits": limits or {},
            **(setup or {}),
        }

    def __enter__(self) -> Self:
        try:
            self.start()
            self.meet()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def start(self) -> None:
        """Start all; nobody waits for anybody."""
        for name in self._names:
            self.add(name)

    def add(self, name: str, **setup: object) -> Member:
        """One more node, also of a name that is there already."""
        self._lives += 1
        life = name if self._lives <= len(self._names) else f"{name}-{self._lives}"
        told = {**self._setup, "name": name, **setup}
        self.members.append(Member(told, self._folder, life, self._prefix(name), self._env.get(name, {})))
        return self.members[-1]

    def meet(self) -> None:
        """Wait until all hear each other."""
        for member in self.members:
            if not (member.epoch or member.is_gone):
                member.epoch = member.answer()["epoch"]

    def go(self) -> None:
        """All publish."""
        self._ask("go")

    def quiet(self) -> None:
        """Nobody publishes."""
        self._ask("stop")

    @property
    def gone(self) -> frozenset[int]:
        """The epochs of those who were killed or closed before the end."""
        return frozenset(member.epoch for member in self.members if member.is_gone)

    def dismiss(self, member: Member) -> None:
        """Let one close its bus and end, now."""
        member.is_gone = True
        member.end()

    def finish(self) -> list[History]:
        """Stop the load, wait until all of it is delivered or told, end the nodes; what they wrote."""
        self._ask("stop")
        runs = {run.epoch: run for run in histories(self._folder)}
        for member in self._present():
            # Of those who ended, only what one met: who came later waits for nothing.
            known = runs[member.epoch].baselines
            others = {
                epoch: run.published
                for epoch, run in runs.items()
                if epoch != member.epoch and (epoch not in self.gone or epoch in known)
            }
            member.tell(f"settle {json.dumps({'wanted': others, 'gone': list(self.gone)})}")
        for member in self._present():
            member.answer()
        self._end()
        return histories(self._folder)

    def _present(self) -> list[Member]:
        return [member for member in self.members if not member.is_gone]

    def _ask(self, word: str) -> None:
        for member in self._present():
            member.tell(word)
        for member in self._present():
            member.answer()

    def _end(self) -> None:
        for member in self.members:
            member.leave()
        for member in self.members:
            member.end()


def pause(seconds: float) -> None:
    """Let real time pass: how long a fault lasts is what is tested."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        signal.sigtimedwait([], left)
