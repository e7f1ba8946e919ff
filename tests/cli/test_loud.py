"""-v and --debug: what is done and what goes over the wire, on stderr, without a secret in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.kit import Node, in_process
from tests.config.test_canary import CANARY


def ran(node: Node, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """In a process of its own: logging is set up for the whole of it."""
    done = in_process(*words, stdin=stdin, env=node.env)
    return done.code, done.out, done.err


def test_verbose_tells_each_request(steady: Node, cli: Cli) -> None:
    code, out, err = ran(steady, "get", "--json", "-v")
    assert (code, out) == (0, cli("get", "--json").out)
    assert "INFO bus.cli.http: POST /api: 200 in " in err
    assert "methodCalls" not in err


def test_debug_tells_what_goes_over_the_wire_but_no_secret(steady: Node, tmp_path: Path) -> None:
    token = steady.token.read_text().strip()
    patch = json.dumps({"authSecret": {"@type": "Value", "secret": CANARY}, "authUsername": "ann"})
    words = ("update", "--stdin", "--dry-run", "--validate", "schema", "--debug")
    code, out, err = ran(steady, *words, stdin=patch)
    assert (code, out) == (0, "it would work; nothing was changed\n"), err
    assert f"> POST {steady.url}/api\n> Accept: application/json\n> Authorization: ****\n" in err
    assert '"authUsername": "ann"' in err
    assert '"secret": "****"' in err
    assert "< 200 OK\n" in err
    assert "< content-type: application/json\n" in err
    code, _, err_2 = ran(
        steady, "update", "--stdin", "--validate", "schema", "--debug", stdin=f'{{"authSecret": "{CANARY}"}}'
    )
    assert code == 4
    assert token not in err + err_2
    assert CANARY not in err + err_2


def test_commands_on_the_bus_log_too_and_hide_their_login(cli: Cli) -> None:
    done = in_process("doctor", "--url", f"redis://:{CANARY}@127.0.0.1:1", "--debug")
    assert done.code == 7
    assert CANARY not in done.out + done.err


def test_quiet_and_loud_exclude_each_other(cli: Cli) -> None:
    assert cli("get", "-q", "-v").code == 2


@pytest.mark.parametrize("flag", ["-v", "--debug"])
def test_errors_stay_the_last_line_for_programs(flag: str, steady: Node) -> None:
    done = in_process("get", "Account", "--json", flag, env=steady.env)
    assert (done.code, done.out) == (2, "")
    assert done.error()["type"] == "usage"
