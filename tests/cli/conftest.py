"""A home of its own for every test, commands in this process, and nodes that run for the session."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.cli import main
from bus.testing.brokers import Broker
from tests.cli.kit import Node, Ran, clean

Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the user, of the machine, or of another test is seen."""
    for name in os.environ.keys() - clean(os.environ).keys():
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli("get", "Coordinator")`: the command in this process."""

    def run(*words: str, stdin: str = "") -> Ran:
        capsys.readouterr()
        text = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", text)
        code = main(words)
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return run


def _nodes(folder: Path, *arguments: list[str]) -> Iterator[list[Node]]:
    nodes: list[Node] = []
    try:
        for number, words in enumerate(arguments, 1):
            nodes.append(Node(folder, f"node-{number}", words))
            nodes[-1].process.keep()
        yield nodes
    finally:
        for node in nodes:
            node.process.stop()


@pytest.fixture(scope="session")
def nats_nodes(nats_server: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Two nodes on one NATS server, which nobody changes."""
    words = ["--url", nats_server.url, "--cluster", "steady"]
    yield from _nodes(tmp_path_factory.mktemp("nats"), words, words)


@pytest.fixture(scope="session")
def memory_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """One node that is alone in its process; for tests that change it."""
    yield from _nodes(tmp_path_factory.mktemp("memory"), ["--url", "memory://"])


@pytest.fixture
def node(memory_nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node that commands talk to without being told."""
    for name, text in memory_nodes[0].env.items():
        monkeypatch.setenv(name, text)
    return memory_nodes[0]


@pytest.fixture
def steady(nats_nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> Node:
    """The first node on NATS, as what commands talk to."""
    for name, text in nats_nodes[0].env.items():
        monkeypatch.setenv(name, text)
    return nats_nodes[0]
