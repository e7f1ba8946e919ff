"""Who we are: from authUsername, authSecret and credentials to what nats-py takes."""

from __future__ import annotations

import base64
import binascii
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from bus.errors import ConfigError

if TYPE_CHECKING:
    from bus.config import Nats

_CREDS = re.compile(
    r"-BEGIN NATS USER JWT-+\s+([\w-]+\.([\w-]+)\.[\w-]+)\s+-+END NATS USER JWT-.*"
    r"-BEGIN USER NKEY SEED-+\s+(\w+)\s+-+END USER NKEY SEED-",
    re.DOTALL,
)
_SEED = re.compile(r"S[UAONCX][A-Z2-7]{40,}")
_BLOCK = "-----BEGIN {0}-----\n{1}\n------END {0}------\n"


class Login(NamedTuple):
    """Arguments for nats-py, and in words what they are."""

    arguments: dict[str, object]
    words: str


def login(config: Nats) -> Login:
    """Read the secrets, as they are now (rule 17). Raises ConfigError, which shows none of them."""
    password, text = config.auth_secret.resolve(), config.credentials.resolve()
    if password is not None:
        user = config.auth_username
        return Login({"user": user, "password": password}, f"authUsername {user!r} with this authSecret")
    if text is None:
        return Login({}, "a connection without login: set authUsername and authSecret, or credentials")
    text = text.strip()
    if "-----BEGIN" in text:
        return _creds(text)
    if _SEED.fullmatch(text):
        _check_seed(text)
        return Login({"nkeys_seed_str": text}, "the NKey whose seed is in credentials")
    if len(text.split()) != 1:
        raise ConfigError(
            f"credentials: {len(text.split())} words are neither a token, nor the seed of an NKey (SU...), "
            "nor the text of a .creds file (-----BEGIN NATS USER JWT-----)"
        )
    return Login({"token": text}, "the token in credentials")


def _creds(text: str) -> Login:
    from nats.aio.client import RawCredentials

    # nats-py looks for these lines for ever, and the event loop with it (T10).
    found = _CREDS.search(text)
    if found is None:
        raise ConfigError(
            "credentials: the text of the .creds file is not whole; it has a block NATS USER JWT and a "
            "block USER NKEY SEED, each from its BEGIN to its END line"
        )
    jwt, claims, seed = found.groups()
    _check_seed(seed)
    # In the line ends of another system the JWT would end with a character too many.
    whole = _BLOCK.format("NATS USER JWT", jwt) + _BLOCK.format("USER NKEY SEED", seed)
    return Login({"user_credentials": RawCredentials(whole)}, f"the JWT in credentials{_end(claims)}")


def _end(claims: str) -> str:
    """When a JWT that has expired did so. Only the server's clock decides about that."""
    with suppress(ValueError, LookupError, TypeError, OverflowError, OSError):
        body = json.loads(base64.urlsafe_b64decode(claims + "=="))
        end = datetime.fromtimestamp(body["exp"], UTC)
        if end < datetime.now(UTC):
            return f", which expired at {end:%Y-%m-%d %H:%M:%S} UTC"
    return ""


def _check_seed(seed: str) -> None:
    """Nobody else looks at the checksum: the server would only say that it does not know us."""
    raw = b""
    with suppress(binascii.Error):
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    if len(raw) != 36 or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise ConfigError("credentials: the seed of the NKey is damaged (its length or checksum is wrong)")
    if not seed.startswith("SU"):
        raise ConfigError(f"credentials: a seed that begins with {seed[:2]}; that of a user begins with SU")
