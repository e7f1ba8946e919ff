"""Each extra alone in a clean environment: it is enough for what it is for, and nothing else comes along."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.testing.brokers import start_own
from tests.release.archives import ROOT, Archives
from tests.release.place import Place, this_python

EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
FOR_US = {"dev", "docs"}
WHOLE = {"all"}  # test_whole.py
# Extra -> our package of it, and the client library that it brings.
BACKENDS = {
    "zenoh": ("bus_zenoh", "zenoh"), "kafka": ("bus_kafka", "aiokafka"), "nats": ("bus_nats", "nats"),
    "redis": ("bus_redis", "hiredis"),
}  # fmt: skip
# Each with an environment of its own, so that they need not wait for one another; the slowest first.
BROKERS = [
    ("kafka", "kafka"), ("redis", "redis-sentinel"), ("redis", "redis-cluster"), ("redis", "redis"),
    ("nats", "nats"),
]  # fmt: skip

# The suite that authors of backends use, as they use it.
CONFORMANCE = """
import os
import pytest
from bus.testing.conformance import Conformance, Harness

class TestIt(Conformance):
    @pytest.fixture
    def harness(self):
        return Harness(coordinator=lambda: os.environ["URL"], patience=20, open_timeout=20)
"""
SEALED = """
import asyncio
from bus import Bus

async def main():
    key = "a key of sixteen bytes or more"
    async with Bus.open("memory://", node="a", key=key) as a, Bus.open("memory://", node="b", key=key) as b:
        await a.ready(peers=1)
        await b.ready(peers=1)
        print("sealed")

asyncio.run(main())
"""
ON_UVLOOP = """
import uvloop
from bus import Bus

async def main():
    async with Bus.open("memory://") as bus:
        await bus.ready()
        print(bus.status().state)

uvloop.run(main())
"""
ADMIN = """
import asyncio
from urllib.request import urlopen
from bus import Bus
from bus.admin import AdminServer

async def main():
    async with Bus.open("memory://") as bus, AdminServer(bus, state_dir="s", listen="127.0.0.1:0") as admin:
        await bus.ready()
        with await asyncio.to_thread(urlopen, admin.url + "/health/ready") as answer:
            print(answer.read().decode())

asyncio.run(main())
"""
PYTEST = ("pytest", "pytest-asyncio", "pytest-timeout")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def place_of(archives: Archives, tmp_path: Path) -> Callable[..., Place]:
    """An environment with the wheel, with this extra or none, and what else is named."""

    def make(extra: str, *more: str) -> Place:
        wheel = f"{archives.wheel}[{extra}]" if extra else str(archives.wheel)
        return Place.made(tmp_path / (extra or "none"), this_python(), wheel, *more)

    return make


def imports(place: Place, extra: str) -> None:
    """The package of this extra has its library, no library of another one is there, the command starts."""
    there = {name for name, (_, library) in BACKENDS.items() if place.has(library)}
    assert there == ({extra} & BACKENDS.keys())
    place.run("-c", "import bus" + "".join(f", {name}" for name in BACKENDS.get(extra, ())))
    assert "usage: bus" in place.bus("--help")


def demo(place: Place, *words: str) -> None:
    """The demo ends with a balanced ledger."""
    ledger = json.loads(place.bus("demo", "--json", "--seconds", "3", *words).splitlines()[-1])
    assert ledger["balanced"]
    assert ledger["published"] > 100


def conforms(place: Place, url: str) -> None:
    """The suite passes there."""
    (place.folder / "test_it.py").write_text(CONFORMANCE)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "150", "test_it.py"]
    options = ["-o", "asyncio_default_fixture_loop_scope=function"]
    said = place.run(*words, *options, env={"URL": url}, seconds=400)
    assert " passed" in said


def test_every_extra_is_checked_here() -> None:
    checked = set(re.findall(r'place_of\("(\w+)"', Path(__file__).read_text()))
    assert checked | {extra for extra, _ in BROKERS} | WHOLE | FOR_US == set(EXTRAS)


def test_without_an_extra_it_is_the_core(place_of: Callable[..., Place]) -> None:
    place = place_of("", *PYTEST)
    assert "0.1.0" in place.bus("version")
    imports(place, "")
    demo(place, "--backend", "memory")
    conforms(place, "memory://")
    missing = (
        "import bus\ntry:\n    bus.Bus.open('nats://127.0.0.1')\nexcept bus.ConfigError as e:\n    print(e)"
    )
    assert "pip install 'coordinator-bus[nats]'" in place.run("-c", missing)


@pytest.mark.parametrize(("extra", "kind"), BROKERS)
def test_a_backend_with_its_extra_alone(extra: str, kind: str, place_of: Callable[..., Place]) -> None:
    place = place_of(extra, *PYTEST)
    imports(place, extra)
    broker = start_own(kind)
    try:
        demo(place, "--url", broker.url)
        conforms(place, broker.url)
    finally:
        broker.stop()


def test_zenoh_alone(place_of: Callable[..., Place]) -> None:
    place = place_of("zenoh", *PYTEST)
    imports(place, "zenoh")
    demo(place)
    conforms(place, "zenoh://")


def test_yaml_alone(place_of: Callable[..., Place]) -> None:
    place = place_of("yaml")
    (place.folder / "bus.yaml").write_text("'@type': Memory\n")
    assert "valid (Memory)" in place.bus("validate", "bus.yaml")


def test_fast_alone(place_of: Callable[..., Place]) -> None:
    place = place_of("fast")
    program = "import bus.protocol.frame, sys; print([m for m in sys.modules if m.startswith('isal')])"
    assert "isal" in place.run("-c", program)
    demo(place, "--backend", "memory")


def test_seal_alone(place_of: Callable[..., Place]) -> None:
    assert "sealed" in place_of("seal").run("-c", SEALED)


def test_uvloop_alone(place_of: Callable[..., Place]) -> None:
    assert "READY" in place_of("uvloop").run("-c", ON_UVLOOP)


def test_rich_alone(place_of: Callable[..., Place]) -> None:
    demo(place_of("rich"), "--backend", "memory")


def test_admin_alone(place_of: Callable[..., Place]) -> None:
    assert '"pass"' in place_of("admin").run("-c", ADMIN)


def test_metrics_alone(place_of: Callable[..., Place]) -> None:
    place = place_of("metrics")
    place.run("-c", "import prometheus_client, bus.metrics")


def test_otel_alone(place_of: Callable[..., Place]) -> None:
    place = place_of("otel")
    place.run("-c", "import opentelemetry.trace, bus.tracing")


def test_testing_alone(place_of: Callable[..., Place]) -> None:
    place = place_of("testing")
    program = (
        "from bus.testing.brokers import NatsServer\nwith NatsServer() as server:\n    print(server.url)"
    )
    assert "nats://127.0.0.1:" in place.run("-c", program)
