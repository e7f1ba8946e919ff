"""Secrets and certificates that somebody renews: the next connect reads them, a running link is replaced."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bus import Bus
from bus.config import File, Nats
from bus.testing.brokers import Certificates, NatsServer
from bus.testing.brokers.fixtures import BrokerFactory
from tests.admin.kit import World, until, world
from tests.bus.cluster import Note, cluster_name, notes, until as until_within


def write(path: Path, text: str) -> None:
    """As those do who renew secrets: by a rename."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(path)


def links(bus: Bus) -> set[object]:
    return set(bus._node.links)  # pyright: ignore[reportPrivateUsage]  # which ones, not only how many


async def renewals(here: World, count: int) -> list[dict[str, Any]]:
    """So many, as they were audited."""
    await until_within(lambda: len(here.audited()) >= count, 10)
    found = here.audited()
    assert {one["method"] for one in found} == {"renew"}
    return found


@pytest.mark.timeout(40)
async def test_the_next_connect_reads_the_new_password(broker_of: BrokerFactory, tmp_path: Path) -> None:
    server = await asyncio.to_thread(broker_of, NatsServer, auth="password", password="first")
    secret = tmp_path / "password"
    write(secret, "first\n")
    config = Nats(
        addresses=(f"127.0.0.1:{server.port}",), auth_username=server.user, auth_secret=File(str(secret))
    )
    async with Bus.open(config, node="a", cluster=cluster_name()) as bus:
        await bus.ready()
        before = links(bus)
        await asyncio.to_thread(server.stop)
        await until(lambda: bus.status().state == "BACKOFF", "the loss of the link")
        await asyncio.to_thread(broker_of, NatsServer, auth="password", password="second", port=server.port)
        write(secret, "second\n")
        await until_within(lambda: bus.status().state == "READY", 10)
        assert links(bus) == before


@pytest.mark.timeout(60)
async def test_a_running_node_moves_to_the_new_certificate(broker_of: BrokerFactory, tmp_path: Path) -> None:
    certificates = await asyncio.to_thread(Certificates, tmp_path)
    client = certificates.client
    server = await asyncio.to_thread(broker_of, NatsServer, tls=certificates.server, verify=True)
    mine = tmp_path / "mine.pem"
    write(mine, client.both.read_text())
    config = Nats(addresses=(server.url,), tls_ca=str(certificates.ca), tls_cert=str(mine))
    cluster = cluster_name()
    async with (
        Bus.open(config, node="a", cluster=cluster) as a,
        Bus.open(config, node="b", cluster=cluster) as b,
        b.subscribe(Note) as inbox,
        world(tmp_path, node=a) as here,
    ):
        await a.ready(peers=1)
        await b.ready(peers=1)
        before = links(a)
        looks = here.admin._cutover._renewals  # pyright: ignore[reportPrivateUsage]  # what it knows by now
        await until(lambda: looks._last, "the first look")  # pyright: ignore[reportPrivateUsage]  # as above

        # One that is no good: the old link goes on, and it is told.
        write(mine, "no certificate")
        (failed,) = await renewals(here, 1)
        assert (failed["outcome"], failed["error"]["type"]) == ("rejected", "connectionFailed")
        assert "tlsCert" in failed["error"]["description"]
        assert links(a) == before

        write(mine, client.both.read_text())

        async def publishes() -> None:
            for note in notes(1, 500):
                a.publish(note)
                await asyncio.sleep(0.01)

        load = asyncio.create_task(publishes())
        assert (await renewals(here, 2))[1]["outcome"] == "applied"
        await load
        assert not links(a) & before
        assert [link.state for link in a.status().links] == ["READY"]
        async with asyncio.timeout(5):
            assert [await anext(inbox) for _ in range(500)] == notes(1, 500)
        # The object is the same, so there is nothing to store.
        assert not here.file.exists()
        assert len(here.audited()) == 2
