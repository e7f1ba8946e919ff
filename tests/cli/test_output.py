"""Colour, width, encodings, tables; completion; what the audit trail and a field become for people."""

from __future__ import annotations

import io
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, cast

import pytest

from bus.cli import COMMANDS, output, typed
from bus.cli.describe import known_schema, type_words
from bus.cli.failure import Failure
from bus.cli.logs import JsonFormat, TextFormat
from bus.testing.brokers.process import own_path
from tests.cli.conftest import Cli
from tests.cli.kit import BUS, clean, in_process


class Terminal(io.StringIO):
    """A stream that says it is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("env", "wish", "stream", "is_coloured"),
    [
        ({}, "auto", Terminal(), True),
        ({}, "auto", io.StringIO(), False),
        ({"NO_COLOR": "1"}, "auto", Terminal(), False),
        ({"NO_COLOR": ""}, "auto", Terminal(), True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, "auto", Terminal(), False),
        ({"FORCE_COLOR": "1"}, "auto", io.StringIO(), True),
        ({"TERM": "dumb"}, "auto", Terminal(), False),
        ({"NO_COLOR": "1"}, "always", io.StringIO(), True),
        ({"FORCE_COLOR": "1"}, "never", Terminal(), False),
    ],
)
def test_who_wants_colour_gets_it(
    env: dict[str, str], wish: str, stream: Any, is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, text in env.items():
        monkeypatch.setenv(name, text)
    assert output.is_coloured(stream, wish) is is_coloured


def test_flags_and_variables_of_colour_reach_the_commands(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" not in cli("describe", "Nats").out
    assert "\x1b[1m" in cli("describe", "Nats", "--color=always").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[31merror:\x1b[0m" in cli("get", "--url", "http://127.0.0.1:1").err
    assert "\x1b[" not in cli("get", "--url", "http://127.0.0.1:1", "--color", "never").err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in cli("describe", "Nats").out


def test_a_table_is_as_wide_as_it_must_be_or_as_the_terminal() -> None:
    rows = [("a", "x" * 30), ("bb", "y")]
    assert output.table_lines(("k", "value"), rows, None) == ["k   value", f"a   {'x' * 30}", "bb  y"]
    assert output.table_lines(("k", "value"), rows, 20) == ["k   value", f"a   {'x' * 15}…", "bb  y"]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_the_width_is_that_of_columns(columns: int, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cli("config", "show").out.splitlines()
    monkeypatch.setenv("COLUMNS", str(columns))
    cut = cli("config", "show").out.splitlines()
    assert len(cut) == len(whole)
    assert max(map(len, cut)) <= columns
    assert [one[: columns - 1] for one in cut] == [one[: columns - 1] for one in whole]


def test_where_the_encoding_is_not_utf_8_there_is_only_ascii() -> None:
    words = ["config", "show", "--node", "näme…"]
    ran = subprocess.run(
        [*BUS, *words], capture_output=True, timeout=30,
        env=clean(own_path()) | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "COLUMNS": "30"},
    )  # fmt: skip
    assert ran.returncode == 0
    assert ran.stdout.isascii()
    assert b"n?me~" in ran.stdout


def test_errors_of_json_are_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    made = output.Output(Namespace(json=True))
    made.failed(Failure(4, "kind", "what\nhappened", "mend it", ("a", "b"), stage="x"))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        '{"error": {"type": "kind", "message": "what\\nhappened", "hint": "mend it", '
        '"properties": ["a", "b"], "stage": "x"}}\n'
    )


def test_notes_and_warnings_are_silent_when_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet, said in ((False, "note\nwarning: careful\n"), (True, "")):
        made = output.Output(Namespace(quiet=quiet))
        made.note("note")
        made.warn("careful")
        assert capsys.readouterr().err == said


def test_what_could_move_the_cursor_is_not_printed() -> None:
    assert output.shown("a\x1b[2Jb\nc") == "a?[2Jb?c"


NATS = cast("dict[str, dict[str, object]]", typed.variant(known_schema(), "Nats"))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("noEcho", "true", True),
        ("noEcho", "yes", "yes"),
        ("capacityClient", "7", 7),
        ("capacityClient", "-7", -7),
        ("capacityClient", "7.5", "7.5"),
        ("maxReconnects", "null", None),
        ("maxReconnects", "3", 3),
        ("pingInterval", "500", 500),
        ("pingInterval", "5s", "5s"),
        ("addresses", "a", ["a"]),
        ("addresses", '["a", "b"]', ["a", "b"]),
        ("addresses", '{"a": true}', {"a": True}),
        ("authUsername", "true", "true"),
        ("authUsername", "7", "7"),
        ("authUsername", "[x]", "[x]"),
        ("authUsername", '"null"', "null"),
        ("authSecret", "none", {"@type": "None"}),
        ("credentials", '{"@type": "None"}', {"@type": "None"}),
    ],
)
def test_text_becomes_what_the_schema_wants(name: str, text: str, value: object) -> None:
    assert typed.value_of(text, NATS[name]) == value


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("a=b", "a", "b"),
        ("a=b=c", "a", "b=c"),
        ("a=", "a", ""),
        (" a =b", "a", "b"),
        ('"a=b"=c', "a=b", "c"),
        ('"a\\"b"=c', 'a"b', "c"),
    ],
)
def test_a_field_is_split_at_the_first_equals_outside_of_quotes(text: str, key: str, value: str) -> None:
    assert typed.split(text) == (key, value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pingInterval", "duration"),
        ("addresses", "list"),
        ("noEcho", "boolean"),
        ("authSecret", "secret"),
        ("capacityClient", "integer from 1"),
        ("authUsername", "string"),
    ],
)
def test_types_have_words(name: str, words: str) -> None:
    assert type_words(NATS[name]) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_its_options(shell: str, cli: Cli) -> None:
    told = cli("completion", shell)
    assert told.code == 0
    assert all(name in told.out for name in COMMANDS)
    assert "field-file" in told.out
    assert cli("completion", "tcsh").code == 2


def test_bash_completes() -> None:
    script = in_process("completion", "bash").out
    ask = (
        "complete() { :; }\n"
        + script
        + "\nCOMP_WORDS=(bus update --fi); COMP_CWORD=2; _bus; echo ${COMPREPLY[@]}\n"
        "COMP_WORDS=(bus do); COMP_CWORD=1; _bus; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines() == ["--field --field-file --file", "doctor"], done.stderr


def test_logs_are_text_or_json_without_secrets() -> None:
    import logging

    record = logging.LogRecord("bus.x", logging.INFO, "f", 1, "login with %s", ("hunter2",), None)

    def scrub(text: str) -> str:
        return text.replace("hunter2", "****")

    assert TextFormat(scrub).format(record).endswith(" INFO bus.x: login with ****")
    told = JsonFormat("n", scrub).format(record)
    assert '"node": "n", "msg": "login with ****"' in told
    try:
        raise ValueError("hunter2")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "hunter2" not in JsonFormat("n", scrub).format(record)
    assert '"error": "ValueError"' in JsonFormat("n", scrub).format(record)


def test_without_a_trail_audit_says_so(cli: Cli, tmp_path: Path) -> None:
    ran = cli("audit", "--state-dir", str(tmp_path))
    assert (ran.code, ran.out) == (0, "")
    assert "nothing was changed yet" in ran.err
    (tmp_path / "audit.jsonl").write_text('{"ts": "T", "method": "set"}\n{"ha')
    assert len(cli("audit", "--state-dir", str(tmp_path), "--json").lines()) == 1
