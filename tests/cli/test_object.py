"""get, update, rollback, audit, token against a node that runs: what is said, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bus.testing.brokers import free_port
from tests.cli.conftest import Cli
from tests.cli.kit import Node, until

GET = """\
   field                 value
   id                    singleton
   @type                 Nats
*  addresses             ["{place}"]
   maxReconnects         -
   timeoutConnection     5s
   timeoutRequest        10s
   pingInterval          1m
   capacityClient        2048
   capacityReadBuffer    65535
   capacitySubscription  65536
   noEcho                true
   useTls                false
   authUsername          stalwart
   authSecret            {{"@type": "None"}}
   credentials           {{"@type": "None"}}
   tlsCa                 -
   tlsCert               -
   tlsKey                -
   tlsHostname           -
"""


def test_the_published_get(steady: Node, cli: Cli) -> None:
    ran = cli("get", "Coordinator")
    place = cli("get", "Coordinator", "--json").json()["addresses"][0]
    assert (ran.code, ran.out) == (0, GET.format(place=place))
    assert ran.err.startswith("state ")


def test_the_published_update_names_the_fields_that_there_are(steady: Node, cli: Cli) -> None:
    ran = cli("update", "Coordinator", "--field", "description=updated value")
    assert (ran.code, ran.out) == (4, "")
    names = ", ".join(line[3:].split()[0] for line in GET.splitlines()[3:])
    assert ran.err == f"error: not changed: description: unknown field; allowed: {names}\n"
    ran = cli("update", "Coordinator", "--field", "description=updated value", "--json")
    assert (ran.code, ran.out) == (4, "")
    error = ran.error()
    assert (error["type"], error["properties"]) == ("invalidProperties", ["description"])
    assert error["validationErrors"][0]["code"] == "unknown"


def test_some_fields_and_the_state_alone(steady: Node, cli: Cli) -> None:
    ran = cli("get", "--fields", "pinginterval,noEcho", "--json", "-q")
    assert ran.json() == {"@type": "Nats", "pingInterval": 60_000, "noEcho": True}
    assert ran.err == ""
    assert cli("get", "--raw-state").out.strip() in cli("get").err
    ran = cli("get", "--fields", "brokers")
    assert ran.code == 2
    assert "Nats has no field brokers" in ran.err


def test_what_get_has_said_changes_nothing(steady: Node, cli: Cli) -> None:
    told = cli("get", "--json").out
    ran = cli("update", "Coordinator", "--stdin", stdin=told)
    assert (ran.code, ran.out) == (0, "nothing to change: it is so already\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["get", "Account"], 'there is no object "Account"'),
        (["get", "Coordinator", "two"], 'there is no Coordinator "two"'),
        (["update"], "nothing to change"),
        (["update", "--field", "noEcho"], "--field needs name=value"),
        (["update", "--field", "noEcho={"], "is no JSON"),
        (["update", "--field", "noEcho=true", "--field", "noecho=false"], "noEcho is given twice"),
        (["update", "--field", "noEcho=true", "--nodes", " , "], "--nodes names nobody"),
        (["update", "--field", "noEcho=true", "--nodes", "http://h:1,http://h:1"], "names http://h:1 twice"),
        (["update", "--field", "a=b", "--nodes", "http://h:1", "--if-state", "x"], "the state of one node"),
        (["get", "--url", "ftp://h"], "is no URL of an admin server"),
        (["get", "--url", "http://u:hunter2@h"], "holds no user or password"),
        (["get", "--url", "http://h:port"], "the port must be a number"),
        (["get", "--timeout", "0"], "--timeout is 0"),
        (["get", "--profile", "none"], "has no profile none"),
    ],
)
def test_wrong_usage_is_explained(words: list[str], text: str, steady: Node, cli: Cli) -> None:
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    assert text in ran.err
    assert "hunter2" not in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ["--field", "authSecret=hunter2"],
        ["--field", "authSecret/secret=hunter2"],
        ["--field", 'authSecret={"@type": "Value", "secret": "hunter2"}'],
        ["--field", "@type=Redis", "--field", "url=redis://:hunter2@h"],
        ["--field", "@type=RedisCluster", "--field", "urls=redis://a,redis://u:hunter2@h"],
        ["--field", "@type=Zenoh", "--field", 'config={transport:{auth:{usrpwd:{password:"hunter2"}}}}'],
        ["--json", '{"authSecret": {"@type": "Value", "secret": "hunter2"}}'],
        ["--json", '{"authSecret/secret": "hunter2"}'],
    ],
)
def test_a_secret_on_the_command_line_is_refused_with_the_way_to_do_it(
    words: list[str], steady: Node, cli: Cli
) -> None:
    ran = cli("update", "Coordinator", *words)
    assert (ran.code, ran.out) == (2, "")
    assert "a secret on the command line can be read by everybody" in ran.err
    assert "--field-file authSecret/secret=FILE" in ran.err
    assert "hunter2" not in ran.err


def test_a_secret_comes_from_a_file_or_from_stdin_and_is_never_shown(
    steady: Node, cli: Cli, tmp_path: Path
) -> None:
    # With --validate schema, and dry: the server of the tests wants no login.
    (tmp_path / "pw").write_text("hunter2\n")
    for words, stdin in (
        (["--field-file", f"authSecret/secret={tmp_path}/pw"], ""),
        (["--field-file", "authSecret/secret=-"], "hunter2"),
        (["--field-file", "authSecret/secret=@-"], "hunter2\n"),
        (["--stdin"], '{"authSecret": {"@type": "Value", "secret": "hunter2"}}'),
    ):
        ran = cli("update", *words, "--dry-run", "--validate", "schema", stdin=stdin)
        assert (ran.code, ran.out) == (0, "it would work; nothing was changed\n"), ran.err
    assert "hunter2" not in cli("audit", "--state-dir", str(steady.state)).out
    ran = cli("update", "--field-file", "authSecret/secret=/nowhere")
    assert (ran.code, ran.err) == (4, "error: /nowhere: No such file or directory\n")


def test_every_kind_of_value_gets_its_type(node: Node, cli: Cli, tmp_path: Path) -> None:
    words = [
        "--field", "type=nats", "--field", "addresses=a:4222, b:4222", "--field", "pinginterval=1m30s",
        "--field", "maxReconnects=null", "--field", "noEcho=FALSE", "--field", "capacityClient=7",
        "--field", f"authSecret/filePath={node.state}/secrets/pw", "--field", '"authUsername"=a=b',
    ]  # fmt: skip
    ran = cli("update", "Coordinator", *words, "--validate", "none", "--json")
    assert ran.code == 0, ran.err
    found = cli("get", "--json").json()
    assert found["addresses"] == ["a:4222", "b:4222"]
    assert (found["pingInterval"], found["noEcho"], found["capacityClient"]) == (90_000, False, 7)
    assert found["authSecret"] == {"@type": "File", "filePath": f"{node.state}/secrets/pw"}
    assert found["authUsername"] == "a=b"
    changed = ran.json()["changed"]
    assert changed["pingInterval"] == {"old": None, "new": 90_000}
    file = tmp_path / "back.toml"
    file.write_text('[coordinator]\n"@type" = "Memory"\n')
    ran = cli("update", "--file", str(file), "--force")
    assert ran.code == 0, ran.err
    assert cli("get", "--json").json() == {"id": "singleton", "@type": "Memory"}


def test_a_state_that_is_no_more_is_exit_code_6(node: Node, cli: Cli) -> None:
    ran = cli("update", "--field", "@type=Disabled", "--if-state", "00000000-7", "--json")
    assert (ran.code, ran.error()["type"]) == (6, "stateMismatch")


def test_a_server_that_is_not_there_is_exit_code_7_and_its_stage_is_named(node: Node, cli: Cli) -> None:
    place = f"127.0.0.1:{free_port()}"
    ran = cli("update", "--field", "@type=Nats", "--field", f"addresses={place}", "--json")
    assert (ran.code, ran.out) == (7, "")
    assert (ran.error()["type"], ran.error()["stage"]) == ("connectionFailed", "connect")
    assert place in ran.error()["message"]


def test_rollback_and_the_trail_of_what_was_done(node: Node, cli: Cli) -> None:
    state = cli("get", "--raw-state").out.strip()
    assert cli("update", "--field", "@type=Disabled").out.startswith(f"changed from state {state} to ")
    assert cli("get", "--json").json()["@type"] == "Disabled"
    ran = cli("rollback", "--dry-run")
    assert (ran.code, ran.out) == (0, "it would work; nothing was changed\n")
    ran = cli("rollback", "--to", "99")
    assert ran.code == 1
    assert "the only version that is kept" in ran.err
    ran = cli("rollback", "--json")
    assert ran.code == 0
    assert ran.json()["changed"] == {"@type": {"old": "Disabled", "new": "Memory"}}
    trail = cli("audit", "--state-dir", str(node.state), "--last", "1", "--json").lines()
    assert [one["method"] for one in trail] == ["rollback"]
    text = cli("audit", "--state-dir", str(node.state), "--last", "1").out
    assert " rollback applied by " in text
    assert "    @type: Disabled -> Memory\n" in text


def test_tokens_are_made_used_listed_and_revoked(
    node: Node, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--state-dir", str(node.state))
    made = cli("token", "create", "reader", "--permission", "sysCoordinatorGet", "--expires", "90d", *where)
    assert made.code == 0
    text, id = made.out.strip(), made.out.split("_")[1]
    assert text.startswith("bus_")
    assert text not in made.err
    listed = cli("token", "list", *where)
    assert f"{id}  reader" in listed.out
    assert text not in listed.out
    assert {one["name"] for one in cli("token", "list", "--json", *where).json()} >= {"admin", "reader"}
    (tmp_path / "token").write_text(text)
    mine = ("--token-file", str(tmp_path / "token"))
    # A node looks once a second; only ten failed logins a minute are allowed.
    until(lambda: cli("get", *mine).code == 0, pause=0.5)
    ran = cli("update", "--field", "@type=Disabled", *mine, "--json")
    assert (ran.code, ran.error()["type"]) == (5, "forbidden")
    assert cli("token", "revoke", id, *where).out == f"revoked {id}\n"
    assert cli("token", "revoke", id, *where).code == 1
    ran = cli("token", "create", "x", "--permission", "everything", *where)
    assert ran.code == 2
    assert "no such permission: everything" in ran.err
    assert cli("token", "create", "x", "--permission", "busEventsRead", "--expires", "soon", *where).code == 2


def test_who_has_no_token_or_a_wrong_one_is_told_where_to_get_it(
    node: Node, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BUS_TOKEN_FILE")
    ran = cli("get")
    assert (ran.code, ran.out) == (5, "")
    assert "answers 401: send Authorization" in ran.err
    assert "BUS_TOKEN_FILE" in ran.err
    monkeypatch.setenv("BUS_TOKEN", "x" * 40)
    assert "unknown, revoked or expired" in cli("get").err
    ran = cli("get", "--token-file", str(tmp_path / "none"))
    assert ran.code == 5
    assert "No such file" in ran.err
    assert "x" * 40 not in ran.err


def test_settings_of_the_user_come_from_his_file_and_its_profiles(
    node: Node, steady: Node, home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BUS_URL")
    monkeypatch.delenv("BUS_TOKEN_FILE")
    file = home / ".config/bus/cli.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        f'url = "{node.url}"\ntokenFile = "{node.token}"\n'
        f'[profiles.nats]\nurl = "{steady.url}"\ntokenFile = "{steady.token}"\n'
    )
    file.chmod(0o600)
    assert cli("get", "--json").json()["@type"] == "Memory"
    assert cli("get", "--json", "--profile", "nats").json()["@type"] == "Nats"
    monkeypatch.setenv("BUS_URL", "http://127.0.0.1:1")
    assert cli("get").code == 3
    # A profile goes before the environment, a flag before all.
    assert cli("get", "--profile", "nats").code == 0
    assert cli("get", "--url", node.url).code == 0
    file.chmod(0o644)
    ran = cli("get", "--url", node.url)
    assert ran.code == 4
    assert "chmod 600" in ran.err
    file.chmod(0o600)
    file.write_text("uri = 'x'\n")
    assert "there is no setting uri; there are url, token, tokenFile, caFile" in cli("get").err


def test_a_cluster_is_changed_node_by_node_or_not_at_all(
    nats_nodes: list[Node], cli: Cli, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    file = home / ".config/bus/cli.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "".join(
            f'[profiles.{node.name}]\nurl = "{node.url}"\ntokenFile = "{node.token}"\n' for node in nats_nodes
        )
    )
    file.chmod(0o600)
    names = ",".join(node.name for node in nats_nodes)
    ran = cli("update", "--nodes", names, "--field", "capacityClient=0")
    assert ran.code == 4
    assert [line.split("  ")[-2:] for line in ran.out.splitlines()[1:]] == [
        ["FAILED", "-"],
        ["not asked", "-"],
    ] or ("FAILED" in ran.out and "not asked" in ran.out)
    assert "nothing was changed anywhere" in ran.err
    ran = cli("update", "--nodes", names, "--field", "capacityClient=1000", "--json")
    assert ran.code == 0, ran.err
    told = ran.json()
    assert told["phase"] == "change"
    assert [one["outcome"] for one in told["nodes"]] == ["changed", "changed"]
    ran = cli("update", "--nodes", names, "--field", "capacityClient=null")
    assert (ran.code, ran.out.count("changed")) == (0, 2)
    ran = cli("update", "--nodes", names, "--field", "capacityClient=2048", "--dry-run")
    assert (ran.code, ran.out.count("would work")) == (0, 2)


def test_the_names_of_json_stay_in_order(steady: Node, cli: Cli) -> None:
    assert list(json.loads(cli("get", "--json").out))[:3] == ["id", "@type", "addresses"]
