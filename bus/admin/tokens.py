"""Who may do what: bearer tokens in a file that holds only their digests.

    bus_<id>_<43 characters>     <state_dir>/tokens.toml: id, name, sha256, permissions, created, expires

The secret part is 256 random bits: a plain digest is as good as a slow one, and costs nothing per request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
import threading
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, cast

from bus.admin import files
from bus.config.secret import read_regular
from bus.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

log: logging.Logger = logging.getLogger("bus.admin")

NAME = "tokens.toml"
GET = "sysCoordinatorGet"
UPDATE = "sysCoordinatorUpdate"
METRICS = "busMetricsRead"
PERMISSIONS = (GET, UPDATE, "busEventsRead", "busEventsPublish", METRICS, "busTokensManage")

MAX_FILE = 1_048_576
_TEXT = re.compile(r"bus_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
# What an operator brings along (BUS_ADMIN_TOKEN_FILE) may be of another form, but not short.
_OPAQUE = re.compile(r"[\x21-\x7e]{32,512}")


class Token(NamedTuple):
    """One token, without its secret."""

    id: str
    name: str
    digest: str
    permissions: frozenset[str]
    created: datetime
    expires: datetime | None

    @property
    def is_expired(self) -> bool:
        """Its time is over."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_NOBODY = Token("", "", hashlib.sha256(b"").hexdigest(), frozenset(), _LONG_AGO, None)


class Tokens:
    """The tokens of one state directory. `load` blocks; `authenticate` does not."""

    def __init__(self, folder: Path, given: Path | None = None) -> None:
        self.path: Path = folder / NAME
        self._folder = folder
        self._given = given
        self._tokens: dict[str, Token] = {}
        self._admin: Token | None = None
        self._stamp: object = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Read the files; make a token for the administrator when there is none at all.

        Raises ConfigError.
        """
        files.check_private(self.path)
        self.load()
        if self._given is not None:
            if not self._given.exists():
                _write_text(self._given, _new_text())
            self._admin = _from_file(self._given)
        elif not self._tokens:
            path = self._folder / "admin.token"
            _write_text(path, self.create("admin", PERMISSIONS))
            log.info("made a token for the administrator: see %s", path)
        self._stamp = self._stamps()

    def load(self) -> None:
        """Read the file of tokens again. Raises ConfigError."""
        self._tokens = {token.id: token for token in _read(self.path)}

    def refresh(self) -> None:
        """Read again what has changed; keeps what it has when that cannot be read. Blocks."""
        # Two threads may be asked at once, and both answer only when it is done.
        with self._lock:
            stamp = self._stamps()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                self.load()
                self._admin = _from_file(self._given) if self._given is not None else None
            except ConfigError as error:
                log.error("the tokens are those from before: %s", error)

    def authenticate(self, text: str) -> Token | None:
        """The token of this text, unless it is unknown, revoked or expired."""
        match = _TEXT.fullmatch(text)
        token = self._tokens.get(match[1], _NOBODY) if match else _NOBODY
        # Compared in any case, so that the time says nothing about which ids there are.
        is_good = hmac.compare_digest(_digest(match[2] if match else ""), token.digest)
        if self._admin is not None and hmac.compare_digest(_digest(text), self._admin.digest):
            return self._admin
        return token if is_good and token is not _NOBODY and not token.is_expired else None

    def is_valid(self, token: Token) -> bool:
        """Whether one that was authenticated before still is: not revoked, replaced or expired since."""
        known = self._admin if token.id == "admin" else self._tokens.get(token.id)
        return known is not None and known == token and not token.is_expired

    def all(self) -> list[Token]:
        """Every token of the file, the oldest first."""
        return sorted(self._tokens.values(), key=lambda token: token.created)

    def create(self, name: str, permissions: Iterable[str], expires: timedelta | None = None) -> str:
        """Add a token and return its text, which nobody can have again. Raises ConfigError, OSError."""
        wanted = frozenset(permissions)
        if unknown := sorted(wanted.difference(PERMISSIONS)):
            raise ConfigError(f"no such permission: {', '.join(unknown)}; there are {', '.join(PERMISSIONS)}")
        if not wanted or not name or not name.isprintable() or len(name) > 80:
            raise ConfigError("a token needs a name of 1 to 80 characters, and at least one permission")
        text = _new_text()
        id, secret = cast("re.Match[str]", _TEXT.fullmatch(text)).groups()
        now = datetime.now(UTC).replace(microsecond=0)
        token = Token(id, name, _digest(secret), wanted, now, now + expires if expires else None)
        self.load()
        self._save([*self.all(), token])
        return text

    def revoke(self, id: str) -> bool:
        """Remove a token; False if there is none. Raises ConfigError, OSError."""
        self.load()
        left = [token for token in self.all() if token.id != id]
        if len(left) == len(self._tokens):
            return False
        self._save(left)
        return True

    def _save(self, tokens: list[Token]) -> None:
        files.write_atomic(self.path, "".join(_as_toml(token) for token in tokens).encode())
        self._tokens = {token.id: token for token in tokens}

    def _stamps(self) -> object:
        found: list[tuple[int, int, int]] = []
        for path in (self.path, self._given):
            if path is not None and path.exists():
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _new_text() -> str:
    id = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(8))
    return f"bus_{id}_{secrets.token_urlsafe(32)}"


def _write_text(path: Path, text: str) -> None:
    try:
        files.write_atomic(path, f"{text}\n".encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _from_file(path: Path) -> Token:
    """The administrator's own token. Raises ConfigError; the text never quotes it."""
    trouble = ""
    text = ""
    try:
        text = read_regular(str(path), 4096)[0].decode("ascii", "replace").strip()
    except OSError as error:
        trouble = error.strerror or type(error).__name__
    except ValueError as error:
        trouble = str(error)
    if not trouble and not _OPAQUE.fullmatch(text):
        trouble = "it must hold one token of 32 to 512 visible ASCII characters"
    if trouble:
        raise ConfigError(f"BUS_ADMIN_TOKEN_FILE {path}: {trouble}")
    return Token("admin", "admin", _digest(text), frozenset(PERMISSIONS), _LONG_AGO, None)


