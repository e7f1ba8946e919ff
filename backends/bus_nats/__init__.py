"""The NATS backend: core NATS, without JetStream. See README.md.

nats-py connects and logs in (`opening`), then the link drives the transport itself (`link`). The
server's PONG proves the connection and confirms each frame; the core repairs the rest.
"""

from __future__ import annotations

import asyncio
import functools
from importlib import import_module
from typing import ClassVar

from bus.backend import Context, Fault, Features
from bus.config import Nats, NoSecret
from bus.errors import AuthError, ConfigError, LinkError, TlsError
from bus_nats.link import NatsLink
from bus_nats.login import login
from bus_nats.opening import opened
from bus_nats.refusal import explained, refusal

# The part of `Context.connect_timeout` that the attempts share, to end with words of their own.
SHARE = 0.9
# Bytes of the largest heartbeat (rule 9): a server that does not take it only ever hangs up.
LEAST = 512
_FAULTS: dict[type[BaseException], Fault] = {
    AuthError: Fault.AUTH,
    TlsError: Fault.TLS,
    ConfigError: Fault.CONFIG,
    TimeoutError: Fault.TIMEOUT,
    LinkError: Fault.UNREACHABLE,
    OSError: Fault.UNREACHABLE,
}


class NatsBackend:
    """Backend for the variant `Nats`."""

    features: ClassVar[Features] = Features(proof="server", confirms=True, asyncio_only=True)
    Config: ClassVar[type[Nats]] = Nats

    def __init__(self, config: Nats, context: Context) -> None:
        """Raises ModuleNotFoundError without the client library."""
        import_module("nats.aio.client")
        if not isinstance(config.credentials, NoSecret):
            import_module("nkeys")
        # The supervisor counts.
        self.max_reconnects: int | None = config.max_reconnects
        self._config = config
        self._context = context
        self._turn = 0

    async def connect(self) -> NatsLink:
        """Try the addresses in order, after a loss from the one behind the last that worked."""
        addresses = self._config.addresses
        failures: list[Exception] = []
        for number in range(self._turn, self._turn + len(addresses)):
            try:
                link = await self._attempt(addresses[number % len(addresses)])
            except Exception as error:  # noqa: BLE001  # raised below
                failures.append(error)
            else:
                self._turn = (number + 1) % len(addresses)
                return link
        # A fault that may pass must not be fatal because of another address (rule 17).
        passing = [error for error in failures if not isinstance(error, ConfigError)]
        if passing and len(failures) > 1:
            raise LinkError("; ".join(map(str, failures)))
        raise failures[0]

    async def _attempt(self, address: str) -> NatsLink:
        config, context = self._config, self._context
        seconds = min(
            config.timeout_connection.seconds, context.connect_timeout * SHARE / len(config.addresses)
        )
        who = login(config)
        refuse = functools.partial(refusal, channel=context.channel, words=who.words)
        link = None
        try:
            async with asyncio.timeout(seconds):
                connection = await opened(address, config, context.node, who.arguments)
                link = NatsLink(connection, config, context, refuse)
                if link.max_message < LEAST:
                    text = f"its max_payload is {link.max_message}: raise that to {LEAST}"
                    raise ConfigError(f"{text}, or name another server in addresses")
                await link.settle()
        except BaseException as error:
            if link is not None:
                link.abort()
            if isinstance(error, Exception):
                raise explained(error, address, seconds, refuse) from error
            raise
        if link.max_message < self.features.max_message:
            text = "%s takes at most %d bytes (max_payload of the server): a larger event becomes a Gap"
            context.log.warning(text, address, link.max_message)
        return link

    def classify(self, exc: BaseException) -> Fault | None:
        """`connect` and the link raise our own errors."""
        for kind, fault in _FAULTS.items():
            if isinstance(exc, kind):
                return fault
        return None
