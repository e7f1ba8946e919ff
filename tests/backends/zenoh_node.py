"""A process with one Zenoh link, for tests that need real processes, and a context for such a link.

    python zenoh_node.py '{"name": "a", "cluster": "c", "config": "{}", "local": true}'

It puts its name every 20 ms and prints a line for what happens: "up", "hears <name>" (ten times a
second at most), "failed <error>", "lost <error>". It ends when its standard input does. With
"flood": n it puts n numbered frames as soon as it hears somebody; with "user": n it becomes that
user.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bus.backend import Context
from bus.config import Zenoh
from bus_zenoh import ZenohBackend

ROOT = Path(__file__).parents[2]
BEAT = 0.02
FLOOD = b"flood "


class Door:
    """The way from the reader thread to the loop: two batches may wait, as in the bus."""

    def __init__(self, heard: Callable[[bytes], object]) -> None:
        self.heard = heard
        self.is_shut = False
        self._loop = asyncio.get_running_loop()
        self._room = threading.BoundedSemaphore(2)

    def __call__(self, frames: Sequence[bytes], /, *, wait: bool = True) -> bool:
        while not self._room.acquire(timeout=0.05):
            if self.is_shut:
                return False
        try:
            self._loop.call_soon_threadsafe(self._deliver, frames)
        except RuntimeError:
            return False
        return not self.is_shut

    def _deliver(self, frames: Sequence[bytes]) -> None:
        self._room.release()
        for frame in frames:
            self.heard(frame)


def context(
    cluster: str, heard: Callable[[bytes], object] = lambda frame: None, door: Door | None = None
) -> Context:
    """What a backend gets from the bus. Needs a running asyncio loop."""

    def nothing(*args: object) -> None: ...

    return Context(
        node="test",
        epoch=1,
        channel=f"bus.{cluster}",
        deliver=nothing,
        deliver_stamped=nothing,
        deliver_from_thread=door or Door(heard),
        confirmed=nothing,
        proven=nothing,
        connect_timeout=5.0,
        log=logging.getLogger("test"),
    )


class Node:
    """Such a process, seen from the test."""

    def __init__(
        self, name: str, cluster: str = "c", config: str = '{mode:"peer"}', **options: object
    ) -> None:
        options = {"name": name, "cluster": cluster, "config": config, "local": True, **options}
        self.name = name
        self._lines: list[tuple[float, str]] = []
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'backends'}"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self, word: str, after: float = 0.0) -> str | None:
        """The first line that begins with `word`, printed after the time `after`."""
        found = (line for at, line in list(self._lines) if at > after and line.startswith(word))
        return next(found, None)

    def up(self) -> Node:
        until(lambda: self.said("up") or self.said("failed"), 10, lambda: f"{self.name} is not up")
        assert self.said("up"), self.said("failed")
        return self

    def hears(self, *others: Node, within: float = 8.0) -> None:
        """From now on it hears these."""
        since = time.monotonic()

        def missing() -> list[str]:
            return [other.name for other in others if not self.said(f"hears {other.name}", since)]

        until(lambda: not missing(), within, lambda: f"{self.name} does not hear {missing()}")

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, whatever its state; what it holds stays behind."""
        self._process.kill()
        self._end()

    def close(self) -> int:
        """Let it close its link and end; its exit code."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=10)
        return self._end()

    def _end(self) -> int:
        code = self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append((time.monotonic(), line.strip()))


def until(
    is_so: Callable[[], object], seconds: float, text: Callable[[], str] = lambda: "not in time"
) -> None:
    """Wait until something is so; AssertionError with `text` when it takes longer."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{text()} (waited {seconds:g} s)"
        time.sleep(0.01)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def live(name: str, cluster: str, config: str, local: bool, flood: int) -> None:
    """The life of the process."""
    last: dict[bytes, float] = {}
    company = asyncio.Event()

    def heard(frame: bytes) -> None:
        company.set()
        if time.monotonic() - last.get(frame, 0.0) > 0.1:
            last[frame] = time.monotonic()
            say("hears", frame.decode())

    end = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(end.set)

    if flood >= 0:
        threading.Thread(target=watch, daemon=True).start()
    try:
        backend = ZenohBackend(Zenoh(config=config, local=local), context(cluster, heard))
        link = await backend.connect()
    except Exception as error:  # noqa: BLE001  # the test looks for it
        say("failed", type(error).__name__, error)
        return
    if flood < 0:
        await link.close()
        return
    say("up")
    run = asyncio.create_task(link.run())
    if flood:
        await company.wait()
        for number in range(flood):
            await link.send(FLOOD + b"%06d".ljust(160) % number)
            await asyncio.sleep(0)
    while not end.is_set():
        if run.done():
            say("lost", run.exception())
            break
        await link.send(name.encode())
        await asyncio.sleep(BEAT)
    run.cancel()
    await link.close()
    link.abort()


def main() -> None:
    options: dict[str, Any] = {
        "flood": 0,
        "user": None,
        **json.loads(sys.argv[1]),
    }
    if options["user"] is not None:
        # A whole life first: the other user may not be able to read the modules.
        asyncio.run(live("", f"warm-up-{os.getpid()}", "{}", True, -1))
        os.setuid(options["user"])
    asyncio.run(
        live(
            options["name"],
            options["cluster"],
            options["config"],
            options["local"],
            options["flood"],
        )
    )


if __name__ == "__main__":
    main()
