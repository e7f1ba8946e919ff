"""Commands in a cluster with a key: by file, by variable, without, with another one."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.cli import settings
from bus.keys import ClusterKey
from bus.testing.brokers import Broker
from bus.testing.brokers.process import own_path
from tests.cli.kit import BUS, Node, Ran, clean, in_process, until

KEY, OTHER = "0f6c2b7d" * 8, "77aa51e0" * 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sealed")


@pytest.fixture(scope="module")
def key_file(folder: Path) -> Path:
    path = folder / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def cluster(nats_server: Broker, folder: Path, key_file: Path) -> Iterator[tuple[list[str], list[Node]]]:
    """Two nodes with a key, one by file and one by variable, and the arguments that lead to them."""
    where = ["--url", nats_server.url, "--cluster", "sealed"]
    nodes: list[Node] = []
    try:
        nodes.append(Node(folder, "s-1", [*where, "--key-file", str(key_file)]))
        nodes.append(Node(folder, "s-2", where, {"BUS_KEY": KEY}))
        for node in nodes:
            node.process.keep()
        yield where, nodes
    finally:
        for node in nodes:
            node.process.stop()


def test_publish_watch_and_nodes_need_the_key_and_take_it(
    cluster: tuple[list[str], list[Node]], key_file: Path
) -> None:
    where, nodes = cluster
    names = [node.name for node in nodes]
    ran = in_process("publish", "demo.x", "hi", *where, "--key-file", str(key_file), "--json")
    assert (ran.code, ran.json()["heard"]) == (0, names), ran.err
    found = in_process("nodes", *where, "--json", env={"BUS_KEY": KEY}).json()
    assert [(one["node"], one["hears"]) for one in found] == [("s-1", ["s-2"]), ("s-2", ["s-1"])]
    watcher = subprocess.Popen(
        [*BUS, "watch", *where, "--count", "2", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean(own_path()) | {"BUS_KEY": KEY},
    )  # fmt: skip
    with watcher:
        assert watcher.stderr is not None
        assert watcher.stderr.readline().startswith("watching bus.sealed")
        ran = in_process(
            "publish", "demo.y", "1", "--count", "2", *where, env={"BUS_KEY_FILE": str(key_file)}
        )
        assert ran.code == 0, ran.err
        out, err = watcher.communicate(timeout=15)
    assert (watcher.returncode, err) == (0, "")
    assert [json.loads(line)["topic"] for line in out.splitlines()] == ["demo.y", "demo.y"]


@pytest.mark.parametrize("env", [{}, {"BUS_KEY": OTHER}], ids=["no key", "another key"])
def test_without_the_key_nobody_is_there(cluster: tuple[list[str], list[Node]], env: dict[str, str]) -> None:
    where, _ = cluster
    ran = in_process("publish", "demo.x", "hi", *where, "--json", env=env)
    assert ran.json()["heard"] == []
    assert ("has no cluster key" if not env else "that this node does not have") in ran.err
    assert KEY not in ran.out + ran.err
    assert in_process("nodes", *where, "--json", env=env).json() == []


def test_a_doctor_with_the_key_finds_nothing_wrong(cluster: tuple[list[str], list[Node]]) -> None:
    where, _ = cluster
    ran = in_process("doctor", *where, env={"BUS_KEY": KEY}, seconds=40)
    assert ran.code == 0, ran.out + ran.err


def test_the_key_of_a_node_is_renewed_when_its_file_is(
    cluster: tuple[list[str], list[Node]], key_file: Path
) -> None:
    _, (node, _) = cluster
    fresh = key_file.with_suffix(".new")
    fresh.write_text(f"{KEY}\n{OTHER}\n")
    fresh.chmod(0o600)
    fresh.replace(key_file)
    until(lambda: any("renewed cluster key" in str(line) for line in node.logged()))
    assert KEY not in node.process.logs()
    assert OTHER not in node.process.logs()


@pytest.mark.parametrize(
    ("command", "env", "text"),
    [
        (["run", "--listen", "off", "--key-file", "/nowhere"], {}, "file /nowhere: No such file"),
        (["publish", "x"], {"BUS_KEY_FILE": "/nowhere,/either"}, "file /nowhere: No such file"),
        (["nodes"], {"BUS_KEY": "canary"}, "the variable BUS_KEY: key 1 of it has fewer than 16 bytes"),
    ],
    ids=["run", "publish", "nodes"],
)
def test_a_key_that_cannot_be_used_is_said_before_anything_is_tried(
    command: list[str], env: dict[str, str], text: str
) -> None:
    ran: Ran = in_process(*command, "--url", "nats://127.0.0.1:1", env=env)
    assert ran.code == 4, ran
    assert text in ran.err
    assert "Traceback" not in ran.err
    assert "canary" not in ran.err


def key_of(tmp_path: Path, flags: list[str] | None, env: dict[str, str], file: str = "") -> ClusterKey | None:
    path = tmp_path / "bus.toml"
    path.write_text(f'{file}\ncoordinator = "memory://"\n')
    with pytest.MonkeyPatch.context() as patched:
        for name, text in env.items():
            patched.setenv(name, text)
        found = settings.load(argparse.Namespace(config=str(path), setting_keyFile=flags))
        return found.cluster_key()


def test_the_nearest_place_wins(tmp_path: Path) -> None:
    in_file, both, key = 'keyFile = ["/file"]', {"BUS_KEY_FILE": "/one,/two"}, {"BUS_KEY": KEY}
    assert key_of(tmp_path, None, {}) is None
    for flags, env, file, found in (
        (None, {}, in_file, "the file /file"),
        (None, both, in_file, "the file /one, the file /two"),
        (["/flag"], both, "", "the file /flag"),
        (None, key, in_file, "the variable BUS_KEY"),
        (None, key | both, in_file, "the file /one, the file /two"),
        (["/flag"], key, "", "the file /flag"),
    ):
        assert str(key_of(tmp_path, flags, env, file)) == f"ClusterKey({found})"
