"""What is typed wrong gets exit code 2, and a text that says what is possible."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bus
from bus.cli import COMMANDS, main


def usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--backend", "nats"], "the backend 'nats' is not available; available: memory, zenoh"),
        (["--backend", "memory", "--kill"], "--kill needs nodes that are processes"),
        (["--nodes", "1"], "--nodes is 1; 2 to 32 are possible"),
        (["--nodes", "many"], "invalid int value: 'many'"),
        (["--seconds", "0"], "--seconds is 0; it must be above 0"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--url", "nats://127.0.0.1"], "the backend 'nats' is not available"),
        (["--url", "127.0.0.1"], "--url has no scheme"),
        (["--backend", "zenoh", "--url", "memory://"], "--backend is zenoh: leave one out"),
        (["--url", "zenoh://127.0.0.1:x"], "port"),
        (["--color"], "unrecognized arguments: --color"),
    ],
)
def test_wrong_usage_is_explained(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert text in usage_error(["demo", *arguments], capsys)


@pytest.mark.parametrize("url", ["nats://user:hunter2@h", "user:hunter2@h", "zenoh://u:hunter2@h:x"])
def test_a_password_in_a_url_is_never_shown(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hunter2" not in usage_error(["demo", "--url", url], capsys)


def test_no_command_and_an_unknown_one_list_the_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "COMMAND" in usage_error([], capsys)
    assert all(name in usage_error(["fly"], capsys) for name in COMMANDS)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(name in told and text in told for name, (_, text) in COMMANDS.items())


def test_help_of_a_command_names_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--help"]) == 0
    told = capsys.readouterr().out
    for argument in ("--backend", "--url", "--nodes", "--seconds", "--kill", "--json"):
        assert argument in told


def test_version_is_printed_and_loads_no_command() -> None:
    script = (
        "import sys; from bus.cli import main; code = main(['--version']);"
        "print(code, [name for name in sys.modules if name.startswith('bus.demo')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == f"bus {bus.__version__}\n0 []\n"
