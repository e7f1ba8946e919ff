"""Server programs of this machine as one broker: one process, or the nodes of a cluster.

A fixture derives from `LocalBroker`, adds its processes in its constructor, and calls `start`. It has a
folder of its own that goes with it: at `stop`, or by the guard of its processes if we are killed.
"""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bus.testing.brokers.broker import Unavailable
from bus.testing.brokers.process import Process


class LocalBroker(ABC):
    """Common behaviour; also a context manager that stops at its end."""

    def __init__(self, kind: str, folder: Path | None) -> None:
        self.kind = kind
        # Short: the path of a unix socket below it may have 107 bytes.
        self.folder: Path = Path(tempfile.mkdtemp(prefix=f"bus-{kind}-", dir=folder))
        self._members: list[tuple[Process, Callable[[], object]]] = []

    @property
    @abstractmethod
    def url(self) -> str:
        """What `Bus.open` takes."""

    @property
    def processes(self) -> list[Process]:
        """Its server processes."""
        return [process for process, _ in self._members]

    def add(
        self,
        name: str,
        argv: Sequence[str | Path],
        is_ready: Callable[[], object],
        *,
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """One more server process, not yet started. `is_ready` is polled after each start."""
        process = Process(name, argv, self.folder, env=env, scratch=self.folder)
        self._members.append((process, is_ready))
        return process

    def adopt(self, other: LocalBroker) -> None:
        """The processes of another one, not yet started, are ours as well: in all that is done to us."""
        for process, _ in other._members:
            process.scratch = self.folder
        self._members += other._members

    def start(self) -> None:
        """Start what does not run and wait until it serves; stops everything when that fails.

        Raises StartError with the end of the log.
        """
        try:
            for process, is_ready in self._members:
                if not process.is_running:
                    process.kill()  # forget one that ended by itself
                    process.start(is_ready)
            self.settle()
        except BaseException:
            self.stop()
            raise

    def settle(self) -> None:  # noqa: B027  # for one process there is nothing to wait for
        """Wait until the processes together serve; called at the end of each start."""

    def kill(self) -> None:
        """SIGKILL to all; idempotent."""
        for process in self.processes:
            process.kill()

    def pause(self) -> None:
        """SIGSTOP to all that run."""
        for process in self.processes:
            if process.is_running:
                process.pause()

    def resume(self) -> None:
        """SIGCONT to all that run."""
        for process in self.processes:
            if process.is_running:
                process.resume()

    def restart(self) -> None:
        """Kill all that run, and start all at the same addresses."""
        self.kill()
        self.start()

    def keep(self) -> None:
        """It is to outlive tests: `no_leaks` then says nothing about its processes."""
        for process in self.processes:
            process.keep()

    def mend(self) -> None:
        """Whatever was done to them, they serve again: SIGCONT to the frozen, a start for the killed."""
        self.resume()
        self.start()

    def stop(self) -> None:
        """End all politely and remove the folder; idempotent."""
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> str:
        """What they printed, under their names when there are several."""
        if len(self._members) == 1:
            return self._members[0][0].logs()
        return "\n".join(f"== {process.name}\n{process.logs()}" for process in self.processes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def program(name: str, how: str) -> Path:
    """The server program `name`: beside this Python, else from PATH.

    Raises Unavailable; `how` says how to get it.
    """
    # A wheel puts its program beside the interpreter, also when nobody activated the environment.
    own = Path(sysconfig.get_path("scripts")) / name
    found = str(own) if own.is_file() else shutil.which(name)
    if found is None:
        raise Unavailable(f"there is no program {name}: {how}")
    return Path(found)
