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
    from bus.bench.load import Delivery

START = 40.0
ANSWER = 120.0
END = 5.0


class HarnessError(Exception):
    """The benchmark itself failed; there is no result."""


def environment(**more: str) -> dict[str, str]:
    """For a child that can import whatever this process can."""
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": path, **more}


class Process:
    """One worker."""

    def __init__(self, post: Post) -> None:
        self.name = f"{post.backend} {'bus' if post.is_ours else 'raw'} {post.role}"
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "bus.bench.worker", msgspec.json.encode(post).decode()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            # One place for the sockets of this run alone.
            env=environment(BUS_RUNTIME_DIR=post.directory),
            # Control-C is for the parent, which ends its workers.
            process_group=0,
        )  # fmt: skip
        self._decode = msgspec.json.Decoder(Answer).decode

    def ask(self, order: Order) -> Answer:
        """Give an order and wait for what comes of it."""
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):  # it has died: `answer` says so
            self._popen.stdin.write(msgspec.json.encode(order) + b"\n")
            self._popen.stdin.flush()
        return self.answer(ANSWER)

    def answer(self, timeout: float) -> Answer:
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
    """A side: one process for both ends (memory), or one for each."""

    def __init__(self, backend: str, is_ours: bool, loop: str, directory: str, url: str) -> None:
        self.name = "bus" if is_ours else "raw"
        roles = ("both",) if backend == "memory" else ("subscriber", "publisher")
        self._processes: list[Process] = []
        for role in roles:
            post = Post(
                backend=backend, is_ours=is_ours, role=role, loop=loop, directory=directory, url=url
            )  # fmt: skip
            self._processes.append(Process(post))
        self._subscriber, self._publisher = self._processes[0], self._processes[-1]

    def ready(self) -> None:
        """Wait until all processes have opened their ends. Raises HarnessError."""
        for process in self._processes:
            process.answer(START)

    def end(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.end()

    def repetition(self, count: int, delivery: Delivery, per_second: int = 0) -> Repetition:
        """Send `count` events and receive them."""
        self._subscriber.ask(Order(do="listen", count=count, delivery=delivery))
        before = [process.ask(Order(do="usage")) for process in self._processes]
        sent = self._publisher.ask(Order(do="send", count=count, per_second=per_second))
        came = self._subscriber.ask(Order(do="collect"))
        after = [process.ask(Order(do="usage")) for process in self._processes]
        cpu = [late.cpu - early.cpu for early, late in zip(before, after, strict=True)]
        return Repetition(
            published=sent.count, received=came.count,
            # Nobody tells what a raw client lost: it is what did not come.
            lost=came.lost if self.name == "bus" else sent.count - came.count,
            checksum_sent=sent.checksum, checksum_received=came.checksum,
            seconds=came.ended - came.began, wall=max(came.ended, sent.ended) - sent.began,
            cpu_publisher=cpu[-1], cpu_subscriber=cpu[0] if len(cpu) > 1 else None,
            waited=sum(late.waited - early.waited for early, late in zip(before, after, strict=True)),
            p50_us=came.p50_us, p99_us=came.p99_us,
        )  # fmt: skip