def _read(path: Path) -> list[Token]:
    trouble = ""
    try:
        content = tomllib.loads(read_regular(str(path), MAX_FILE)[0].decode())
        return [_token(entry) for entry in content.get("token", [])]
    except FileNotFoundError:
        return []
    except OSError as error:
        trouble = error.strerror or type(error).__name__
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        trouble = f"not what `bus token` writes ({type(error).__name__})"
    raise ConfigError(f"{path}: {trouble}")


def _token(entry: Mapping[str, object]) -> Token:
    """Raises KeyError, TypeError, ValueError."""
    id, name, digest = entry["id"], entry["name"], entry["hash"]
    created, expires, permissions = entry["created"], entry.get("expires"), entry["permissions"]
    if not isinstance(id, str) or not isinstance(name, str) or not isinstance(digest, str):
        raise TypeError
    if not re.fullmatch(r"[0-9a-f]{64}", digest) or not isinstance(permissions, list):
        raise ValueError
    if not isinstance(created, datetime) or not isinstance(expires, datetime | None):
        raise TypeError
    for one in (created, expires):
        if one is not None and one.tzinfo is None:
            raise ValueError
    granted = frozenset(str(one) for one in cast("list[object]", permissions))
    return Token(id, name, digest, granted, created, expires)


def _as_toml(token: Token) -> str:
    permissions = json.dumps(sorted(token.permissions))
    lines = [
        "[[token]]",
        f"id = {json.dumps(token.id)}",
        f"name = {json.dumps(token.name, ensure_ascii=False)}",
        f"hash = {json.dumps(token.digest)}",
        f"permissions = {permissions}",
        f"created = {token.created.isoformat()}",
        *([f"expires = {token.expires.isoformat()}"] if token.expires else []),
    ]
    return "\n".join(lines) + "\n\n"
