"""Examples as their readers start them: processes, with a clean environment and a place of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bus.testing.brokers import Process
from bus.testing.brokers.process import own_path

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a process whose `zenoh://` meets nobody but those with the same folder."""
    clean = {name: text for name, text in own_path().items() if not name.startswith("BUS_")}
    return {**clean, "BUS_RUNTIME_DIR": str(folder), "PYTHONWARNINGS": "error", **more}


@contextmanager
def running(
    name: str, words: list[str], env: Mapping[str, str], folder: Path, port: int
) -> Generator[Process]:
    """A program that serves at a port, until the block ends; then it must end by itself when told to."""
    process = Process(name, words, folder, env=dict(env))
    process.start(lambda: answers(port), 30)
    try:
        yield process
    finally:
        process.stop()


def uvicorn(app: str, port: int) -> list[str]:
    """Two workers of an application."""
    return [
        sys.executable,
        "-m",
        "uvicorn",
        app,
        "--workers",
        "2",
        "--port",
        str(port),
        "--app-dir",
        str(ROOT),
    ]


def program(module: str, *words: str) -> list[str]:
    """A module of the examples."""
    return [sys.executable, "-m", f"examples.{module}", *words]


def run(words: list[str], env: Mapping[str, str], cwd: Path = ROOT, seconds: float = 50) -> str:
    """Run one to its end; what it said. It must succeed."""
    done = subprocess.run(words, env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answers(port: int) -> bool:
    """Somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def until(is_so: Callable[[], object], what: str, seconds: float = 15) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
