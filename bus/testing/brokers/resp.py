"""Ask a Redis or Valkey server one thing, over a socket of its own: all that fixtures need of a client.

A client library would bring pools, retries and caches of the topology: what tests want to see from outside.
"""

from __future__ import annotations

import socket
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from io import BufferedReader

# What RESP2 has: text, number, nil, list. An error is raised.
Reply = str | int | None | list["Reply"]


class ReplyError(RuntimeError):
    """The server answered with an error; the text is its own."""


@dataclass(frozen=True)
class Address:
    """Where a server listens and how to log in there."""

    port: int
    host: str = "127.0.0.1"
    user: str | None = None
    password: str | None = None
    # A client certificate if it has one loaded; the server is not verified.
    tls: ssl.SSLContext | None = None


def ask(address: Address, *words: str | int, seconds: float = 5.0) -> Reply:
    """Send one command and return its reply. Raises ReplyError, OSError (also TimeoutError)."""
    login = [word for word in (address.user, address.password) if word is not None]
    with socket.create_connection((address.host, address.port), timeout=seconds) as plain:
        one = address.tls.wrap_socket(plain) if address.tls else plain
        with one, one.makefile("rb") as lines:
            if login:
                one.sendall(_request(("AUTH", *login)))
                _reply(lines)
            one.sendall(_request(words))
            return _reply(lines)


def answers(address: Address) -> bool:
    """Whether it serves us: it answers a PING with a PONG."""
    try:
        return ask(address, "PING", seconds=1.0) == "PONG"
    except (OSError, ReplyError):
        return False


def slot_of(key: str) -> int:
    """The slot of a key or of a sharded channel; what stands in {} counts alone."""
    start = key.find("{")
    end = key.find("}", start + 1)
    if start >= 0 and end > start + 1:
        key = key[start + 1 : end]
    return crc_hqx(key.encode(), 0) % 16_384


def _request(words: Sequence[str | int]) -> bytes:
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _reply(lines: BufferedReader) -> Reply:
    line = lines.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the server closed the connection")
    kind, text = line[:1], line[1:-2].decode()
    match kind:
        case b"+":
            return text
        case b"-":
            raise ReplyError(text)
        case b":":
            return int(text)
        case b"$":
            size = int(text)
            return None if size < 0 else lines.read(size + 2)[:-2].decode(errors="replace")
        case b"*":
            return [_reply(lines) for _ in range(int(text))] if int(text) >= 0 else None
        case _:
            raise ConnectionError(f"not the Redis protocol: {line[:40]!r}")
