"""What is typed wrong gets exit code 2, and a text that says what is possible."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bus
from bus.cli import COMMANDS, main
from bus.config import VARIANTS, Default, Disabled
from bus.demo.systems import SYSTEMS, system_of
from bus.testing import brokers
from bus.testing.brokers import Broker, Unavailable


def usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--backend", "pigeon"],
            "the backend 'pigeon' is not available; available: memory, zenoh, nats, redis, redis-cluster, "
            "redis-sentinel, kafka",
        ),
        (["--backend", "memory", "--kill"], "--kill needs nodes that are processes"),
        (["--nodes", "1"], "--nodes is 1; 2 to 32 are possible"),
        (["--nodes", "many"], "invalid int value: 'many'"),
        (["--seconds", "0"], "--seconds is 0; it must be above 0"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--url", "pigeon://127.0.0.1"], "the backend 'pigeon' is not available"),
        (["--url", "127.0.0.1"], "--url has no scheme"),
        (["--backend", "zenoh", "--url", "memory://"], "--backend is zenoh: leave one out"),
        (["--backend", "redis", "--url", "redis+cluster://h"], "--backend is redis: leave one out"),
        (["--url", "zenoh://127.0.0.1:x"], "port"),
        (["--color"], "unrecognized arguments: --color"),
    ],
)
def test_wrong_usage_is_explained(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert text in usage_error(["demo", *arguments], capsys)


@pytest.mark.parametrize("url", ["nats://user:hunter2@h:x", "user:hunter2@h", "zenoh://u:hunter2@h:x"])
def test_a_password_in_a_url_is_never_shown(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hunter2" not in usage_error(["demo", "--url", url], capsys)


def test_a_client_library_that_is_not_installed_is_named_with_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    told = usage_error(["demo", "--backend", "nats"], capsys)
    assert "nats-py, which is not installed: pip install 'coordinator-bus[nats]'" in told


def test_a_server_that_is_not_installed_is_named_with_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(kind: str) -> Broker:
        raise Unavailable(f"no {kind} server: pip install it")

    monkeypatch.setattr(brokers, "start_own", nowhere)
    told = usage_error(["demo", "--backend", "redis", "--json"], capsys)
    assert "no redis server: pip install it; or give one that runs: --url redis://127.0.0.1:6379" in told


def test_every_scheme_of_a_url_has_its_system() -> None:
    for variant in VARIANTS:
        for scheme in variant.url_schemes:
            assert SYSTEMS[system_of(scheme)].variant is variant, scheme
    assert {system.variant for system in SYSTEMS.values()} == {*VARIANTS} - {Default, Disabled}


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
