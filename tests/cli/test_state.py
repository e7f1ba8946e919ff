"""The state directory of a node: which one is meant, and what is said where it is another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bus.cli import typed
from tests.cli.conftest import Cli
from tests.cli.kit import Node

READERS = [("history",), ("audit",), ("token", "list"), ("token", "revoke", "x")]
CREATE = ("token", "create", "reader", "--permission", "sysCoordinatorGet")


def node_file(home: Path, state: str, more: str = "") -> Path:
    path = home / "n1.toml"
    path.write_text(f'node = "n1"\nstateDir = "{state}"\n{more}')
    return path


def write_trail(folder: Path, *changed: dict[str, Any]) -> None:
    """One change that came into effect."""
    folder.mkdir(mode=0o700, exist_ok=True)
    record = {"ts": "T", "token": "me", "method": "set", "outcome": "applied", "changed": changed}
    (folder / "audit.jsonl").write_text(json.dumps({**record, "oldState": "a-1", "newState": "a-2"}) + "\n")


# -- which one -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_where_there_is_none_all_say_the_same(
    words: tuple[str, ...], cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUS_STATE_DIR", str(home / "none"))
    ran = cli(*words)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(
        f"error: there is no state directory {home / 'none'}\n  name that of the node: "
    )
    assert "nothing was changed" not in ran.err
    assert cli(*words, "--json").error()["type"] == "noState"
    assert not (home / "none").exists()


def test_the_file_of_a_node_names_it_as_for_any_other_command(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("filed", "given", "set"):
        write_trail(home / name, {"path": "groupId", "old": None, "new": name})
    # What else stands there, right or wrong, does not matter.
    path = node_file(home, "filed", '[coordinator]\n"@type" = "Nothing"\n')

    def found(*words: str) -> str:
        (record,) = cli("audit", "--json", *words).lines()
        return str(record["changed"][0]["new"])

    assert cli("audit").code == 1
    assert found("--config", str(path)) == "filed"
    assert found("--config", str(path), "--state-dir", "given") == "given"
    monkeypatch.setenv("BUS_CONFIG", str(path))
    assert found() == "filed"
    monkeypatch.delenv("BUS_CONFIG")
    path.rename("bus.toml")
    assert found() == "filed"
    monkeypatch.setenv("BUS_STATE_DIR", "set")
    assert found() == "set"
    assert found("--state-dir", "given") == "given"
    # The file that is looked at without being asked for is not needed any more; one that is named is.
    Path("bus.toml").write_text("[")
    assert found() == "set"
    ran = cli("audit", "--config", "bus.toml")
    assert (ran.code, ran.out) == (4, "")
    assert "bus.toml" in ran.err
    monkeypatch.delenv("BUS_STATE_DIR")
    Path("bus.toml").write_text("stateDir = 7\n")
    assert "bus.toml:1: stateDir: not valid" in cli("history").err


def test_every_reader_takes_the_file_of_a_node(cli: Cli, home: Path) -> None:
    path = str(node_file(home, "state"))
    write_trail(home / "state")
    assert cli("history", "--config", path).out.splitlines()[1].split()[:4] == ["a-2", "T", "me", "set"]
    made = cli(*CREATE, "--config", path)
    id = made.out.split("_")[1]
    assert cli("token", "list", "--config", path, "--json").json()[0]["id"] == id
    assert cli("token", "revoke", id, "--config", path).code == 0


# -- tokens for nobody -----------------------------------------------------------------------------


def test_a_token_in_a_directory_that_no_node_uses_comes_with_a_warning(cli: Cli, home: Path) -> None:
    state = home / "my state"
    for words in ("a new state directory was made", "no node has used this state directory yet"):
        ran = cli(*CREATE, "--state-dir", str(state))
        assert ran.code == 0
        assert ran.out.startswith("bus_")
        assert f"warning: {words}: {state}. " in ran.err
        assert f"bus run --state-dir '{state}'; a node with another one answers 401" in ran.err
    ran = cli(*CREATE, "--state-dir", str(state), "--json")
    assert "no node has used" in ran.err
    assert ran.json()["token"].startswith("bus_")
    # A token that was refused leaves nothing to warn of.
    ran = cli("token", "create", "x", "--permission", "everything", "--state-dir", str(state))
    assert "no node has used" not in ran.err


def test_a_token_for_a_node_that_runs_comes_without(node: Node, cli: Cli) -> None:
    ran = cli(*CREATE, "--state-dir", str(node.state))
    assert (ran.code, "warning" in ran.err) == (0, False)
    assert cli("token", "revoke", ran.out.split("_")[1], "--state-dir", str(node.state)).code == 0


# -- durations -------------------------------------------------------------------------------------


def test_durations_are_shown_as_everywhere_else(cli: Cli, home: Path) -> None:
    state = home / "state"
    changes = (
        {"path": "pingInterval", "old": 60_000, "new": 90_500},
        {"path": "maxRetryWait", "old": None, "new": 500},
        {"path": "capacityClient", "old": 60_000, "new": 2048},
        {"path": "noEcho", "old": True, "new": False},
    )
    write_trail(state, *changes)
    told = [
        "pingInterval: 1m -> 1m30s500ms",
        "maxRetryWait: - -> 500ms",
        "capacityClient: 60000 -> 2048",
        "noEcho: true -> false",
    ]
    where = ("--state-dir", str(state))
    assert [line.strip() for line in cli("audit", *where).out.splitlines()[1:]] == told
    assert cli("history", *where).out.splitlines()[-1].endswith("; ".join(told))
    for command in ("audit", "history"):  # programs get numbers
        assert cli(command, "--json", *where).lines()[0]["changed"] == list(changes)
    stored = {"version": 1, "epoch": "0a0b0c0d", "generation": 2}
    value = {"@type": "Nats", "pingInterval": 90_000, "capacityClient": 60_000}
    (state / "coordinator.json").write_text(json.dumps({**stored, "object": value}))
    (state / "coordinator.json").chmod(0o600)
    lines = cli("config", "diff", *where, "--url", "nats://127.0.0.1").out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["pingInterval"][1] == "1m30s"
    assert rows["capacityClient"][1] == "60000"
    ran = cli("config", "diff", *where, "--url", "nats://127.0.0.1", "--json")
    assert ran.json()["pingInterval"]["stored"] == 90_000


def test_a_name_that_means_different_things_is_no_duration() -> None:
    def properties(**kinds: str) -> dict[str, Any]:
        return {"properties": {name: {"x-type": kind} for name, kind in kinds.items()}}

    schema: dict[str, object] = {
        "$defs": {"A": properties(wait="duration", size="duration"), "B": properties(size="uint")}
    }
    assert list(typed.all_durations(schema)) == ["wait"]
