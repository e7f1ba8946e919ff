"""Brokers in containers, against a real Docker engine: the one that answers, else one of our own.

Ours can pull no image: it has the stand-ins of `tests.containers.stand_ins`. Without root, dockerd and
debootstrap the tests are skipped, and fail where CI is set.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import pytest

from bus import Bus, Event
from bus.testing.brokers import KINDS, ContainerBroker, StartError, Unavailable, containers, images, start
from bus.testing.brokers.process import own_path, until
from tests.containers import stand_ins
from tests.containers.engine import engine

# The first test of a machine also fetches and builds the images.
pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]


class Word(Event, tag="word"):
    text: str


class Containers(Protocol):
    def list(self, *, all: bool, filters: Mapping[str, str], ignore_removed: bool) -> list[object]: ...


class Client(Protocol):
    containers: Containers

    def close(self) -> None: ...


def remaining() -> int:
    """How many containers there are, of ours (testcontainers marks them)."""
    client = cast("Callable[[], Client]", importlib.import_module("docker").from_env)()
    try:
        return len(
            client.containers.list(all=True, filters={"label": "org.testcontainers"}, ignore_removed=True)
        )
    finally:
        client.close()


async def carries(url: str) -> None:
    """Two buses hear each other through it."""
    async with Bus.open(url, node="a", events=[Word]) as a, Bus.open(url, node="b", events=[Word]) as b:
        await a.ready(20, peers=1)
        await b.ready(20, peers=1)
        async with b.subscribe(Word) as inbox:
            a.publish(Word("through a container"))
            async with asyncio.timeout(10):
                assert await anext(aiter(inbox)) == Word("through a container")


@pytest.fixture(scope="module", autouse=True)
def engine_with_images() -> Iterator[None]:
    try:
        containers.probe_engine()
    except Unavailable:
        pass
    else:
        yield
        return
    with (
        tempfile.TemporaryDirectory(prefix="bus-docker-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        try:
            with engine(Path(folder)) as url:
                patch.setenv("DOCKER_HOST", url)
                stand_ins.build(set(images.IMAGES.values()))
                yield
        except Unavailable as error:
            reason = str(error)
        else:
            return
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_broker_in_a_container_is_killed_frozen_and_restarted(kind: str) -> None:
    before = remaining()
    broker = await asyncio.to_thread(ContainerBroker, kind)
    try:
        url = broker.url
        await carries(url)
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.kill)
        assert not broker.serves()
        await asyncio.to_thread(broker.restart)
        assert broker.url == url
        await carries(url)
        await asyncio.to_thread(broker.pause)
        assert not broker.serves()
        await asyncio.to_thread(broker.resume)
        until(broker.serves, 10, broker.logs)
        await asyncio.to_thread(broker.pause)
        await asyncio.to_thread(broker.mend)
        await carries(url)
        if kind != "zenoh":  # which prints nothing
            assert broker.logs()
    finally:
        await asyncio.to_thread(broker.stop)
    await asyncio.to_thread(broker.stop)
    assert remaining() == before


def test_a_container_is_taken_where_there_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/none")
    broker = start("redis")
    assert isinstance(broker, ContainerBroker)
    assert broker.image == images.IMAGES["redis"]
    broker.stop()


def test_nothing_is_left_when_the_process_that_started_it_is_killed() -> None:
    before = remaining()
    program = "import sys\nfrom bus.testing.brokers import ContainerBroker\n"
    program += "broker = ContainerBroker('nats')\nprint(broker.url, flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own_path()
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"nats://")
        assert remaining() == before + 1
        parent.kill()
    until(lambda: remaining() == before, 20, lambda: "its container is still there")


def test_an_image_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(images.IMAGES, "nats", "bus-has-no-such-image:0")
    with pytest.raises(Unavailable, match="no container of bus-has-no-such-image:0: "):
        ContainerBroker("nats")


def test_a_broker_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = remaining()
    broken = replace(images.recipe("redis"), command=["redis-server", "--port", "nonsense"])

    def recipe(kind: str) -> images.Recipe:
        return broken

    monkeypatch.setattr(containers, "recipe", recipe)
    with pytest.raises(StartError, match=r"ended at its start:[\s\S]*nonsense"):
        ContainerBroker("redis")
    assert remaining() == before
