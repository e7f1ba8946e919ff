"""Nodes that were written from docs/wire.md alone talk with a real bus over the real servers.

Each script publishes one event and prints what it hears. In the second round the bus is deaf to the first
frame with an event: it asks for it, and the script repeats it.
"""

from __future__ import annotations

import ast
import asyncio
import json
import secrets
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bus import Bus, Event, PeerStatus
from bus.protocol.engine import Engine
from bus.protocol.frame import Header
from bus.protocol.outlet import Outlet
from bus.testing.brokers import Broker

HERE = Path(__file__).parent
LONGEST = 60
COUNT = 200
PATIENCE = 20

SCRIPTS = {
    "nats_server": "nats_node.py",
    "redis_server": "redis_node.py",
    "valkey_server": "redis_node.py",
    "redis_cluster": "redis_node.py",
    "kafka_server": "kafka_node.py",
    "zenoh_router": "zenoh_node.py",
}


class Seen(Event, tag="interop.seen"):
    """What both sides publish; the script leaves the last field out."""

    number: int
    words: tuple[str, ...]
    note: str = "-"


@pytest.fixture(params=SCRIPTS)
def server(request: pytest.FixtureRequest) -> tuple[Broker, str]:
    """One server after the other, with the script for it."""
    return request.getfixturevalue(request.param), SCRIPTS[request.param]


@pytest.fixture(params=["heard", "repeated"])
def is_deaf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the first DATA frame that comes to the bus is lost."""
    hear = Engine._receive_data  # pyright: ignore[reportPrivateUsage]  # sabotage
    is_lost = request.param == "heard"

    def miss_first(engine: Engine, outlet: Outlet, header: Header, frame: bytes) -> bool:
        nonlocal is_lost
        if is_lost:
            return hear(engine, outlet, header, frame)
        is_lost = True
        return False

    monkeypatch.setattr(Engine, "_receive_data", miss_first)
    return not is_lost


def address(url: str) -> list[str]:
    """Host and port of the last server of a URL: in a cluster not the one that the bus tries first."""
    hosts = urlsplit(url).netloc.rpartition("@")[2]
    return list(hosts.rpartition(",")[2].rpartition(":")[::2])


def ended(bus: Bus) -> PeerStatus | None:
    """The script as the bus knows it after its goodbye."""
    return next((peer for peer in bus.status().peers if peer.state == "ENDED"), None)


@pytest.mark.timeout(90)
async def test_a_node_in_another_hand_hears_and_is_heard(server: tuple[Broker, str], is_deaf: bool) -> None:
    broker, script = server
    cluster = f"interop-{secrets.token_hex(4)}"
    event = json.dumps(["interop.seen", 7, ["é", ""]])
    async with (
        asyncio.timeout(PATIENCE * 3),
        Bus.open(broker.url, cluster=cluster, events=(Seen,)) as bus,
        # Before the other one is started: it publishes at once.
        bus.subscribe(Seen) as inbox,
    ):
        await bus.ready(PATIENCE)
        command = [str(HERE / script), *address(broker.url), cluster, "crow", event, str(COUNT)]
        process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=subprocess.PIPE)
        try:
            await bus.ready(PATIENCE, peers=1)
            for number in range(COUNT):
                bus.publish(Seen(number, ("x",) * (number % 4)))
            assert await anext(inbox) == Seen(7, ("é", ""))
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0
        assert [json.loads(line) for line in output.splitlines()] == [
            {
                "epoch": bus.status().epoch,
                "number": number + 1,
                "event": ["interop.seen", number, ["x"] * (number % 4), "-"],
            }
            for number in range(COUNT)
        ]
        while (crow := ended(bus)) is None:
            await asyncio.sleep(0.02)
        assert (crow.node, crow.baseline, crow.position) == ("crow", 1, 1)
        assert (crow.delivered, crow.repaired, crow.lost) == (1, int(is_deaf), 0)


@pytest.mark.parametrize("path", sorted(HERE.glob("*_node.py")), ids=lambda path: str(path.name))
def test_a_script_is_short_and_has_nothing_of_ours(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LONGEST
    tree = ast.parse(source)
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    carriers = {"kafka_node.py": {"kafka_log"}, "zenoh_node.py": {"queue", "zenoh"}}.get(
        path.name, {"socket"}
    )
    assert names - carriers == {"json", "msgpack", "secrets", "struct", "sys", "time", "zlib"}


def test_every_script_speaks_the_same_protocol() -> None:
    """Below the lines that carry a frame they do not differ: a mistake in one is a mistake in all."""
    parts = {path.read_text().partition("    magic, _, kind")[2] for path in HERE.glob("*_node.py")}
    ends = {
        part.removesuffix("link.close()  # type: ignore[no-untyped-call]  # zenoh's stubs\n")
        for part in parts
    }
    assert len(ends) == 1
    assert "REPEAT" in ends.pop()
