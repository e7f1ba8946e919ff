"""Where the server listens, and with which certificate; never in clear text beyond this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from typing import NamedTuple

import anyio

from bus.errors import ConfigError, TlsError


class Place(NamedTuple):
    """A host (a name or an address) and a port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Tls(NamedTuple):
    """Files (PEM): our certificate and its key, and the authorities whose clients alone may connect."""

    cert: str | os.PathLike[str]
    key: str | os.PathLike[str] | None = None
    client_ca: str | os.PathLike[str] | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later. Raises TlsError."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_alpn_protocols(["http/1.1"])
        self.load(made)
        if self.client_ca is not None:
            try:
                made.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise TlsError(f"client_ca {os.fspath(self.client_ca)}: {error.strerror or error}") from None
            made.verify_mode = ssl.CERT_REQUIRED
        return made

    def load(self, context: ssl.SSLContext) -> None:
        """Read certificate and key; what was loaded before stays when that fails. Raises TlsError."""
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self.cert, self.key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"tls cert {os.fspath(self.cert)}, key {os.fspath(self.key or self.cert)}: "
                f"{error.strerror or error}; both must be PEM, belong together, and have no password"
            ) from None


def place(text: str) -> Place:
    """ "host:port", "[::1]:8080". Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdecimal() and int(port) < 65_536):
        raise ConfigError(f'listen is "{text[:80]}"; write host:port, for example "127.0.0.1:8080"')
    return Place(host, int(port))


def refuse_open_network(where: Place, tls: Tls | None, *, insecure: bool) -> None:
    """Tokens and secrets in clear text on a network: only for who asks for it. Raises ConfigError."""
    if tls is None and not insecure and not where.is_loopback:
        raise ConfigError(
            f"listen is {where.host}:{where.port}, which others can reach, without TLS: "
            "give tls (cert and key), listen on 127.0.0.1, or say insecure_http (--insecure-http) "
            "behind a proxy that speaks TLS"
        )


async def bind(where: Place) -> socket.socket:
    """A listening socket. Raises ConfigError: in use, not permitted, no such address."""
    trouble = ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        trouble = error.strerror or str(error)
    else:
        return listener
    raise ConfigError(f"listen {where.host}:{where.port}: {trouble}; name another place")


async def sleep_or(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, at most so long; clears it."""
    with anyio.move_on_after(seconds):
        await event.wait()
    event.clear()
