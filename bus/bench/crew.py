"""The processes of one side, seen from the parent: start them, give orders, end them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from bus.bench.figures import Repetition
from bus.bench.worker import Answer, Order, Post

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bus.bench.work import Work

START = 60.0
ANSWER = 120.0
END = 5.0
OURS, UNSEALED = "bus", "unsealed"
"""Sides that are a bus: ours, and the same without its key, as the opponent of a sealed run."""


class HarnessError(Exception):
    """The benchmark itself failed; there is no result."""


def environment(**more: str) -> dict[str, str]:
    """For a child that can import whatever this process can."""
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": path, **more}


class Process:
    """One worker. `program`: the Python of another environment, and what it must find there."""

    def __init__(self, post: Post, program: tuple[str, dict[str, str]] | None = None) -> None:
        self.name: str = f"{post.backend} {post.side} {post.role}"
        python, env = program or (sys.executable, environment())
        self._popen = subprocess.Popen(
            # -P: what is measured is what PYTHONPATH names, not what lies in the current folder.
            [python, "-P", "-m", "bus.bench.worker", msgspec.json.encode(post).decode()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            # One place for the sockets of this run alone.
            env={**env, "BUS_RUNTIME_DIR": post.directory},
            # Control-C is for the parent, which ends its workers.
            process_group=0,
        )  # fmt: skip
        self._decode = msgspec.json.Decoder(Answer).decode

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._popen.pid

    def tell(self, order: Order) -> None:
        """Give an order."""
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):  # it has died: `answer` says so
            self._popen.stdin.write(msgspec.json.encode(order) + b"\n")
            self._popen.stdin.flush()

    def answer(self, timeout: float = ANSWER) -> Answer:
        """The next answer. Raises HarnessError."""
        pipe = self._popen.stdout
        assert pipe is not None
        if not select.select([pipe], [], [], timeout)[0]:
            raise HarnessError(f"the process '{self.name}' did not answer within {timeout:g} s")
        line = pipe.readline()
        if not line:
            raise HarnessError(f"the process '{self.name}' has died; its last words stand above")
        answer = self._decode(line)
        if answer.error is not None:
            raise HarnessError(f"the process '{self.name}' failed: {answer.error}")
        return answer

    def end(self) -> None:
        """End it; one that does not go is killed."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.close()
        try:
            self._popen.wait(END)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        finally:
            self._popen.stdout.close()


class Crew:
    """A side: one process for both ends (memory), one for each, or `nodes` that all publish and hear."""

    def __init__(
        self, side: str, backend: str, loop: str, directory: str, url: str, *, nodes: int = 1,
        size: int = 0, key: str | None = None, program: tuple[str, dict[str, str]] | None = None,
        server_cpu: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self.name = side
        self._nodes = nodes
        self._server_cpu = server_cpu
        self._processes: list[Process] = []
        roles = (
            ["node"] * nodes
            if nodes > 1
            else ["both"]
            if backend == "memory"
            else ["subscriber", "publisher"]
        )
        for number, role in enumerate(roles):
            post = Post(
                backend=backend, side=side, role=role, loop=loop, directory=directory, url=url,
                index=number if nodes > 1 else 0, nodes=nodes, size=size, key=key,
            )  # fmt: skip
            self._processes.append(Process(post, program))
        self._subscribers = self._processes if nodes > 1 else self._processes[:1]
        self._publishers = self._processes if nodes > 1 else self._processes[-1:]

    @property
    def tells_loss(self) -> bool:
        """What it lost it says itself; of the others it is what did not come."""
        return self.name in (OURS, UNSEALED)

    @property
    def pids(self) -> list[int]:
        """Of all its processes."""
        return [process.pid for process in self._processes]

    def ready(self) -> None:
        """Wait until all processes have opened their ends. Raises HarnessError."""
        for process in self._processes:
            process.answer(START + self._nodes)

    def end(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.end()

    def usage(self) -> list[Answer]:
        """CPU, memory and state of each process now."""
        return _all(self._processes, Order(do="usage"))

    def start(self, work: Work) -> None:
        """Begin a repetition; `finish` waits for its end. Between the two the caller may break things."""
        _all(self._subscribers, Order(do="listen", work=work))
        self._server_before = self._server()
        self._before = self.usage()
        for process in self._publishers:
            process.tell(Order(do="send", work=work))

    def finish(self) -> tuple[Repetition, list[Answer]]:
        """What came of it, and what the subscribers said. Raises HarnessError."""
        sent = [process.answer() for process in self._publishers]
        came = _all(self._subscribers, Order(do="collect"))
        after = self.usage()
        cpu = [late.cpu - early.cpu for early, late in zip(self._before, after, strict=True)]
        published = sum(one.count for one in sent)
        received, told = sum(one.count for one in came), sum(one.lost for one in came)
        copies = max(1, self._nodes - 1)
        wall = max(one.ended for one in (*came, *sent)) - min(one.began for one in sent)
        is_split = len(self._processes) == 2 and self._nodes == 1
        repetition = Repetition(
            published=published, copies=copies, received=received,
            # Nobody tells what a raw client lost: it is what did not come.
            lost=told if self.tells_loss else published * copies - received,
            checksum_sent=sum(one.checksum for one in sent) * copies,
            checksum_received=sum(one.checksum for one in came),
            seconds=max(one.ended for one in came) - min(one.began for one in came), wall=wall,
            cpu_publisher=cpu[-1] if is_split else sum(cpu), cpu_subscriber=cpu[0] if is_split else None,
            cpu_server=self._server() - self._server_before if self._server_cpu else None,
            waited=sum(late.waited - early.waited for early, late in zip(self._before, after, strict=True)),
            p50_us=came[0].p50_us, p99_us=came[0].p99_us, curve=came[0].curve,
            unready=sum(one.ready_for < wall for one in after) if self.name == OURS else 0,
            repaired=sum(one.repaired for one in after) - sum(one.repaired for one in self._before),
        )  # fmt: skip
        return repetition, came

    def repetition(self, work: Work) -> Repetition:
        """Send and receive."""
        self.start(work)
        return self.finish()[0]

    def _server(self) -> float:
        return self._server_cpu() if self._server_cpu else 0.0


def _all(processes: Sequence[Process], order: Order) -> list[Answer]:
    for process in processes:
        process.tell(order)
    return [process.answer() for process in processes]
