"""`bus demo` as it is typed: it ends balanced, and everything that could be wrong makes it fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bus import Bus
from bus.cli import main
from bus.demo import host
from bus.demo.cache import Cache
from bus.demo.database import Database
from bus.demo.member import RowChanged
from bus.demo.receipts import Receipts
from bus.demo.systems import SYSTEMS
from bus.testing.brokers import Broker, free_port

ROOT = Path(__file__).parent.parent.parent
SERVED = [name for name, system in SYSTEMS.items() if system.is_served]
RAN = subprocess.CompletedProcess[str]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files; its name is short, for sockets."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as name:
        yield Path(name)


def environment(temporary: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}


def demo(temporary: Path, *arguments: str) -> RAN:
    done = subprocess.run(
        [sys.executable, "-m", "bus", "demo", *arguments],
        env=environment(temporary), capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert list(temporary.iterdir()) == []
    return done


def skip_without_server(code: int, errors: str) -> None:
    """Where a server is not installed there is nothing to test, unless nobody would read that (CI)."""
    if code == 2 and not os.environ.get("CI"):
        pytest.skip(errors)


def ledger_of(done: RAN, backend: str, nodes: int = 3) -> dict[str, Any]:
    """The ledger, after everything that must be so was found to be so."""
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    ledger: dict[str, Any] = json.loads(line)
    assert list(ledger) == ["backend", "nodes", "published", "pairs", "stale_reads", "balanced"]
    assert (ledger["backend"], ledger["nodes"]) == (backend, nodes)
    assert (ledger["balanced"], ledger["stale_reads"]) == (True, 0)
    names = [f"node-{number}" for number in range(1, nodes + 1)]
    assert [(pair["from"], pair["to"]) for pair in ledger["pairs"]] == [
        (a, b) for a in names for b in names if a != b
    ]
    for pair in ledger["pairs"]:
        assert list(pair) == ["from", "to", "published", "delivered", "lost_told", "unexplained"]
        assert pair["unexplained"] == 0
        assert pair["published"] == pair["delivered"] + pair["lost_told"] > 0
    return ledger


def test_memory_ends_balanced(temporary: Path) -> None:
    ledger = ledger_of(demo(temporary, "--backend", "memory", "--seconds", "2", "--json"), "memory")
    sent = {pair["from"]: pair["published"] for pair in ledger["pairs"]}
    assert ledger["published"] == sum(sent.values())


def test_sealed_nodes_end_balanced(temporary: Path) -> None:
    ledger_of(demo(temporary, "--backend", "memory", "--sealed", "--seconds", "1", "--json"), "memory")


def test_zenoh_ends_balanced(temporary: Path) -> None:
    done = demo(temporary, "--nodes", "2", "--seconds", "2", "--json")
    ledger = ledger_of(done, "zenoh", nodes=2)
    assert ledger["published"] == sum(pair["published"] for pair in ledger["pairs"])
    assert "written" in done.stderr
    assert "balanced: every event" in done.stderr


def test_zenoh_ends_balanced_when_a_node_is_killed(temporary: Path) -> None:
    done = demo(temporary, "--kill", "--seconds", "3", "--json")
    ledger = ledger_of(done, "zenoh")
    assert "node-3 gets SIGKILL" in done.stderr
    assert "node-3 is back" in done.stderr
    rows = {(pair["from"], pair["to"]): pair["published"] for pair in ledger["pairs"]}
    # What the others wrote while it was away was never due to it.
    assert rows["node-1", "node-3"] < rows["node-1", "node-2"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("backend", SERVED)
def test_each_system_ends_balanced_with_a_server_of_its_own(backend: str, temporary: Path) -> None:
    done = demo(temporary, "--backend", backend, "--kill", "--seconds", "3", "--json")
    skip_without_server(done.returncode, done.stderr)
    ledger_of(done, backend)
    assert f"starting a server for {backend}" in done.stderr
    assert "node-3 is back" in done.stderr


def test_a_server_that_runs_is_used_and_left_running(temporary: Path, nats_server: Broker) -> None:
    done = demo(temporary, "--url", nats_server.url, "--seconds", "1.5", "--json")
    ledger_of(done, "nats")
    assert "starting a server" not in done.stderr


def test_a_server_that_is_not_there_is_named_while_it_is_waited_for(temporary: Path) -> None:
    url = f"nats://app:hunter2@127.0.0.1:{free_port()}"
    with subprocess.Popen(
        [sys.executable, "-m", "bus", "demo", "--url", url, "--json"],
        env=environment(temporary), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        began = time.monotonic()
        assert process.stderr is not None
        told = next((line for line in process.stderr if "waiting for" in line), "")
        assert told.startswith(
            f"waiting for nats://app:****@127.0.0.1:{url.rpartition(':')[2]}, up to 15 s: "
        )
        assert time.monotonic() - began < 12
        process.terminate()
        out, errors = process.communicate(timeout=15)
    assert (process.returncode, out) == (143, "")
    assert "hunter2" not in errors
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == []


def test_without_json_the_ledger_is_a_table_on_stdout(temporary: Path) -> None:
    done = demo(temporary, "--backend", "memory", "--nodes", "2", "--seconds", "1.5")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 nodes on memory, ")
    assert any(line.split()[:2] == ["node-1", "node-2"] for line in lines)
    assert lines[-1] == "balanced: every event was delivered once, or its loss was told"


# -- it can fail -----------------------------------------------------------------------------------

SHORT = ["demo", "--backend", "memory", "--nodes", "2", "--seconds", "0.7", "--json"]


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The write of the database, to be called by what a test puts in its place."""
    monkeypatch.setattr(host, "SETTLE", 0.5)
    return Database.write


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


