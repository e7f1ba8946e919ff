"""Getting in at one server: connect, TLS, login; and what went wrong where the server did not say it."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

import msgspec

from bus.errors import BusError, TlsError
from bus_redis.connection import Address, Wire
from bus_redis.faults import explain, plain_text


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How one `connect` gets into its servers, and what its errors are to name."""

    url_field: str
    login_fields: str
    channel: str
    username: str
    password: str | None
    client_name: str
    protocol: str
    db: str
    context: ssl.SSLContext | None
    hostname: str | None
    # Seconds for one connection; it takes at most half of the time that is left until `until`.
    timeout: float
    until: float

    async def open(self, address: Address) -> tuple[Wire, dict[bytes, object]]:
        """A connection that is logged in, and what the server says of itself.

        Raises what `explain` makes of the trouble; when cancelled it leaves nothing behind.
        """
        loop = asyncio.get_running_loop()
        wire = Wire(self, address)
        login = () if self.password is None else ("AUTH", self.username, self.password)
        try:
            async with asyncio.timeout(min(self.timeout, self._half())):
                if address.port:
                    await loop.create_connection(
                        lambda: wire, *address, ssl=self.context, server_hostname=self.hostname
                    )
                else:
                    await loop.create_unix_connection(lambda: wire, address.host)
                said = await wire.ask("HELLO", self.protocol, *login, "SETNAME", self.client_name)
                if self.db != "0":
                    await wire.ask("SELECT", self.db)
        except BaseException as error:
            wire.abort()
            if not isinstance(error, Exception):
                raise
            trouble = explain(error, self, address)
            if address.port and (wire.is_silent or isinstance(error, TimeoutError)):
                trouble = await self._second_look(address, isinstance(error, TimeoutError)) or trouble
            raise trouble from None
        if isinstance(said, list):
            flat = cast("list[object]", said)
            said = dict(zip(flat[::2], flat[1::2], strict=True))
        return wire, cast("dict[bytes, object]", said)

    async def _second_look(self, address: Address, is_hung: bool) -> BusError | None:
        """Was it TLS? Spoken to in the wrong way, a server hangs up, or hangs, without a word."""
        try:
            async with asyncio.timeout(self._half()):
                if self.context is None:
                    # Nothing can pass its verification: a server with TLS fails in it, others before.
                    await self._first_byte(address, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
                elif is_hung:
                    if await self._first_byte(address, None, b"PING\r\n") in (b"+", b"-"):
                        return plain_text(self, address)
                else:
                    # Its reason is lost when it resets us for what we have sent: now we send nothing.
                    await self._first_byte(address, self.context)
        except ssl.SSLError as found:
            if self.context is not None:
                return explain(found, self, address)
            if isinstance(found, ssl.SSLCertVerificationError):
                return TlsError(f"{address} speaks TLS: write rediss:// in {self.url_field}")
        except (OSError, TimeoutError):
            pass
        return None

    async def _first_byte(self, address: Address, context: ssl.SSLContext | None, word: bytes = b"") -> bytes:
        name = self.hostname if context else None
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=name)
        try:
            writer.write(word)
            return await reader.read(1)
        finally:
            writer.transport.abort()

    def _half(self) -> float:
        return (self.until - asyncio.get_running_loop().time()) / 2
