"""Find what code leaves behind: threads, child processes, asyncio tasks, errors nobody looked at.

    with no_leaks():            # threads and child processes
        ...
    async with no_leaks():      # these, asyncio tasks, errors that reached the loop's handler
        ...

At the end of the block it waits until everything new is gone, `grace` seconds at most, and raises
`Leaked` with one line for each thing that stayed. A block that raised is not judged: its own error
is the news. Child processes are seen on Linux only; elsewhere that part finds nothing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Leaked", "children", "no_leaks", "tasks", "threads"]

# Idle workers of a pool outlive a call by design: asyncio's and anyio's go with their loop, trio's
# after some seconds without work. A foreign thread (of a library's core) is named "Dummy-"
# when it first calls into Python; it cannot be joined and says nothing about what we left.
_NOT_OURS = ("asyncio_", "uvloop_", "AnyIO worker thread", "Trio thread", "Dummy-")
# Started once by the standard library and kept until the interpreter ends.
_STANDARD_CHILDREN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
_POLL = 0.005

# Process ids of children that outlive a block by design, such as a server that serves a whole test session:
# whoever starts one adds it.
spared: set[int] = set()


class Leaked(AssertionError):
    """Something was still there at the end of `no_leaks`; the text has one line for each thing."""


def threads() -> set[threading.Thread]:
    """The running threads, without pool workers and without threads that Python did not start."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith(_NOT_OURS)}


def children() -> dict[int, str]:
    """Process id -> command line of our children, and of dead ones that nobody waited for."""
    found: dict[int, str] = {}
    for listing in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, _text(listing).split()):
            command = _text(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()
            if pid not in spared and not any(name in command for name in _STANDARD_CHILDREN):
                found[pid] = command or "(ended, but nobody waited for it)"
    return found


def tasks() -> set[asyncio.Task[Any]]:
    """The pending tasks of the running asyncio loop, without the one that asks."""
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


class no_leaks:
    """Context manager, sync or async; raises `Leaked` when more runs after the block than before.

    `grace`: seconds that what is about to end may take. One object serves one block.
    """

    def __init__(self, grace: float = 1.0) -> None:
        self._grace = grace
        self._errors: list[str] = []

    def __enter__(self) -> None:
        self._threads = threads()
        self._children = children()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            deadline = time.monotonic() + self._grace
            while (left := self._left()) and time.monotonic() < deadline:
                time.sleep(_POLL)
            _judge(left)

    async def __aenter__(self) -> None:
        self.__enter__()
        self._tasks = tasks()
        loop = asyncio.get_running_loop()
        self._handler = loop.get_exception_handler()
        loop.set_exception_handler(self._note)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                deadline = time.monotonic() + self._grace
                while (left := self._left_in_loop()) and time.monotonic() < deadline:
                    await asyncio.sleep(_POLL)
                _judge(left + self._errors)
        finally:
            asyncio.get_running_loop().set_exception_handler(self._handler)

    def _left(self) -> list[str]:
        new = {pid: name for pid, name in children().items() if pid not in self._children}
        return [
            *(f"thread {thread.name!r}" for thread in threads() - self._threads),
            *(f"child process {pid}: {name}" for pid, name in new.items()),
        ]

    def _left_in_loop(self) -> list[str]:
        return [*self._left(), *(f"task {task!r}" for task in tasks() - self._tasks)]

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # asyncio only logs these ("exception was never retrieved"): no test would fail by them.
        what = f"{context.get('message')}: {context.get('exception')!r}"
        self._errors.append(f"error that nobody handled: {what}")
        loop.default_exception_handler(context)


def _judge(left: Iterable[str]) -> None:
    if lines := sorted(left):
        raise Leaked("left behind:\n" + "\n".join(f"  {line}" for line in lines))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # the thread or process ended while we looked
        return ""
