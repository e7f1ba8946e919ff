"""How we get in at the brokers of one configuration, and why not.

Secrets and certificates are read anew for each `connect` (rule 17). What goes wrong is told in the words of
the configuration; where the broker only hangs up, a second look finds out why, without any credentials.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

from bus.errors import AuthError, BusError, ConfigError, LinkError, TlsError
from bus_kafka.login import NO_LOGIN_HERE, Login
from bus_kafka.wire import NotKafka, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bus.config import Kafka
    from bus_kafka.wire import Address

# Seconds for the second look.
LOOK = 1.0
# How a TLS server answers to plain text: an alert.
_ALERT = b"\x15\x03"


class Access:
    """What `connect` has read; holds secrets, so it has no text of its own."""

    def __init__(self, config: Kafka, client: str) -> None:
        """Reads files and variables; blocks, up to 50 ms for a system's authorities. Raises ConfigError."""
        self.security = config.security_protocol
        self.login: Login | None = Login(config) if self.security.startswith("SASL_") else None
        # Who we are, if we log in by a name.
        self.user: str | None = self.login.user if self.login else None
        self._client = client
        self._tls = _tls(config) if self.security.endswith("SSL") else None
        self._hostname = config.tls_hostname

    async def open(self, address: Address, seconds: float) -> Wire:
        """A connection that is logged in. When cancelled, it leaves nothing behind.

        Raises AuthError, TlsError, ConfigError for what waiting cannot mend, else LinkError.
        """
        wire = Wire(address, self._client)
        try:
            async with asyncio.timeout(seconds):
                await wire.open(self._tls, self._hostname)
                if self.login is not None:
                    await self.login.perform(wire)
                return wire
        except (BusError, OSError, UnicodeError) as error:
            wire.abort()
            failure = await self._explain(error, address, seconds)
        except BaseException:
            wire.abort()
            raise
        raise failure from None

    async def demand(self, address: Address) -> AuthError | None:
        """What to say if a login is wanted there, and we have none."""
        if self.login is not None:
            return None
        found = await self._look(address, self._tls, lambda wire: Login.offered(wire, "PLAIN"))
        if found is None or found[0] == NO_LOGIN_HERE:
            return None
        return AuthError(
            f"securityProtocol: {address} wants a login: use SASL_{self.security}, with one of saslMechanism "
            f"{', '.join(found[1])}"
        )

    async def _look(
        self,
        address: Address,
        tls: ssl.SSLContext | None,
        ask: Callable[[Wire], Coroutine[object, object, tuple[int, list[str]]]],
    ) -> tuple[int, list[str]] | None:
        """The answer of a broker; None when none speaks there like this."""
        wire = Wire(address, self._client)
        try:
            async with asyncio.timeout(LOOK):
                await wire.open(tls, self._hostname)
                return await ask(wire)
        except (BusError, OSError):
            return None
        finally:
            wire.abort()

    async def _explain(
        self, error: BusError | OSError | UnicodeError, address: Address, seconds: float
    ) -> BusError:
        cause = error.__cause__ or error
        if isinstance(cause, ssl.SSLError):
            return _of_tls(cause, address)
        if isinstance(error, NotKafka):
            if error.head[:2] == _ALERT:
                secure = self.security.replace("PLAINTEXT", "SSL")
                text = f"{address} wants TLS, and {self.security} is plain text: use {secure}"
                return TlsError(f"securityProtocol: {text}")
            # Anything else may be a reply that was damaged on its way.
            return (ConfigError if error.head == b"HTTP" else LinkError)(f"brokers: {error}")
        if isinstance(error, TimeoutError):
            return LinkError(f"brokers: {address} did not answer within {seconds:.1f} s")
        if isinstance(error, UnicodeError):
            return LinkError(f"brokers: {address.host} cannot be a name of the network: {error}")
        if isinstance(error, socket.gaierror):
            return LinkError(f"brokers: the name {address.host} is not known: {error.strerror}")
        if isinstance(error, ConnectionRefusedError):
            return LinkError(f"brokers: {address} refused the connection; does a broker listen there?")
        if self._tls and await self._look(address, None, lambda wire: Login.offered(wire, "PLAIN")):
            plain = "SASL_PLAINTEXT" if self.login else "PLAINTEXT"
            return TlsError(
                f"securityProtocol: {address} speaks plain text, and {self.security} wants TLS: name another "
                f"listener in brokers, or use {plain}"
            )
        if isinstance(error, OSError):
            return LinkError(f"brokers: {address}: {error.strerror or repr(error)}")
        return LinkError(f"brokers: {error}") if type(error) is LinkError else error


def _tls(config: Kafka) -> ssl.SSLContext:
    field, file = "tlsCa", config.tls_ca
    try:
        context = ssl.create_default_context(cafile=file)
        if config.tls_cert is not None:
            field, file = "tlsCert, tlsKey", config.tls_cert
            # The password: without one OpenSSL would ask the terminal for it.
            context.load_cert_chain(config.tls_cert, config.tls_key, password="")
    except OSError as error:
        raise TlsError(f"{field}: {file}: {error.strerror or error}") from None
    return context


def _of_tls(error: ssl.SSLError, address: Address) -> BusError:
    reason = str(error.reason or error)
    if isinstance(error, ssl.SSLCertVerificationError):
        field = "tlsHostname" if "mismatch" in error.verify_message else "tlsCa"
        return TlsError(f"{field}: the certificate of {address} is refused: {error.verify_message}")
    if "WRONG_VERSION" in reason or "RECORD_LAYER" in reason:
        return TlsError(f"securityProtocol: {address} does not speak TLS; name another listener in brokers")
    if "ALERT" in reason:
        return TlsError(f"tlsCert, tlsKey: {address} refused our side of TLS: {reason}")
    return LinkError(f"brokers: {address}: TLS: {reason}")
