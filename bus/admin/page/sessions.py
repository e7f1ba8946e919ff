"""Sessions of browsers: a cookie for who has shown a token once, kept in memory only.

Browsers send cookies along whoever made the request, so a session alone changes nothing: an unsafe request
must come from our own page, and carry the word that only our page was told (`X-Bus-CSRF`).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bus.admin.jmap.request import Refused

if TYPE_CHECKING:
    from bus.admin.tokens import Token, Tokens

# Seconds: since the login, and since the last request or the last moment that a live view was open.
LONGEST, IDLE = 8 * 3600.0, 1800.0
MOST = 256
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass
class Session:
    """One browser that has logged in."""

    token: Token
    began: float
    used: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))


class Sessions:
    """All of one server. Cookies ignore the port: `identity` gives this node's a name of its own."""

    def __init__(self, tokens: Tokens, identity: str, now: Callable[[], float]) -> None:
        # With this prefix browsers take it over TLS (or from this machine) only, and from no other host.
        self.cookie: str = f"__Host-bus-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
        self._tokens = tokens
        self._now = now
        # By digest: looking one up says nothing about the cookies that there are.
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def open(self, token: Token) -> tuple[Session, str]:
        """A new session, and the Set-Cookie that gives it to a browser. The longest unused one may go."""
        now = self._now()
        id = secrets.token_urlsafe(32)
        session = Session(token, now, now)
        self._sessions[_digest(id)] = session
        if len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return session, f"{self.cookie}={id}; Path=/; Secure; HttpOnly; SameSite=Strict"

    def close(self, cookies: Sequence[str]) -> str:
        """Forget the session of these Cookie headers; the Set-Cookie that takes it away."""
        for id in self._ids(cookies):
            self._sessions.pop(_digest(id), None)
        return f"{self.cookie}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"

    def find(self, cookies: Sequence[str]) -> Session | None:
        """The session of these Cookie headers, used now; None without one, or when it is over."""
        ids = self._ids(cookies)
        # Two of one name: somebody has put one beside ours, and nobody knows which is meant.
        key = _digest(ids[0]) if len(ids) == 1 else ""
        session = self._sessions.get(key)
        if session is None:
            return None
        if not self.is_good(session):
            del self._sessions[key]
            return None
        session.used = self._now()
        self._sessions.move_to_end(key)
        return session

    def has_cookie(self, cookies: Sequence[str]) -> bool:
        """Whether these Cookie headers bring a cookie of ours, good or not."""
        return bool(self._ids(cookies))

    def is_good(self, session: Session) -> bool:
        """Not over, and its token neither expired nor revoked since. (One that was closed is not found.)"""
        now = self._now()
        is_young = now - session.began < LONGEST and now - session.used < IDLE
        return is_young and self._tokens.is_valid(session.token)

    def is_open(self, session: Session) -> bool:
        """For a stream that goes on: still logged in; and it is used as long as somebody looks."""
        if not self.is_good(session) or session not in self._sessions.values():
            return False
        session.used = self._now()
        return True

    def _ids(self, cookies: Sequence[str]) -> list[str]:
        pairs = (pair.strip().partition("=") for header in cookies for pair in header.split(";"))
        return [value for name, _, value in pairs if name == self.cookie and value]


def check_own_page(method: str, headers: Mapping[str, str], session: Session | None) -> None:
    """Raises Refused 403 unless our own page asks; for what changes something it must know the word, too.

    Without a session (the login itself) only the first part counts.
    """
    site = headers.get("sec-fetch-site")
    # Browsers without Sec-Fetch-Site say Origin with what is unsafe; the gate has compared it already.
    is_ours = site == "same-origin" if site is not None else method in SAFE_METHODS or "origin" in headers
    if not is_ours:
        raise Refused(403, "about:blank", "only the page of this node may use its session")
    if method in SAFE_METHODS or session is None:
        return
    if not hmac.compare_digest(headers.get("x-bus-csrf", "").encode(), session.csrf.encode()):
        raise Refused(403, "about:blank", "X-Bus-CSRF is not the word of this session: load the page again")


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()
