"""Logs in (SASL): PLAIN, SCRAM and OAUTHBEARER.

Not by aiokafka's connection: it takes the answer to a bad token for a success, and its errors do not say
which field is wrong.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from bus.errors import AuthError, ConfigError, LinkError
from bus_kafka.wire import Wire, codecs

if TYPE_CHECKING:
    from bus.config import Kafka

# Errors of the broker.
UNSUPPORTED_MECHANISM, NO_LOGIN_HERE, REFUSED = 33, 34, 58
# RFC 6750: what a bearer token is made of.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class Login:
    """User, mechanism and secret, as they are now."""

    def __init__(self, config: Kafka) -> None:
        """Reads the secret. Raises ConfigError."""
        self.mechanism: str = str(config.sasl_mechanism)
        self.user: str | None = None if self.mechanism == "OAUTHBEARER" else config.auth_username
        self._secret = config.auth_secret.resolve() or ""
        if self.user is None:
            self._secret = self._secret.strip()
            if not _TOKEN.fullmatch(self._secret):
                raise ConfigError("authSecret: what is there is no bearer token")
        elif "\0" in f"{self.user}{self._secret}":
            raise ConfigError("authUsername, authSecret: they must not contain a null character")

    async def perform(self, wire: Wire) -> None:
        """Raises AuthError, ConfigError when the listener has no such login, LinkError."""
        code, mechanisms = await self.offered(wire, self.mechanism)
        if code == NO_LOGIN_HERE:
            raise ConfigError(
                f"securityProtocol: {wire.address} wants no login: use PLAINTEXT or SSL, or name another "
                "listener in brokers"
            )
        if code == UNSUPPORTED_MECHANISM:
            taken = ", ".join(mechanisms)
            raise ConfigError(f"saslMechanism: {wire.address} takes no {self.mechanism}, only {taken}")
        if self.mechanism.startswith("SCRAM"):
            await self._scram(wire)
        elif self.mechanism == "PLAIN":
            await self._say(wire, f"\0{self.user}\0{self._secret}")
        elif reason := await self._say(wire, f"n,,\x01auth=Bearer {self._secret}\x01\x01"):
            raise AuthError(f"{wire.address} refused the token in authSecret: {reason}")

    @staticmethod
    async def offered(wire: Wire, mechanism: str) -> tuple[int, list[str]]:
        """Error of the broker for one mechanism, and those that it takes."""
        reply = await wire.ask(codecs().protocol.admin.SaslHandShakeRequest(mechanism))
        return reply.error_code, list(reply.enabled_mechanisms)

    async def _scram(self, wire: Wire) -> None:
        scram = codecs().conn.ScramAuthenticator(
            loop=None,
            sasl_plain_username=self.user,
            sasl_plain_password=self._secret,
            sasl_mechanism=self.mechanism,
        )
        try:
            salt = await self._say(wire, scram.first_message())
            # Off the loop: it hashes for some milliseconds.
            await asyncio.to_thread(scram.process_server_first_message, salt)
            scram.process_server_final_message(await self._say(wire, scram.final_message()))
        except (ValueError, KeyError) as error:
            raise LinkError(f"{wire.address} does not prove that it knows the secret: {error}") from None

    async def _say(self, wire: Wire, content: str) -> str:
        reply = await wire.ask(codecs().protocol.admin.SaslAuthenticateRequest(content.encode()))
        if reply.error_code == REFUSED:
            raise AuthError(
                f"{wire.address} refused the login of {self.user!r}: check authUsername and authSecret, and "
                f"whether the user has credentials for {self.mechanism} (saslMechanism)"
            )
        if reply.error_code:
            raise LinkError(f"{wire.address} could not log us in: {reply.error_message}")
        return (reply.sasl_auth_bytes or b"").decode(errors="replace")
