"""Cases of the matrix that need a process of their own: how it ends, forks, has no descriptors, logs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from bus.testing.brokers.fixtures import BrokerFactory
from tests.faults.crew import ROOT

SYSTEMS = ("memory", "nats", "zenoh")
END = 3.0
START = 30.0


@pytest.fixture(params=SYSTEMS)
def url(request: pytest.FixtureRequest) -> str:
    """Of one of the three systems."""
    if request.param == "nats":
        found: str = request.getfixturevalue("nats_server").url
        return found
    return f"{request.param}://"


@contextmanager
def program(text: str, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """A Python program; it is killed if it does not end by itself."""
    with subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backends")))},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[str], word: str) -> None:
    """Wait for a line of it."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line == word, (line, process.communicate(timeout=5)[1][-2000:] if not line else "")


def tell(process: subprocess.Popen[str]) -> None:
    """It may go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


LIVE = """
import asyncio, sys
from bus import Bus, Event

class Note(Event, tag="processes.note"):
    number: int

def say(word):
    print(word, flush=True)
"""


@pytest.mark.parametrize("how", ["forgotten", "SIGINT", "SIGTERM"])
def test_a_process_that_does_not_close_its_bus_ends_at_once(url: str, how: str) -> None:
    """74."""
    text = LIVE + (
        """
async def main():
    bus = await Bus.open(sys.argv[1], node="a").__aenter__()
    await bus.ready(20)
    bus.publish(Note(1))
    say("ready")
    if sys.argv[2] != "forgotten":
        await asyncio.Event().wait()

asyncio.run(main())
"""
    )
    with program(text, url, how) as process:
        says(process, "ready")
        started = time.monotonic()
        if how != "forgotten":
            process.send_signal(getattr(signal, how))
        process.wait(timeout=20)
        assert time.monotonic() - started < END
        assert process.returncode in {"forgotten": (0,), "SIGINT": (1, -2), "SIGTERM": (-15,)}[how]


def test_a_child_that_was_forked_is_told_and_the_parent_goes_on(url: str) -> None:
    """75."""
    text = LIVE + (
        """
import os
from bus import Forked

async def main():
    async with (
        Bus.open(sys.argv[1], node="a", cluster="forks") as one,
        Bus.open(sys.argv[1], node="b", cluster="forks") as other,
        other.subscribe(Note) as inbox,
    ):
        await one.ready(20, peers=1)
        child = os.fork()
        if not child:
            try:
                one.publish(Note(1))
            except Forked:
                os._exit(42)
            os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == 42, code
        one.publish(Note(2))
        assert await asyncio.wait_for(anext(inbox), 10) == Note(2)
        say("fine")

asyncio.run(main())
"""
    )
    with program(text, url) as process:
        says(process, "fine")
        assert process.wait(timeout=20) == 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("system", ["nats", "redis", "zenoh"])
def test_a_process_without_descriptors_backs_off_and_comes_back(
    system: str, broker_of: BrokerFactory
) -> None:
    """45."""
    text = LIVE + (
        """
import os, resource

async def until(is_true, seconds):
    async with asyncio.timeout(seconds):
        while not is_true():
            await asyncio.sleep(0.05)

async def main():
    async with Bus.open(sys.argv[1], node="a") as bus:
        await bus.ready(20)
        # What is imported late must not be what fails.
        say("ready")
        sys.stdin.readline()
        await until(lambda: bus.status().state != "READY", 15)
        sys.stdin.readline()
        await bus.ready(20)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        say("again")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) - 1, hard))
        sys.stdin.readline()
        await until(lambda: bus.status().links[0].error and bus.status().state == "BACKOFF", 15)
        await asyncio.sleep(1.5)
        error = bus.status().links[0].error
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        sys.stderr.write(f"{error}\\n")
        await bus.ready(6)
        say("back")

asyncio.run(main())
"""
    )
    server = broker_of(system)
    with program(text, server.url) as process:
        says(process, "ready")
        server.kill()
        tell(process)
        server.restart()
        tell(process)
        says(process, "again")
        server.kill()
        tell(process)
        server.restart()
        says(process, "back")
        assert process.wait(timeout=20) == 0


@pytest.mark.timeout(60)
def test_a_dead_server_is_a_few_lines_in_the_log() -> None:
    """78: of the bus and of all libraries, on every system at once; the first word of each is there."""
    text = LIVE + (
        """
import logging

lines = []
class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())
logging.getLogger().addHandler(Lines(logging.WARNING))

async def main():
    buses = [Bus.open(url, node="a") for url in sys.argv[1:]]
    for bus in buses:
        await bus.__aenter__()
    await asyncio.sleep(8)
    for bus in buses:
        await bus.aclose()
    for kind in ("Nats", "Redis", "RedisCluster", "RedisSentinel", "Kafka", "Zenoh"):
        mine = [line for line in lines if line.startswith(kind + " ")]
        assert 1 <= len(mine) <= 6, (kind, mine)
    assert len(lines) <= 6 * len(buses), lines
    say("short")

asyncio.run(main())
"""
    )
    urls = [
        "nats://127.0.0.1:1", "redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1",
        "redis+sentinel://127.0.0.1:1", "kafka://127.0.0.1:1", "zenoh://127.0.0.1:1?mode=client",
    ]  # fmt: skip
    with program(text, *urls) as process:
        says(process, "short")
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        # Python writes there what no handler takes, and libraries what they like.
        assert len(process.stderr.read().splitlines()) <= 6
