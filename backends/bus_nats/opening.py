"""nats-py connects, encrypts and logs in; then it hands over the established transport.

What it would do from then on never begins: it reads, pings, flushes and reconnects nothing (T1, T6,
T21). What is private to it is used in this file only.
"""

from __future__ import annotations

import functools
import re
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bus.errors import ConfigError, TlsError

if TYPE_CHECKING:
    import asyncio

    from bus.config import Nats


_LAST_WORD = re.compile(rb"-ERR '?([^'\r\n]+)")


class Opened(NamedTuple):
    """A connection on which the server has accepted us."""

    transport: asyncio.Transport
    max_payload: int
    # What came behind the handshake; and whether the server has closed already.
    unread: bytes
    has_ended: bool
    # To be kept as long as the transport: its writer closes that when it is collected.
    owner: object


async def opened(address: str, config: Nats, name: str, who: Mapping[str, object]) -> Opened:
    """A connection to one server, logged in. Raises what nats-py raises, and leaves nothing behind."""
    client = _opener()()
    client.has_certificate = config.tls_cert is not None
    try:
        # Its own timeout is one for each step; the caller has one for all.
        await client.connect(
            [address], name=name, no_echo=config.no_echo, tls=tls_context(config),
            tls_hostname=config.tls_hostname, allow_reconnect=False, error_cb=_ignore,
            connect_timeout=3600, **who,
        )  # fmt: skip
        if not client.is_connected:
            raise ConnectionResetError("it closed the connection during the handshake")
    except BaseException as error:
        reader: Any = client.parts().get("_io_reader")
        for part in ("_io_writer", "_bare_io_writer"):
            if (writer := client.parts().get(part)) is not None:
                writer.transport.abort()
        if isinstance(error, ConnectionError) and reader is not None:
            # That of the writer only says "lost", these why: the server's last word, the alert of TLS.
            unread: dict[str, Any] = reader.__dict__
            said = _LAST_WORD.search(bytes(unread["_buffer"]))
            if said is not None:
                raise _refused(said[1].decode(errors="replace")) from error
            if reader.exception() is not None:
                raise reader.exception() from error
        raise
    # Nothing is awaited in between: no byte can be missed.
    parts = client.parts()
    rest: dict[str, Any] = parts["_io_reader"].__dict__
    transport = parts["_io_writer"].transport
    return Opened(transport, client.max_payload, bytes(rest["_buffer"]), rest["_eof"], client)


def tls_context(config: Nats) -> ssl.SSLContext | None:
    """None when the configuration does not demand TLS. Reads the files now. Raises ConfigError."""
    if not config.use_tls and not any(address.startswith("tls:") for address in config.addresses):
        return None
    files = f"tlsCa {config.tls_ca}"
    try:
        context = ssl.create_default_context(cafile=config.tls_ca)
        if config.tls_cert is not None:
            files = f"tlsCert {config.tls_cert}, tlsKey {config.tls_key}"
            # Without a password OpenSSL asks for one at the terminal.
            context.load_cert_chain(config.tls_cert, config.tls_key, password="")
    except OSError as error:  # of ssl, too
        raise ConfigError(f"{files}: {error.strerror or error}") from error
    return context


def _refused(text: str) -> Exception:
    """As nats-py raises what the server says in time."""
    from nats.errors import Error

    return Error(text)


async def _ignore(error: Exception) -> None:
    """What is handed to it is raised, too."""


@functools.cache
def _opener() -> Callable[[], Any]:
    from nats.aio.client import Client

    class Opener(Client):
        has_certificate = False

        async def _select_next_server(self) -> None:
            # Theirs collects the errors of all servers, tries again, and raises "no servers".
            self._current_server = self._server_pool[0]
            await self._connect_to_server(self._current_server)

        async def _process_info(self, info: dict[str, object], initial_connection: bool = False) -> None:
            # They take TLS only where the server insists.
            if "tls" in self.options and info.get("tls_available"):
                info["tls_required"] = True
            # It would only close the connection, sometimes before it can say why.
            if info.get("tls_verify") and not self.has_certificate:
                raise TlsError("the server wants a certificate of ours: set tlsCert and tlsKey")

        def _connect_command(self) -> bytes:
            # The last moment before credentials leave, encrypted or not (T9).
            writer = self.parts()["_io_writer"]
            if "tls" in self.options and writer.get_extra_info("ssl_object") is None:
                raise TlsError("the server offers no TLS, which useTls or tls:// demands: nothing was sent")
            return super()._connect_command()

        async def _read_loop(self) -> None: ...

        async def _ping_interval(self) -> None: ...

        async def _flusher(self) -> None: ...

        def parts(self) -> dict[str, Any]:
            """Its two writers and its reader, when it has got so far."""
            return {} if self._transport is None else vars(self._transport)

    return Opener
