"""Can a server of the messaging system be reached? Name, TCP, TLS, in this order, with a blocking socket.

What a client library says about a failure depends on the library; these three say the same for all of them.
"""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from bus import config
from bus.config.tls import tls_context
from bus.config.uri import split_scheme
from bus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bus.config import Coordinator

Status = Literal["ok", "warn", "fail", "skip"]
SECONDS = 5.0
SOON_DAYS = 14


class Check(NamedTuple):
    """One layer at one place, and how to mend it."""

    layer: str
    place: str
    status: Status
    detail: str
    fix: str = ""
    # Of a node: "in" does not receive, "out" does not get through.
    direction: str = ""


class Place(NamedTuple):
    """One server."""

    host: str
    port: int
    tls: bool = False
    # NATS says hello in clear text, and then both change to TLS.
    speaks_first: bool = False

    @property
    def name(self) -> str:
        """ "host:port"."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def places(coordinator: Coordinator) -> list[Place]:
    """The servers that a configuration names; none for peers that find each other."""
    match coordinator:
        case config.Nats():
            found: list[Place] = []
            for text in coordinator.addresses:
                scheme, rest = split_scheme(text)
                tls = coordinator.use_tls or scheme == "tls"
                found.append(_place(rest, 4222, tls)._replace(speaks_first=True))
            return found
        case config.Kafka():
            tls = coordinator.security_protocol.endswith("SSL")
            return [_place(text, 9092, tls) for text in coordinator.brokers]
        case config.Redis():
            return _redis([coordinator.url.reveal()], 6379)
        case config.RedisCluster():
            return _redis([one.reveal() for one in coordinator.urls], 6379)
        case config.RedisSentinel():
            return _redis([one.reveal() for one in coordinator.urls], 26379)
        case config.Zenoh():
            return _zenoh(coordinator.config.reveal())
        case _:
            return []


def _redis(urls: list[str], port: int) -> list[Place]:
    found: list[Place] = []
    for url in urls:
        scheme, rest = split_scheme(url)
        if scheme != "unix":
            authority = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2]
            found.append(_place(authority, port, scheme in ("rediss", "valkeys")))
    return found


def _zenoh(text: str) -> list[Place]:
    # Of what it connects to; it listens on its own machine.
    connect = re.search(r"""["']?connect["']?\s*:\s*\{[^}]*\}""", text)
    endpoints = re.findall(r"""["'](tcp|tls)/([^"'#?]+)""", connect[0]) if connect else []
    return [_place(where, 7447, scheme == "tls") for scheme, where in endpoints]


def _place(text: str, port: int, tls: bool) -> Place:
    text = text.rstrip("/")
    host, colon, number = text.rpartition(":")
    if not colon or not number.isdecimal():
        host, number = text, str(port)
    return Place(host.removeprefix("[").removesuffix("]"), int(number), tls)


def check(place: Place, coordinator: Coordinator) -> Iterator[Check]:
    """The three layers of one server, up to the first that fails."""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except OSError as error:
        fix = "is the name right, and known on this machine? See the addresses of the Coordinator"
        yield Check("name", place.host, "fail", error.strerror or str(error), fix)
        return
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    yield Check("name", place.host, "ok", ", ".join(addresses))
    try:
        connection = socket.create_connection((place.host, place.port), timeout=SECONDS)
    except OSError as error:
        yield Check("tcp", place.name, "fail", error.strerror or "no answer in time", _tcp_fix(place, error))
        return
    with connection:
        yield Check("tcp", place.name, "ok", "connected")
        if place.tls:
            yield _tls(connection, place, coordinator)


def _tcp_fix(place: Place, error: OSError) -> str:
    if place.speaks_first and place.port == 4444:
        return "4444 is the default of the Coordinator, but NATS servers listen on 4222: set addresses"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there: is the server running, and is the port right?"
    return "a firewall, or another network? Try it from the machine of the server"


def _tls(connection: socket.socket, place: Place, coordinator: Coordinator) -> Check:
    def of(name: str) -> str | None:
        found: object = getattr(coordinator, name, None)
        return found if isinstance(found, str) else None

    trouble = fix = ""
    try:
        context = tls_context(of("tls_ca"), of("tls_cert"), of("tls_key"))
        if place.speaks_first:
            _hear_hello(connection)
        hostname = of("tls_hostname") or place.host
        with context.wrap_socket(connection, server_hostname=hostname) as secured:
            return _expiry(place, secured)
    except ConfigError as error:
        trouble, fix = str(error), "name a file that is there, in PEM"
    except ssl.SSLCertVerificationError as error:
        trouble = error.verify_message
        is_name = "ostname" in trouble or "IP address" in trouble
        fix = "set tlsHostname to a name in the certificate" if is_name else "set tlsCa to its authority"
        if "expired" in trouble:
            fix = "renew the certificate of the server"
    except ssl.SSLError as error:
        trouble, fix = error.reason or str(error), "does the server speak TLS on this port?"
    except OSError as error:
        trouble, fix = error.strerror or "no answer in time", "does the server speak TLS on this port?"
    return Check("tls", place.name, "fail", trouble, fix)


def _hear_hello(connection: socket.socket) -> None:
    """Up to the end of the first line, and not further: what follows is TLS."""
    with suppress(TimeoutError):
        for _ in range(65_536):
            if connection.recv(1) in (b"\n", b""):
                return


def _expiry(place: Place, secured: ssl.SSLSocket) -> Check:
    until = str((secured.getpeercert() or {}).get("notAfter", ""))
    text = f"{secured.version()}"
    if not until:
        return Check("tls", place.name, "ok", text)
    left = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC) - datetime.now(UTC)
    text += f", certificate good for {left.days} days"
    if left.days < SOON_DAYS:
        return Check("tls", place.name, "warn", text, "renew the certificate of the server")
    return Check("tls", place.name, "ok", text)
