"""Starting: what `bus --version` costs, help of every command, where errors go, pipes that close, signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bus
from bus.cli import COMMANDS
from bus.testing.brokers.process import own_path
from tests.cli.conftest import Cli
from tests.cli.kit import BUS, Node, clean, in_process

# What no command needs before it does its work.
HEAVY = {"anyio", "msgspec", "zenoh", "nats", "redis", "hiredis", "aiokafka", "starlette", "uvicorn", "rich"}


def loaded(*words: str) -> tuple[set[str], float]:
    """The top-level modules that a command imports, and the milliseconds that the imports take."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bus", *words], capture_output=True, text=True,
        timeout=30, env=clean(own_path()), check=True,
    )  # fmt: skip
    lines = re.findall(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)", done.stderr)
    assert len(lines) > 20
    return {name.split(".")[0] for _, name in lines}, sum(int(own) for own, _ in lines) / 1e3


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_a_look_at_the_command_line_loads_no_runtime_and_no_library(word: str) -> None:
    modules, _ = loaded(word)
    assert modules & HEAVY == set()


@pytest.mark.parametrize("name", ["get", "update", "nodes", "watch", "publish", "top", "doctor", "run"])
def test_the_help_of_a_command_loads_no_library(name: str) -> None:
    modules, _ = loaded(name, "--help")
    assert modules & (HEAVY - {"anyio", "msgspec"}) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, cli: Cli) -> None:
    ran = cli(name, "--help")
    assert ran.code == 0
    assert ran.err == ""
    assert "--json" in ran.out or name in ("token", "config", "schema")


def test_the_public_names_are_loaded_when_they_are_asked_for() -> None:
    script = (
        "import sys, bus; print('msgspec' in sys.modules);"
        "from bus import Bus; print('msgspec' in sys.modules);"
        "print(bus.Bus is Bus, bus.config.__name__, bus.backend.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True, env=own_path()
    )
    assert done.stdout.split() == ["False", "True", "True", "bus.config", "bus.backend"]


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'bus' has no attribute 'Buss'"):
        getattr(bus, "Bus" + "s")


def test_the_version_of_everything_that_is_installed(cli: Cli) -> None:
    found = cli("version", "--json").json()
    assert found["bus"] == bus.__version__
    assert found["msgspec"]
    assert f"bus        {''}" in cli("version").out


def test_a_wrong_word_is_exit_code_2_and_json_when_asked_for(cli: Cli) -> None:
    ran = cli("get", "--colour")
    assert (ran.code, ran.out) == (2, "")
    assert "unrecognized arguments: --colour" in ran.err
    ran = cli("get", "--colour", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.error() == {
        "type": "usage", "message": "unrecognized arguments: --colour", "hint": "see bus --help",
    }  # fmt: skip


def test_a_command_may_not_be_abbreviated(cli: Cli) -> None:
    assert cli("get", "--js").code == 2


def test_a_reader_that_has_gone_ends_it_quietly() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{' '.join(BUS)} describe --json-schema | head -c 10; echo"],
        capture_output=True, text=True, timeout=30, env=clean(own_path()),
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.startswith('{\n  "$sche')


def test_a_reader_that_has_gone_is_exit_code_141() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [*BUS, "describe"], stdout=writing, stderr=subprocess.PIPE, text=True, env=clean(own_path())
    ) as process:
        os.close(writing)
        _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (141, "")


def test_ctrl_c_is_exit_code_130() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [*BUS, "get", "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=clean(own_path()),
        ) as process:  # fmt: skip
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                told = process.communicate(timeout=30)
    assert (process.returncode, *told) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, None)]
)
def test_a_node_ends_quietly_and_quickly_when_told_to(
    number: signal.Signals, code: int | None, tmp_path: Path
) -> None:
    node = Node(tmp_path, "short", ["--url", "memory://"])
    try:
        node.process.signal(number)
        if code is None:
            deadline = time.monotonic() + 5
            while not any("read again" in line["msg"] for line in node.logged()):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            return
        began = time.monotonic()
        guard = node.process._guard  # pyright: ignore[reportPrivateUsage]
        assert guard is not None
        assert guard.wait(10) == code
        assert time.monotonic() - began < 4
    finally:
        node.process.kill()
    assert [line for line in node.logged() if line["level"] not in ("info", "debug")] == []


def test_bench_is_the_benchmark_of_the_package() -> None:
    ran = in_process("bench", "--help")
    assert ran.code == 0
    assert "python -m bus.bench" in ran.out
