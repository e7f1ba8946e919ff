"""`bus update --wait`: for another's change, and until the node runs on what is stored; `bus history`."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bus.cli import waiting
from bus.cli.failure import TIMEOUT, UNREACHABLE, Failure
from bus.testing.brokers import Broker, free_port
from tests.cli.conftest import Cli
from tests.cli.kit import Node


def test_wait_returns_when_the_node_runs_on_it(node: Node, nats_server: Broker, cli: Cli) -> None:
    place = nats_server.url.rpartition("/")[2]
    ran = cli(
        "update", "--field", "@type=Nats", "--field", f"addresses={place}", "--validate", "none", "--wait"
    )
    assert ran.code == 0, ran.err
    # Stored only; and yet it is in use now.
    assert node_health(node) == ("pass", ["Nats"])
    assert cli("update", "--field", "@type=Memory", "--wait").code == 0


def node_health(node: Node) -> tuple[str, list[str]]:
    from bus.cli.client import Client
    from bus.cli.target import Target

    found: Any = Client(Target(node.url, node.token.read_text().strip(), None, 5.0)).health()
    return found["status"], [link["type"] for link in found["checks"]["backend"]["links"]]


def test_wait_gives_up_after_the_timeout_and_says_why(node: Node, cli: Cli) -> None:
    place = f"127.0.0.1:{free_port()}"
    words = ("--field", "@type=Nats", "--field", f"addresses={place}", "--validate", "none")
    ran = cli("update", *words, "--wait", "--timeout", "1.5", "--json")
    assert (ran.code, ran.out) == (8, "")
    assert ran.error()["type"] == "timeout"
    assert "does not run on what is stored yet" in ran.error()["message"]
    assert cli("update", "--field", "@type=Memory", "--wait").code == 0


def test_wait_is_patient_with_somebody_elses_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "AGAIN", 0.01)
    busy, tries = Failure(1, "serverUnavailable", "another change is under way"), 0

    def do() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise busy
        return "done"

    assert waiting.patiently(do, deadline=float("inf")) == "done"
    tries = 0
    with pytest.raises(Failure, match="under way"):
        waiting.patiently(do, deadline=0.0)
    assert tries == 1


class Sick:
    """A client of a node that says each of these in turn, and then the last one."""

    def __init__(self, *says: Any) -> None:
        self.target = type("Target", (), {"url": "http://h"})
        self._says = list(says)

    def health(self) -> Any:
        said = self._says.pop(0) if len(self._says) > 1 else self._says[0]
        if isinstance(said, Exception):
            raise said
        return said


def test_wait_goes_on_while_the_node_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "AGAIN", 0.01)
    gone = Failure(UNREACHABLE, "unreachable", "nobody there")
    sick = {"status": "fail", "checks": {"coordinator": {"status": "fail", "output": "not yet"}}}
    client: Any = Sick(gone, sick, {"status": "pass"})
    waiting.until_ready(client, deadline=float("inf"))
    for says, text in ((gone, "nobody there"), (sick, "not yet"), ({"status": "fail"}, "it is not ready")):
        broken: Any = Sick(says)
        with pytest.raises(Failure, match=text) as caught:
            waiting.until_ready(broken, deadline=0.0)
        assert caught.value.code == TIMEOUT
    denied: Any = Sick(Failure(5, "unauthorized", "who are you"))
    with pytest.raises(Failure, match="who are you"):
        waiting.until_ready(denied, deadline=float("inf"))


def test_two_clients_that_wait_both_get_their_change(node: Node, cli: Cli) -> None:
    """... one after the other, each made of what is there: the second one takes --force."""
    from tests.cli.kit import in_process

    codes: list[int] = []

    def change(kind: str) -> None:
        ran = in_process("update", "--field", f"@type={kind}", "--wait", "--force", env=node.env)
        codes.append(ran.code)

    threads = [Thread(target=change, args=(kind,)) for kind in ("Disabled", "Memory")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]
    assert cli("update", "--field", "@type=Memory", "--wait").code == 0


# -- history ---------------------------------------------------------------------------------------


def test_history_has_the_versions_and_where_rollback_goes(node: Node, cli: Cli) -> None:
    where = ("--state-dir", str(node.state))
    before = cli("get", "--raw-state").out.strip()
    assert cli("update", "--field", "@type=Disabled").code == 0
    assert cli("update", "--field", "@type=Disabled").code == 0  # no change, no version
    assert cli("update", "--field", "@type=Nats", "--field", "addresses=127.0.0.1:1").code == 7
    assert cli("update", "--field", "@type=Memory").code == 0
    now = cli("get", "--raw-state").out.strip()
    versions = cli("history", "--last", "2", "--json", *where).lines()
    generation = int(before.rpartition("-")[2])
    assert [int(one["state"].rpartition("-")[2]) for one in versions] == [generation + 1, generation + 2]
    assert [one.get("version") for one in versions] == ["before", "current"]
    assert versions[1]["state"] == now
    assert versions[1]["changed"] == [{"path": "@type", "old": "Disabled", "new": "Memory"}]
    told = cli("history", *where)
    assert told.out.splitlines()[0].split() == ["state", "since", "by", "method", "what"]
    assert told.out.splitlines()[-2].endswith("(rollback goes here) @type: Memory -> Disabled")
    assert told.out.splitlines()[-1].endswith("(now) @type: Disabled -> Memory")
    assert cli("rollback", "--to", str(generation + 1)).code == 0
    assert cli("history", "--last", "1", "--json", *where).lines()[0]["method"] == "rollback"
    assert cli("update", "--field", "@type=Memory").code == 0


def test_history_of_a_change_that_did_not_work(tmp_path: Path, cli: Cli) -> None:
    def record(at: str, outcome: str, before: str, after: str, **change: int) -> dict[str, Any]:
        states = {"oldState": before, "newState": after, "changed": [{"path": "timeout", **change}]}
        return {"ts": at, "token": "me", "method": "set", "outcome": outcome, **states}

    records = [
        record("t1", "applied", "a-0", "a-1", old=1, new=2),
        record("t2", "rejected", "a-1", "a-1", old=2, new=3),
        record("t3", "rolled_back", "a-1", "a-3", old=2, new=3),
    ]
    (tmp_path / "audit.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records) + '{"half')
    assert [one["state"] for one in cli("history", "--json", "--state-dir", str(tmp_path)).lines()] == [
        "a-1",
        "a-3",
    ]
    last = cli("history", "--state-dir", str(tmp_path)).out.splitlines()[-1]
    assert last.split(maxsplit=4) == ["a-3", "t3", "me", "set", "as before: the change did not work"]
    (tmp_path / "empty").mkdir()
    ran = cli("history", "--state-dir", str(tmp_path / "empty"))
    assert (ran.code, ran.out) == (0, "")
    assert "nothing was changed yet" in ran.err
    assert cli("history", "--last", "0", "--json", "--state-dir", str(tmp_path)).out == ""
