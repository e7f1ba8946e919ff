"""Cases of the matrix: passwords and certificates that change, servers that do not do their part."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bus import Bus
from bus.protocol import lifecycle
from bus.testing.brokers import Certificates, NatsServer, RedisServer
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.conformance.cluster import all_heard, cluster_name, nodes
from bus.testing.conformance.harness import Harness
from bus.testing.conformance.station import until

SECONDS = 10.0
CLOSE = 2.0


def on_nats(server: NatsServer | RedisServer, ca: Path) -> object:
    address = f"127.0.0.1:{server.port}"
    return {"@type": "Nats", "addresses": [address], "useTls": True, "tlsCa": str(ca)}


def on_redis(server: NatsServer | RedisServer, ca: Path) -> object:
    return {"@type": "Redis", "url": f"rediss://127.0.0.1:{server.port}", "tlsCa": str(ca)}


ON = [(NatsServer, on_nats), (RedisServer, on_redis)]
Server = NatsServer | RedisServer
Configured = Callable[[Server, Path], object]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("kind", "configured"), ON, ids=["nats", "redis"])
async def test_a_certificate_that_expires_lets_the_link_live_and_the_next_one_says_so(
    kind: Callable[..., Server], configured: Configured, broker_of: BrokerFactory,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """65. When it has been renewed, the node goes on by itself."""
    monkeypatch.setattr(lifecycle, "FATAL_RETRY", 1.0)
    certificates = Certificates(tmp_path)
    served = certificates.server
    good = {path: path.read_bytes() for path in (served.certificate, served.key)}
    server = await asyncio.to_thread(broker_of, kind, tls=served)
    async with Bus.open(configured(server, certificates.ca), cluster=cluster_name()) as bus:
        await bus.ready(SECONDS)
        served.certificate.write_bytes(certificates.expired.certificate.read_bytes())
        served.key.write_bytes(certificates.expired.key.read_bytes())
        # Nobody looks at the certificate of a link that lives.
        await asyncio.sleep(0.5)
        assert bus.status().state == "READY"
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart)
        await until(
            lambda: "expired" in (bus.status().links[0].error or ""), SECONDS, lambda: f"{bus.status().links}"
        )
        assert (bus.status().links[0].error or "").startswith("tls: TlsError")
        for path, text in good.items():
            path.write_bytes(text)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart)
        await bus.ready(SECONDS)


@pytest.mark.parametrize(("kind", "configured"), ON, ids=["nats", "redis"])
async def test_closing_over_tls_does_not_wait_for_a_frozen_server(
    kind: Callable[..., Server], configured: Configured, broker_of: BrokerFactory,
    tmp_path: Path, record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    """66: TLS has a goodbye of its own, for which asyncio would wait half a minute."""
    certificates = Certificates(tmp_path)
    server = await asyncio.to_thread(broker_of, kind, tls=certificates.server)
    async with Bus.open(configured(server, certificates.ca), cluster=cluster_name()) as bus:
        await bus.ready(SECONDS)
        await asyncio.to_thread(server.pause)
        try:
            started = time.monotonic()
            await bus.aclose()
            took = time.monotonic() - started
        finally:
            await asyncio.to_thread(server.resume)
    record_property("close", round(took, 3))
    assert took <= CLOSE + 0.5


async def test_a_password_that_redis_no_longer_takes_is_told_and_tried_again(
    broker_of: BrokerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """61."""
    monkeypatch.setattr(lifecycle, "FATAL_RETRY", 1.0)
    server = await asyncio.to_thread(broker_of, RedisServer, users={"bus": "on >first ~* &* +@all"})
    async with Bus.open(server.url_of("bus", "first"), cluster=cluster_name()) as bus:
        await bus.ready(SECONDS)
        server.ask("ACL", "SETUSER", "bus", "resetpass", ">second")
        server.ask("CLIENT", "KILL", "USER", "bus")
        await until(
            lambda: (bus.status().links[0].error or "").startswith("auth: AuthError"), SECONDS,
            lambda: f"{bus.status().links}",
        )  # fmt: skip
        assert "first" not in (bus.status().links[0].error or "")
        server.ask("ACL", "SETUSER", "bus", "resetpass", ">first")
        await bus.ready(SECONDS)


@pytest.mark.timeout(60)
async def test_a_redis_that_cannot_write_to_its_disk_carries_events(broker_of: BrokerFactory) -> None:
    """46: it refuses what would change its data, and even PING, but neither a channel nor its subscribers."""
    server = await asyncio.to_thread(
        broker_of,
        RedisServer,
        options=["--dir", "/proc", "--stop-writes-on-bgsave-error", "yes", "--save", "1 1"],
    )  # fmt: skip
    server.ask("SET", "a", "1")

    def is_stuck() -> bool:
        try:
            server.ask("BGSAVE")
            server.ask("SET", "a", "2")
        except Exception as error:  # noqa: BLE001  # which one, is what we look at
            return "MISCONF" in str(error)
        return False

    await until(is_stuck, SECONDS, "it still writes")
    async with nodes(Harness(coordinator=lambda: server.url), 2) as pair:
        # Longer than it takes to ask for the answer to a PING, several times.
        for _ in range(40):
            pair[0].publish()
            await asyncio.sleep(0.1)
        await all_heard(Harness(coordinator=lambda: server.url), pair)
        assert [link.connects for node in pair for link in node.bus.status().links] == [1, 1]


async def test_zenoh_sends_no_password_to_a_server_without_tls() -> None:
    """63."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(4_096))
        writer.write(b"\x00" * 64)
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        config = {
            "mode": "client", "connect": {"endpoints": [f"tls/127.0.0.1:{port}"]},
            "transport": {"auth": {"usrpwd": {"user": "canary-user", "password": "canary-password"}}},
        }  # fmt: skip
        async with Bus.open({"@type": "Zenoh", "config": json.dumps(config)}) as bus:
            await until(lambda: heard, SECONDS, "it did not connect")
            assert bus.status().state != "READY"
    assert heard[0] == 0x16, "that is no handshake of TLS"
    assert b"canary" not in heard