@pytest.mark.parametrize(
    "corruption",
    [
        "DELETE FROM journal WHERE sequence = 20",
        "UPDATE journal SET sequence = 100000 WHERE sequence = 20",
    ],
)
def test_a_corrupted_journal_shows_as_unbalanced(
    corruption: str, write: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    def corrupting(database: Database, epoch: int, sequence: int, key: int) -> int:
        version: int = write(database, epoch, sequence, key)
        if sequence == 25:
            database._sql.execute(corruption)  # pyright: ignore[reportPrivateUsage]  # sabotage
        return version

    monkeypatch.setattr(Database, "write", corrupting)
    assert main(SHORT) == 1
    assert not last_line(capsys)["balanced"]


def test_an_event_that_is_not_taken_shows_as_unbalanced(
    write: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take = Receipts.account

    def forgetful(receipts: Receipts, epoch: int) -> Any:
        account = take(receipts, epoch)
        if account.position == 9:
            account.position = 10
        return account

    monkeypatch.setattr(Receipts, "account", forgetful)
    assert main(SHORT) == 1
    assert not last_line(capsys)["balanced"]


def test_a_cache_that_is_not_invalidated_shows_as_stale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ignore(cache: Cache, key: int) -> None: ...

    monkeypatch.setattr(Cache, "invalidate", ignore)
    assert main(SHORT) == 1
    ledger = last_line(capsys)
    assert ledger["stale_reads"] > 0
    assert ledger["balanced"]


def test_a_publish_that_gets_another_number_than_the_journal_ends_the_run(
    write: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish = Bus.publish

    def twice(bus: Bus, event: RowChanged) -> int:
        publish(bus, event)
        return publish(bus, event)

    monkeypatch.setattr(Bus, "publish", twice)
    assert main(SHORT) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "the journal has number 1, the bus gave 2" in told.err


# -- how it ends otherwise -------------------------------------------------------------------------


@contextmanager
def working(temporary: Path, *arguments: str, until: str = "written") -> Generator[subprocess.Popen[str]]:
    """A demo that goes on for long and has said a word: that its nodes are at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bus", "demo", "--seconds", "60", *arguments],
        env=environment(temporary), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        if not any(until in line for line in process.stdout):
            _, errors = process.communicate()
            skip_without_server(process.returncode, errors)
            pytest.fail(f"it ended: {errors}")
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def started(temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo whose nodes are at work."""
    with working(temporary) as process:
        yield process


def nodes_of(process: subprocess.Popen[str]) -> set[int]:
    return children_of(process.pid)


def children_of(pid: int) -> set[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return set(map(int, listing.read_text().split())) if listing.exists() else set()


def descendants_of(pid: int) -> set[int]:
    """Its children, theirs, and so on: nodes, servers and what guards them."""
    children = children_of(pid)
    return children.union(*map(descendants_of, children))


def until_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 10
    while left := {pid for pid in pids if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly(
    started: subprocess.Popen[str], temporary: Path, number: signal.Signals, code: int
) -> None:
    nodes = nodes_of(started)
    assert len(nodes) == 3
    started.send_signal(number)
    _, errors = started.communicate(timeout=15)
    assert started.returncode == code
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == []
    until_gone(nodes)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_server_too(
    temporary: Path, number: signal.Signals, code: int, redis_server: Broker
) -> None:
    with working(temporary, "--backend", "redis") as process:
        everybody = descendants_of(process.pid)
        assert len(everybody) > 3
        process.send_signal(number)
        _, errors = process.communicate(timeout=15)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == []
    until_gone(everybody)


def test_a_signal_while_the_server_starts_leaves_nothing(temporary: Path) -> None:
    with working(temporary, "--backend", "redis-cluster", until="starting a server") as process:
        deadline = time.monotonic() + 10
        while len(everybody := descendants_of(process.pid)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        _, errors = process.communicate(timeout=15)
    assert process.returncode == 143
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == []
    until_gone(everybody)


def test_the_server_dies_with_its_host(temporary: Path) -> None:
    with working(temporary, "--backend", "redis") as process:
        everybody = descendants_of(process.pid)
        process.kill()
        process.communicate()
    until_gone(everybody)
    assert [path.name for path in temporary.iterdir() if not path.name.startswith("bus-demo-")] == []


def test_nodes_die_with_their_host(started: subprocess.Popen[str]) -> None:
    nodes = nodes_of(started)
    started.kill()
    started.communicate()
    until_gone(nodes)


def test_a_node_that_dies_by_itself_ends_it_and_says_why(
    started: subprocess.Popen[str], temporary: Path
) -> None:
    os.kill(min(nodes_of(started)), signal.SIGKILL)
    _, errors = started.communicate(timeout=15)
    assert started.returncode == 1
    assert "ended with code -9" in errors
    assert list(temporary.iterdir()) == []
