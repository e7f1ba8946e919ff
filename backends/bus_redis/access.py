"""Getting in at one server: connect, TLS, login; and what went wrong where the server did not say it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from bus.errors import BusError, ConfigError, LinkError, TlsError
from bus_redis.connection import Address, Wire
from bus_redis.faults import explain, plain_text

if TYPE_CHECKING:
    from bus.backend import Context
    from bus.config import Redis, RedisCluster, RedisSentinel


@dataclass(frozen=True, kw_only=True)
class Access:
    """How one `connect` gets into its servers, and what its errors are to name."""

    config: Redis | RedisCluster | RedisSentinel
    context: Context
    protocol: str
    # What stood behind the "?" of the first URL, and the names of its field and of those of the login.
    options: Mapping[str, str] = field(repr=False)
    url_field: str
    login_fields: str
    username: str
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    # Of the event loop's clock; and the part of the time until then that one connection may take, where
    # there are other servers to try, or another way to speak to this one.
    until: float
    share: float

    async def open(self, address: Address, *, is_sentinel: bool = False) -> tuple[Wire, bool]:
        """A connection that is logged in, and whether it leads to a master.

        Raises what `explain` makes of the trouble; when cancelled it leaves nothing behind.
        """
        loop = asyncio.get_running_loop()
        wire = Wire(self, address)
        login = () if self.password is None else ("AUTH", self.username, self.password)
        name = re.sub("[^!-~]", "_", f"bus:{self.context.node}")
        try:
            async with asyncio.timeout(min(self.config.timeout.seconds, self._left() * self.share)):
                if address.port:
                    host = self.config.tls_hostname
                    await loop.create_connection(lambda: wire, *address, ssl=self.tls, server_hostname=host)
                else:
                    await loop.create_unix_connection(lambda: wire, address.host)
                said = await wire.ask("HELLO", self.protocol, *login, "SETNAME", name)
                facts = self._facts(address, said)
                if is_sentinel != (facts[b"mode"] == b"sentinel"):
                    other, kind = ("no", "Redis") if is_sentinel else ("a", "RedisSentinel")
                    raise ConfigError(f'{address} is {other} sentinel ({self.url_field}, "@type": "{kind}")')
                if (database := self.options.get("db", "0")) != "0":
                    await wire.ask("SELECT", database)
        except BaseException as error:
            wire.abort()
            if not isinstance(error, Exception):
                raise
            trouble = explain(error, self, address)
            is_hung = isinstance(error, TimeoutError)
            if address.port and (self.tls is not None if is_hung else wire.is_silent):
                trouble = await self._second_look(address, is_hung) or trouble
            raise trouble from None
        return wire, facts.get(b"role") == b"master"

    def _facts(self, address: Address, said: object) -> dict[bytes, object]:
        """Of the reply to HELLO, a list with RESP2, else a map."""
        if isinstance(said, list):
            flat = cast("list[object]", said)
            said = dict(zip(flat[::2], flat[1::2], strict=False))
        facts = cast("dict[bytes, object]", said) if isinstance(said, dict) else {}
        if b"mode" not in facts:
            raise LinkError(
                f"{address} ({self.url_field}) does not speak the protocol of Redis: it answers {said!r:.40}"
            )
        return facts

    async def _second_look(self, address: Address, is_hung: bool) -> BusError | None:
        """Was it TLS? Spoken to in the wrong way, a server hangs up, or hangs, without a word."""
        try:
            async with asyncio.timeout(self._left()):
                if self.tls is None:
                    # Nothing can pass its verification: a server with TLS fails in it, others before.
                    await self._first_byte(address, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
                elif is_hung:
                    if await self._first_byte(address, None, b"PING\r\n") in (b"+", b"-"):
                        return plain_text(self, address)
                else:
                    # Its reason is lost when it resets us for what we have sent: now we send nothing.
                    await self._first_byte(address, self.tls)
        except ssl.SSLError as found:
            if self.tls is not None:
                return explain(found, self, address)
            if isinstance(found, ssl.SSLCertVerificationError):
                return TlsError(f"{address} speaks TLS: write rediss:// in {self.url_field}")
        except (OSError, TimeoutError):
            pass
        return None

    async def _first_byte(self, address: Address, tls: ssl.SSLContext | None, word: bytes = b"") -> bytes:
        host = self.config.tls_hostname if tls else None
        reader, writer = await asyncio.open_connection(*address, ssl=tls, server_hostname=host)
        try:
            writer.write(word)
            return await reader.read(1)
        finally:
            writer.transport.abort()

    def _left(self) -> float:
        return self.until - asyncio.get_running_loop().time()
