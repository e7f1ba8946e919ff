"""A backend for the relay server in `server.py`: the code of docs/new-backend.md, word for word.

The protocol: a line "JOIN <password> <channel>", answered by "OK" or "DENIED"; then frames, each
after its length in four bytes, both ways. The server sends every frame to everybody on the channel,
its sender included.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

from msgspec import Meta

from bus.backend import Context, Fault, Features, LinkError
from bus.config import Coordinator, NoSecret, SecretKeyOptional, Url
from bus.errors import AuthError, ConfigError


class Relay(Coordinator, frozen=True, kw_only=True):
    """A relay server."""

    url_schemes: ClassVar[tuple[str, ...]] = ("relay",)

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535)]
    auth_secret: SecretKeyOptional = NoSecret()

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        url.refuse_path()
        host, _, port = url.hosts[0].partition(":") if len(url.hosts) == 1 else ("", "", "")
        if not port.isdigit():
            raise ConfigError("relay:// needs one host and its port: relay://127.0.0.1:7000")
        fields: dict[str, object] = {"host": host, "port": int(port)}
        if url.password is not None:
            fields["authSecret"] = {"@type": "Value", "secret": url.password}
        return fields


class RelayLink:
    """One connection to the relay."""

    def __init__(self, context: Context, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._context = context
        self._reader = reader
        self._writer = writer
        self._has_ended = asyncio.Event()

    async def run(self) -> None:
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(4), "big")
                self._context.deliver(await self._reader.readexactly(length))
        finally:
            self._has_ended.set()

    async def send(self, frame: bytes) -> None:
        if self._writer.is_closing():
            raise LinkError("the connection to the relay is closed")
        self._writer.writelines((len(frame).to_bytes(4, "big"), frame))
        await self._writer.drain()

    async def close(self) -> None:
        # To close a socket that has unread bytes resets the connection, and the relay would lose what
        # it has not read yet: say that nothing more comes, and let `run` read to the end.
        if not self._writer.is_closing():
            self._writer.write_eof()
            await self._has_ended.wait()
        self.abort()

    def abort(self) -> None:
        self._writer.transport.abort()


class RelayBackend:
    """Backend for the variant `Relay`."""

    features: ClassVar[Features] = Features(proof="echo", asyncio_only=True)
    Config: ClassVar[type[Relay]] = Relay

    def __init__(self, config: Relay, context: Context) -> None:
        self._config = config
        self._context = context

    async def connect(self) -> RelayLink:
        reader, writer = await asyncio.open_connection(self._config.host, self._config.port)
        try:
            password = self._config.auth_secret.resolve() or "-"
            writer.write(f"JOIN {password} {self._context.channel}\n".encode())
            answer = await reader.readline()
        except BaseException:
            # Also when we are cancelled: nothing may stay behind.
            writer.transport.abort()
            raise
        if answer == b"OK\n":
            return RelayLink(self._context, reader, writer)
        writer.transport.abort()
        if answer == b"DENIED\n":
            raise AuthError("the relay refused the password: check authSecret")
        raise LinkError(f"the relay answered {answer[:20]!r}")

    def classify(self, exc: BaseException) -> Fault | None:
        if isinstance(exc, TimeoutError):
            return Fault.TIMEOUT
        if isinstance(exc, OSError | EOFError | LinkError):
            return Fault.UNREACHABLE
        return None
