"""Who is let in: the Host and Origin of a request, its size, its bearer token, and how often it may guess."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from bus.admin.jmap.request import Refused

if TYPE_CHECKING:
    from bus.admin.throttle import Buckets
    from bus.admin.tokens import Token, Tokens

log: logging.Logger = logging.getLogger("bus.audit")

MAX_HEADERS = 16_384
FAILURES_PER_MINUTE = 10
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="bus"'}


class Gate:
    """`hosts` are the names, besides addresses, by which this server may be called."""

    def __init__(self, tokens: Tokens, failures: Buckets, hosts: Iterable[str] = ()) -> None:
        self._tokens = tokens
        self._failures = failures
        self._hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}

    def check(self, headers: Mapping[str, str], method: str, scheme: str) -> None:
        """Raises Refused: 431, 421, 403."""
        if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADERS:
            raise Refused(431, "about:blank", f"at most {MAX_HEADERS} bytes of headers are allowed")
        host = headers.get("host")
        # A page of somebody else whose name now leads here (DNS rebinding) still says its own name. None at
        # all has only HTTP/1.0, and no browser.
        if host is not None and not self._is_ours(host):
            raise Refused(421, "about:blank", "this server is not called by that name: see `hosts`")
        origin = headers.get("origin")
        is_ours = origin in (None, f"{scheme}://{host}")
        # A proxy that has TLS for us changes the scheme; the browser itself says that it is our page.
        is_ours = is_ours or headers.get("sec-fetch-site") == "same-origin"
        if method not in ("GET", "HEAD") and not is_ours:
            raise Refused(403, "about:blank", "a page of another origin must not change anything here")

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdecimal():
            name = host
        name = name.lower().removesuffix(".")
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True

    def authenticate(self, given: Sequence[str], remote: str) -> Token:
        """The token of the Authorization headers. Raises Refused: 401, or 429 after 10 failures a minute."""
        scheme, _, text = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        token = self._tokens.authenticate(text.strip()) if scheme.lower() == "bearer" else None
        if token is not None:
            return token
        if not self._failures.take(remote):
            wait = str(self._failures.wait(remote))
            raise Refused(429, "about:blank", "too many failed logins", headers={"Retry-After": wait})
        # Not into the file of the trail: anybody may fail to log in, from any number of addresses.
        log.info('{"event":"login","outcome":"refused","remote":"%s"}', remote)
        detail = "the token is unknown, revoked or expired" if given else "send Authorization: Bearer <token>"
        raise Refused(401, "about:blank", detail, headers=_CHALLENGE)
