"""One node as the host sees it: words go in, answers come out. It is a process, or a task here.

A node has one life after another: `open` begins one, `kill` ends it without a word, `close`
politely.
"""

from __future__ import annotations

import asyncio
import os
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

import msgspec

from bus.demo import receipts
from bus.demo.ledger import Life
from bus.demo.member import Setup, run

ANSWER = 30.0
CLOSE = 5.0
LOG_LINES = 15
# Paths of unix sockets are short.
LONGEST_FOLDER = 64


class NodeFailed(Exception):
    """A node ended by itself, or did not answer; the text says what it said last."""


class Node(ABC):
    """The common part: lives, words and answers."""

    def __init__(self, setup: Setup) -> None:
        self.name: str = setup.name
        self.is_open: bool = False
        self._setup = setup
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        # (file of receipts, born, died)
        self._lives: list[tuple[Path, float, float | None]] = []

    async def open(self) -> None:
        """Begin a life; returns when it hears all others and they hear it. Raises NodeFailed."""
        path = Path(f"{self._setup.receipts}-{len(self._lives) + 1}.receipts")
        self._answers = asyncio.Queue()
        self._lives.append((path, asyncio.get_running_loop().time(), None))
        await self._begin(msgspec.structs.replace(self._setup, receipts=str(path)))
        # Only now: somebody looks on while the process is being made.
        self.is_open = True
        await self.answer("ready")

    async def answer(self, word: str) -> None:
        """Wait for the answer that is due. Raises NodeFailed."""
        try:
            async with asyncio.timeout(ANSWER):
                given = await self._answers.get()
        except TimeoutError:
            raise NodeFailed(f"{self.name} did not become {word} within {ANSWER:g} s") from None
        if given != word:
            raise NodeFailed(await self._reason())

    async def look(self) -> None:
        """Raises NodeFailed when it has ended by itself."""
        if self.is_open and self._has_ended():
            raise NodeFailed(await self._reason())

    def lives(self) -> list[Life]:
        """All lives so far, as their receipts say."""
        return [self._life(*life) for life in self._lives if life[0].exists()]

    def counters(self) -> list[receipts.Counters]:
        """Totals of each life."""
        return [receipts.read(path)[0] for path, _, _ in self._lives if path.exists()]

    def _life(self, path: Path, born: float, died: float | None) -> Life:
        counters, accounts = receipts.read(path)
        return Life(
            node=self.name, epoch=counters.epoch, born=born, died=died,
            dropped=counters.dropped, stale=counters.stale, accounts=accounts,
        )  # fmt: skip

    def _note_death(self) -> None:
        path, born, _ = self._lives[-1]
        self._lives[-1] = (path, born, asyncio.get_running_loop().time())

    @abstractmethod
    def say(self, word: str) -> None:
        """One of the words of `member`."""

    @abstractmethod
    async def close(self) -> None:
        """End the life at hand, politely if it is polite; never raises, leaves nothing."""

    @abstractmethod
    async def _begin(self, setup: Setup) -> None: ...

    @abstractmethod
    def _has_ended(self) -> bool: ...

    @abstractmethod
    async def _reason(self) -> str: ...


class TaskNode(Node):
    """A bus in this process."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._words: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def say(self, word: str) -> None:
        self._words.put_nowait(word)

    async def close(self) -> None:
        if self._task is not None:
            self.say("end")
            await asyncio.wait({self._task}, timeout=CLOSE)
            self._task.cancel()
            await asyncio.wait({self._task})
        self.is_open = False

    async def _begin(self, setup: Setup) -> None:
        self._task = asyncio.create_task(run(setup, self._words.get, self._answers.put_nowait))
        self._task.add_done_callback(lambda _: self._answers.put_nowait(""))

    def _has_ended(self) -> bool:
        return self._task is not None and self._task.done()

    async def _reason(self) -> str:
        if self._task is None or self._task.cancelled():
            return f"{self.name} was cancelled"
        error = self._task.exception()
        return f"{self.name} ended with {type(error).__name__}: {error}"


class ProcessNode(Node):
    """A process of its own."""

    is_open: bool

    def __init__(self, setup: Setup, folder: Path) -> None:
        super().__init__(setup)
        self._folder = folder
        self._log = folder / f"{setup.name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    def say(self, word: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            # A pipe that is broken by now is the end that `look` and `answer` tell.
            with suppress(ConnectionError):
                self._process.stdin.write(f"{word}\n".encode())

    async def kill(self) -> None:
        """SIGKILL; returns when it is dead."""
        assert self._process is not None
        self.is_open = False
        self._process.kill()
        await self._process.wait()
        self._note_death()
        await self._join()

    async def close(self) -> None:
        process = self._process
        if process is None:
            return
        self.is_open = False
        self.say("end")
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(CLOSE):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await self._join()

    async def _join(self) -> None:
        if self._listening is not None:
            await self._listening
        self._process = self._listening = None

    async def _begin(self, setup: Setup) -> None:
        # What this process can import, that one can, too; -P: and nothing of the working directory.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if len(str(self._folder)) <= LONGEST_FOLDER:
            # The sockets of zenoh:// go when the folder of the run goes.
            environment["BUS_RUNTIME_DIR"] = str(self._folder)
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "bus.demo.process",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                env=environment,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._listening = asyncio.create_task(self._listen(self._process.stdout))
        self._process.stdin.write(msgspec.json.encode(setup) + b"\n")

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        while line := await stdout.readline():
            self._answers.put_nowait(line.decode().strip())
        self._answers.put_nowait("")

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    async def _reason(self) -> str:
        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE):
                await self._process.wait()
        said = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join([f"{self.name} ended with code {self._process.returncode}", *said])
