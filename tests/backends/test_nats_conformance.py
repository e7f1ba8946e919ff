"""The NATS backend passes the conformance suite on a real server: with a password, and by TLS with a JWT."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from bus.testing.brokers.certificates import Certificates
from bus.testing.brokers.nats import NatsServer
from bus.testing.conformance import Conformance, Harness
from bus.testing.conformance.closing import Closing
from bus.testing.conformance.frames import Frames


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with NatsServer(auth="password") as running:
        yield running


def step(call: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    return lambda: asyncio.to_thread(call)


class TestNats(Conformance):
    @pytest.fixture
    def harness(self, server: NatsServer) -> Harness:
        return Harness(
            coordinator=lambda: server.url,
            unreachable=f"nats://bus:{server.password}@127.0.0.1:1",
            wrong_credentials=f"nats://bus:wrong-{server.password}@127.0.0.1:{server.port}",
            invalid=(
                f"nats://bus:{server.password}@127.0.0.1:0",
                {"@type": "Nats", "addresses": []},
                {"@type": "Nats", "addresses": [f"nats://bus:{server.password}@127.0.0.1:4222"]},
                {"@type": "Nats", "tlsCa": "/ca.pem"},
            ),
            secrets=(server.password,),
            restart=step(server.restart),
            kill=step(server.kill),
            pause=step(server.pause),
            resume=step(server.resume),
        )


class TestNatsSecured(Frames, Closing):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[Harness]:
        certificates = Certificates(tmp_path)
        with NatsServer(auth="jwt", tls=certificates.server, verify=True) as server:
            client = certificates.client
            source = {
                "@type": "Nats",
                "addresses": [server.address],
                "credentials": {"@type": "Text", "secret": server.credentials},
                "tlsCa": str(certificates.ca),
                "tlsCert": str(client.certificate),
                "tlsKey": str(client.key),
            }
            yield Harness(coordinator=lambda: source)
