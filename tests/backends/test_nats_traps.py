"""The traps of nats-py that are avoided by never making a call, and what an upgrade of it must not change."""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

import bus_nats
from bus.testing.brokers.broker import Broker
from tests.backends.nats_kit import End, ends

FOLDER = Path(bus_nats.__file__).parent
# Attribute -> why it is not used here.
TRAPS = {
    "flush": "its PONG kills the reading task when it is late (T1)",
    "rtt": "its PONG kills the reading task when it is late (T1)",
    "drain": "it never ends when the server is frozen (T11)",
    "publish": "it swallows a cancel, and buffers without a bound (T8)",
    "request": "the library's own reading is off",
    "subscribe": "the library's own reading is off",
    "jetstream": "the log is ours",
    "force_reconnect": "only the supervisor reconnects (T6, T21)",
    "wait_for": "it can lose a cancel",
}
# Arguments of the library that must be what they are here.
DEMANDED = {"allow_reconnect": False}


def complaints(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in TRAPS:
            yield f"line {node.lineno} uses {node.attr}: {TRAPS[node.attr]}"
        if isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                if alias.name in ("nats", "connect"):
                    yield f"line {node.lineno} imports {alias.name}: Client and its connect leave no socket"
        if isinstance(node, ast.keyword) and node.arg in DEMANDED:
            given = node.value.value if isinstance(node.value, ast.Constant) else None
            if given is not DEMANDED[node.arg]:
                yield f"line {node.lineno}: {node.arg} must be {DEMANDED[node.arg]}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_no_file_makes_a_call_that_is_a_trap(path: Path) -> None:
    assert list(complaints(path.read_text())) == []


def test_reconnects_of_the_library_are_switched_off_where_it_connects() -> None:
    source = (FOLDER / "opening.py").read_text()
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.keyword)]
    assert [node.arg for node in calls if node.arg in DEMANDED] == list(DEMANDED)


@pytest.mark.parametrize(
    "source",
    [
        "await client.flush(1)",
        "await client.drain()",
        "await self._client.publish(subject, frame)",
        "import nats\nawait nats.connect()",
        "from nats import connect",
        "await client.connect(servers, allow_reconnect=True)",
        "await client.connect(servers, allow_reconnect=reconnects)",
        "await asyncio.wait_for(task, 1)",
    ],
)
def test_the_guard_sees_each_trap(source: str) -> None:
    assert list(complaints(source))


@pytest.mark.parametrize(
    "name",
    [
        "_select_next_server",
        "_process_info",
        "_connect_command",
        "_read_loop",
        "_ping_interval",
        "_flusher",
        "_connect_to_server",
    ],
)
def test_what_is_overridden_or_used_is_still_there(name: str) -> None:
    assert inspect.isfunction(vars(Client).get(name)), "read the new version before its bound is raised"


async def test_the_library_does_nothing_once_it_has_connected(nats_server: Broker) -> None:
    before = asyncio.all_tasks()
    end = End(nats_server.url)
    link = await end.backend.connect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    link.abort()


async def test_the_library_logs_nothing(nats_server: Broker, caplog: pytest.LogCaptureFixture) -> None:
    await End("nats://127.0.0.1:1").fails()
    async with ends(nats_server.url) as (end,):
        await end.link.send(b"x")
    assert [record for record in caplog.records if record.name.startswith("nats")] == []
