"""Real processes on one machine find each other by themselves, whatever happens to some of them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.backends.zenoh_node import Node, until


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of this test's own; a short one, since paths of sockets are."""
    path = Path(tempfile.mkdtemp(prefix="bz", dir="/tmp"))
    monkeypatch.setenv("BUS_RUNTIME_DIR", str(path))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def nodes() -> Iterator[ExitStack]:
    """Whatever is entered here ends with the test."""
    with ExitStack() as stack:
        yield stack


def network_sockets(pid: int) -> set[str]:
    """The inodes of the TCP and UDP sockets of a process."""
    ours: set[str] = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(fd)
        if target.startswith("socket:["):
            ours.add(target[8:-1])
    known: set[str] = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        known.update(line.split()[9] for line in lines)
    return ours & known


def test_two_processes_hear_each_other_and_nothing_is_on_the_network(nodes: ExitStack) -> None:
    a = nodes.enter_context(Node("a")).up()
    b = nodes.enter_context(Node("b")).up()
    a.hears(b)
    b.hears(a)
    assert network_sockets(a.pid) == network_sockets(b.pid) == set()


def test_own_frames_do_not_come_back(nodes: ExitStack) -> None:
    a = nodes.enter_context(Node("a")).up()
    b = nodes.enter_context(Node("b")).up()
    b.hears(a)
    assert a.said("hears b")
    assert not a.said("hears a")


def test_processes_that_start_together_all_find_each_other(nodes: ExitStack) -> None:
    group = [nodes.enter_context(Node(f"n{number}")) for number in range(4)]
    for node in group:
        node.up()
    for node in group:
        node.hears(*(other for other in group if other is not node))


def test_newcomer_finds_the_others_after_the_first_was_killed(nodes: ExitStack, sockets: Path) -> None:
    a = nodes.enter_context(Node("a")).up()
    b = nodes.enter_context(Node("b")).up()
    b.hears(a)
    a.kill()
    assert len(list(sockets.glob("bus.c/*.id"))) == 2, "a killed process cannot clear its place"
    c = nodes.enter_context(Node("c")).up()
    b.hears(c)
    c.hears(b)
    assert len(list(sockets.glob("bus.c/*.id"))) == 2, "the newcomer clears the place of the dead"
    assert len(list(sockets.glob("bus.c/*.sock"))) == 2


def test_all_killed_and_started_again_find_each_other(nodes: ExitStack) -> None:
    for name in ("a", "b"):
        nodes.enter_context(Node(name)).up().kill()
    c = nodes.enter_context(Node("c")).up()
    d = nodes.enter_context(Node("d")).up()
    c.hears(d)
    d.hears(c)


def test_newcomer_joins_the_others_while_one_is_frozen(nodes: ExitStack) -> None:
    frozen = nodes.enter_context(Node("a")).up()
    b = nodes.enter_context(Node("b")).up()
    b.hears(frozen)
    frozen.freeze()
    c = nodes.enter_context(Node("c")).up()
    c.hears(b)
    b.hears(c)
    frozen.thaw()
    c.hears(frozen)
    frozen.hears(b, c)


def test_frozen_process_does_not_hold_the_close_of_a_newcomer(nodes: ExitStack) -> None:
    frozen = nodes.enter_context(Node("a")).up()
    frozen.freeze()
    c = nodes.enter_context(Node("c")).up()
    started = time.monotonic()
    assert c.close() == 0
    assert time.monotonic() - started < 5, "zenoh waits 10 s by default"


def test_two_clusters_side_by_side_do_not_mix(nodes: ExitStack) -> None:
    a1, a2 = (nodes.enter_context(Node(f"a{number}", "a")).up() for number in (1, 2))
    b1, b2 = (nodes.enter_context(Node(f"b{number}", "b")).up() for number in (1, 2))
    a1.hears(a2)
    b1.hears(b2)
    a2.hears(a1)
    b2.hears(b1)
    for node, other in ((a1, "hears b"), (a2, "hears b"), (b1, "hears a"), (b2, "hears a")):
        assert not node.said(other)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_use_our_directory(nodes: ExitStack, sockets: Path) -> None:
    sockets.chmod(0o755)
    nodes.enter_context(Node("a")).up()
    other = nodes.enter_context(Node("b", user=65534))
    until(lambda: other.said("failed"), 10)
    text = other.said("failed ConfigError")
    assert text and "belongs to this user" in text and "BUS_RUNTIME_DIR" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_processes_of_two_users_do_not_mix(nodes: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUS_RUNTIME_DIR")
    cluster = f"two-users-{os.getpid()}"
    a = nodes.enter_context(Node("a", cluster)).up()
    b, c = (nodes.enter_context(Node(name, cluster, user=65534)).up() for name in "bc")
    b.hears(c)
    c.hears(b)
    assert not a.said("hears")
    assert not b.said("hears a")
    assert [node.close() for node in (a, b, c)] == [0, 0, 0]
    assert not list(Path("/tmp").glob(f"coordinator-bus-*/bus.{cluster}"))


def test_closing_leaves_no_file(nodes: ExitStack, sockets: Path) -> None:
    a = nodes.enter_context(Node("a")).up()
    b = nodes.enter_context(Node("b")).up()
    a.hears(b)
    assert a.close() == 0
    assert len(list(sockets.glob("bus.c/*"))) == 3  # b's .id, .sock, .sock.lock
    assert b.close() == 0
    assert list(sockets.iterdir()) == []


def test_longest_cluster_name_in_a_long_directory(
    nodes: ExitStack, sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUS_RUNTIME_DIR", str(sockets / ("d" * 30)))
    a = nodes.enter_context(Node("a", "x" * 48)).up()
    b = nodes.enter_context(Node("b", "x" * 48)).up()
    c = nodes.enter_context(Node("c", "x" * 47 + "y")).up()
    a.hears(b)
    b.hears(a)
    assert not c.said("hears")
