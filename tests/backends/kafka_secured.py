"""A Kafka with every kind of listener, also of those that nobody should have, for the tests of one module."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.testing.brokers import Certificates, Unavailable, free_port
from bus.testing.brokers.kafka import KafkaServer, Listener
from bus.testing.proxy import Proxy


class Secured:
    """The server, and the certificates of everybody."""

    def __init__(self, server: KafkaServer, certificates: Certificates, proxy: Proxy) -> None:
        self.server = server
        self.certificates = certificates
        # In front of the listener PROXIED, which tells its clients to come this way.
        self.proxy = proxy

    def fields(self, listener: str, mechanism: str | None = None, **changes: object) -> dict[str, object]:
        """The Coordinator object for a listener; SSL by the name of the listener."""
        ca = self.certificates.ca if "SSL" in listener else None
        return self.server.coordinator(listener, mechanism, tls_ca=ca) | changes


def secured_of(factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The body of a fixture for one module; without a Kafka its tests are skipped, and fail in CI."""
    try:
        secured = _start(factory.mktemp("kafka"))
    except Unavailable as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    with secured.proxy:
        yield secured
    secured.server.stop()


def _start(folder: Path) -> Secured:
    certificates = Certificates(folder / "certificates")
    port = free_port()
    proxy = Proxy(("127.0.0.1", port))
    listeners = {
        "SSL_EXPIRED": Listener("SSL", tls=certificates.expired),
        "SSL_OTHER": Listener("SSL", tls=certificates.wrong_host),
        "SSL_DEMANDS": Listener("SSL", demands=True),
        "SASL_PLAIN_ONLY": Listener("SASL_PLAINTEXT"),
        "LOST": Listener("PLAINTEXT", advertised=f"127.0.0.1:{free_port()}"),
        "NAMELESS": Listener("PLAINTEXT", advertised="no-such-broker.invalid:9092"),
        "PROXIED": Listener("PLAINTEXT", advertised=proxy.address, port=port),
    }
    options = {"listener.name.sasl_plain_only.sasl.enabled.mechanisms": "PLAIN"}
    server = KafkaServer(folder, tls=certificates.server, listeners=listeners, options=options)
    server.keep()
    return Secured(server, certificates, proxy)


def token(seconds: float = 3600.0) -> str:
    """A bearer token that the broker of the tests takes: unsigned, with a name and a time."""
    now = int(time.time())
    parts = {"alg": "none"}, {"sub": "bus", "iat": now - 10, "exp": now + int(seconds)}
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join(encoded) + "."


def secret(text: str) -> dict[str, str]:
    """As it stands in the Coordinator object."""
    return {"@type": "Value", "secret": text}
