"""One server program as a child that can be killed, frozen and started again, and never outlives us.

Each start makes a new process group with a guard in front: a line of shell that holds the reading end of a
pipe to us, and when the pipe closes, however we end, kills the group and removes `scratch`. (The kernel's
parent-death signal comes at the end of the *thread* that started the child, which would end a server with the
first idle worker thread.)
All calls are synchronous; async tests use `asyncio.to_thread`.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bus.testing.leaks import spared

# $1: where to write the pid of the server, $2: what to remove if we are killed; the rest: the server. `3<&0`:
# in a script without job control the standard input of everything in the background is /dev/null. The guard
# ends the script first, which would end the guard with the server, before the folder is removed.
_GUARD = """
pidfile=$1; scratch=$2; shift 2; exec 3<&0
"$@" 3<&- </dev/null & server=$!
echo $server >"$pidfile"
{ read -r _ <&3; kill -KILL $$ $server; [ -z "$scratch" ] || rm -rf "$scratch"; kill -KILL 0; } & guard=$!
wait $server; code=$?
{ kill -KILL $guard; wait $guard; } 2>/dev/null
exit $code
"""

_STOP = 5.0


def own_path() -> dict[str, str]:
    """Our environment, for a Python program of ours: it finds what we find."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class StartError(RuntimeError):
    """A server did not come up; the text ends with its last log lines."""


_LOWEST, _HIGHEST = 10_000, 32_000
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now, between 10,000 and 32,000; not the same one twice.

    Not one of those that the kernel gives to clients: while a server is down, a client that tries to reach it
    would now and then be given the very port, and be connected to itself.
    """
    while True:
        port = random.randrange(_LOWEST, _HIGHEST)
        if port in _given:
            continue
        with socket.socket() as one:
            # As servers do: what a killed one left in TIME_WAIT is no obstacle.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def accepts(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def until(is_so: Callable[[], object], seconds: float, what: Callable[[], str]) -> None:
    """Poll until something is so. Raises StartError with `what()` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise StartError(what())
        time.sleep(0.01)


class Process:
    """A server program with a folder of its own; `start` and `kill` alternate.

    `scratch`: the folder that goes when this process ends without `kill` or `stop`.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.scratch = scratch
        self._is_kept = False
        self._argv = [str(part) for part in argv]
        self._env = None if env is None else {**os.environ, **env}
        self._guard: subprocess.Popen[bytes] | None = None
        self._log = folder / f"{name}.log"

    @property
    def is_running(self) -> bool:
        """It was started and has not ended (a frozen one runs)."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def pid(self) -> int:
        """Of the server itself, not of its guard. Raises RuntimeError when it does not run."""
        if not self.is_running:
            raise RuntimeError(f"{self.name} does not run")
        return int((self.folder / f"{self.name}.pid").read_text())

    def start(self, is_ready: Callable[[], object], seconds: float = 20.0) -> None:
        """Start and wait until `is_ready()`. Raises StartError when it ends or is late."""
        assert not self.is_running, f"{self.name} runs already"
        pidfile = self.folder / f"{self.name}.pid"
        pidfile.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", str(pidfile), str(self.scratch or ""), *self._argv],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder, env=self._env,
                start_new_session=True,
            )  # fmt: skip

        if self._is_kept:
            spared.add(self._guard.pid)

        def ready() -> object:
            if not self.is_running:
                raise StartError(f"{self.name} ended at its start:\n{self.logs()[-2000:]}")
            return pidfile.exists() and pidfile.read_text().strip() and is_ready()

        try:
            until(
                ready,
                seconds,
                lambda: f"{self.name} is not ready after {seconds:g} s:\n{self.logs()[-2000:]}",
            )
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL, now; idempotent."""
        if self._guard is None:
            return
        # The server first, so that its guard reaps it: when this returns, its sockets are closed.
        if self.is_running:
            with suppress(OSError, ValueError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(1.0)
        with suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait(_STOP)
        spared.discard(self._guard.pid)
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard = None

    def keep(self) -> None:
        """It is to outlive tests: `no_leaks` then says nothing about it."""
        self._is_kept = True
        if self._guard is not None:
            spared.add(self._guard.pid)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after 5 s; idempotent."""
        if self.is_running and self._guard is not None:
            with suppress(OSError, ValueError):
                self.resume()
                os.kill(self.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(_STOP)
        self.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers. On Linux all its threads have stopped then."""
        self.signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.pid}/task")
        # A thread that computes goes on for a moment, and would answer once more.
        until(
            lambda: all(_state(thread) in "Tt" for thread in threads.glob("*/stat")),
            _STOP,
            lambda: f"{self.name} does not stop",
        )

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Any other signal. Raises RuntimeError when the server does not run."""
        os.kill(self.pid, number)

    def logs(self) -> str:
        """Everything the server printed since it was first started."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def _state(stat: Path) -> str:
    """The state of a thread: the letter after its name, which stands in parentheses; none if it has ended."""
    with suppress(OSError):
        return stat.read_text().rpartition(")")[2].split()[0]
    return ""
