"""The keys and signed claims by which a NATS server knows an operator, its account and its users.

A claim is a JWT with the algorithm of NKeys (Ed25519). The operator signs the account, the account signs the
user; the server trusts the operator and finds the account in its configuration (resolver MEMORY).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from binascii import crc_hqx
from collections.abc import Mapping
from typing import Literal

from bus.testing.brokers.broker import Unavailable

_PREFIX = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_SEED = 18 << 3


class NKey:
    """A new Ed25519 key pair, written as NATS does: the role in the first letters, a check sum at the end.

    Raises Unavailable without the package cryptography.
    """

    def __init__(self, role: Literal["operator", "account", "user"]) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        except ImportError:
            raise Unavailable("NKeys and JWT: pip install 'coordinator-bus[testing]'") from None
        self._prefix = _PREFIX[role]
        self._key = Ed25519PrivateKey.generate()

    @property
    def seed(self) -> str:
        """The secret half, as a client is given it."""
        # Five bits of the role follow the five of "seed": base32 makes two letters of them.
        head = bytes([_SEED | self._prefix >> 5, (self._prefix & 31) << 3])
        return _checked(head + self._key.private_bytes_raw())

    @property
    def public(self) -> str:
        """The public half, as a server is given it."""
        return _checked(bytes([self._prefix]) + self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """The signature of a text, in the alphabet of JWT: what a server wants for its nonce."""
        return _base64(self._key.sign(text.encode()))

    def claim(
        self, subject: NKey, name: str, nats: Mapping[str, object], *, seconds: float | None = None
    ) -> str:
        """A JWT about `subject`, signed by us; good for `seconds`, or for ever."""
        now = time.time()
        body: dict[str, object] = {
            "iat": int(now),
            "iss": self.public,
            "sub": subject.public,
            "name": name,
            "nats": {"version": 2, **nats},
        }
        if seconds is not None:
            body["exp"] = int(now + seconds)
        body["jti"] = (
            base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
        )
        text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(body)}"
        return f"{text}.{self.sign(text)}"


class Operator:
    """An operator with one account, whose users it makes."""

    def __init__(self) -> None:
        self._key, self._account = NKey("operator"), NKey("account")
        # No limits: a limit that is left out counts as zero.
        limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        self._operator_claim = self._key.claim(self._key, "operator", {"type": "operator"})
        claims = {"type": "account", "limits": {**limits, "wildcards": True}}
        self._account_claim = self._key.claim(self._account, "account", claims)

    def config(self) -> dict[str, object]:
        """What the server has to be configured with."""
        return {
            "operator": self._operator_claim,
            "resolver": "MEMORY",
            "resolver_preload": {self._account.public: self._account_claim},
        }

    def user(
        self,
        permissions: Mapping[str, object] | None = None,
        *,
        seconds: float | None = None,
        key: NKey | None = None,
    ) -> str:
        """The text of a .creds file for a user, good for `seconds` or for ever; its key is new if not given.

        permissions: {"publish": ["bus.>"], "subscribe": ["bus.>"]}; also {"publish": {"deny": [...]}}.
        """
        key = key or NKey("user")
        claims: dict[str, object] = {"type": "user", "subs": -1, "data": -1, "payload": -1}
        for claim, name in (("pub", "publish"), ("sub", "subscribe")):
            rule = (permissions or {}).get(name, {})
            claims[claim] = rule if isinstance(rule, Mapping) else {"allow": rule}
        claim = self._account.claim(key, "user", claims, seconds=seconds)
        return (
            f"-----BEGIN NATS USER JWT-----\n{claim}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n"
        )


def _part(value: Mapping[str, object]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _checked(data: bytes) -> str:
    return base64.b32encode(data + crc_hqx(data, 0).to_bytes(2, "little")).decode().rstrip("=")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
