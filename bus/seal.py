"""The seal of a cluster key: AES-256-GCM, one key for each log, a fresh nonce for each frame (rule 18).

    PRK        = HKDF-Extract(salt = "coordinator-bus seal 1", cluster key)
    log key    = HKDF-Expand(PRK, channel, 0, epoch as 8 bytes little endian; 32 bytes)
    key_id     = first byte of HKDF-Expand(PRK, "key_id")
    sealed     = header (SEALED, key_id, crc 0) | 12 random bytes | AES-256-GCM(body; header bound) | tag

HKDF is that of RFC 5869 with SHA-256. A key of its own for each log keeps the random nonces of one process
apart from those of all others; the channel keeps one cluster's frames out of another one with the same key.
"""

from __future__ import annotations

import hmac
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bus.errors import ConfigError
from bus.protocol.frame import HEADER_SIZE, NONCE_SIZE, SEAL_SIZE, SEALED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from bus.protocol.frame import Header

_SALT = b"coordinator-bus seal 1"
# Logs whose cipher is kept for each cluster key: as many as there are known epochs (`Limits.epochs`).
_MOST = 4_096
_BODY = HEADER_SIZE + NONCE_SIZE
_FLAGGED = [bytes((flags | SEALED,)) for flags in range(256)]


def _expand(prk: bytes, info: bytes) -> bytes:
    """The first block of HKDF-Expand: 32 bytes."""
    return hmac.digest(prk, info + b"\x01", "sha256")


class _Key:
    """One cluster key: its mark on the wire, and the ciphers of the logs that were sealed with it."""

    def __init__(self, secret: bytes, channel: str) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aes_gcm, self._invalid = AESGCM, InvalidTag
        self.prk = hmac.digest(_SALT, secret, "sha256")
        self.mark = _expand(self.prk, b"key_id")[0]
        self._info = channel.encode() + b"\x00"
        # In the order of their last use.
        self._ciphers: dict[int, AESGCM] = {}

    def cipher(self, epoch: int) -> AESGCM:
        """A new one."""
        return self._aes_gcm(_expand(self.prk, self._info + epoch.to_bytes(8, "little")))

    def open(self, frame: bytes, epoch: int) -> bytes | None:
        """The header and the body in the clear; None when it was not sealed with this key."""
        known = self._ciphers.pop(epoch, None)
        cipher = known or self.cipher(epoch)
        head = frame[:HEADER_SIZE]
        try:
            body = cipher.decrypt(frame[HEADER_SIZE:_BODY], memoryview(frame)[_BODY:], head)
        except self._invalid:
            body = None
        # Only of a log that has shown itself to be one: made-up epochs must not crowd out the others.
        if body is not None or known is not None:
            self._ciphers[epoch] = cipher
            if len(self._ciphers) > _MOST:
                del self._ciphers[next(iter(self._ciphers))]
        return None if body is None else head + body


class Seal:
    """Seals the frames of one epoch with the first key, and opens those that any of the keys has sealed.

    `keys` are bytes of any length, at least one; whether they are good ones `bus.keys` has judged. `nonces`
    gives so many bytes that were never used before: random ones, and `os.urandom` unless time is simulated.
    """

    def __init__(
        self, keys: Sequence[bytes], channel: str, epoch: int, nonces: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._channel = channel
        self._epoch = epoch
        self._nonces = nonces
        self._keys: list[_Key] = []
        self.renew(keys)

    def renew(self, keys: Sequence[bytes]) -> bool:
        """From now on these keys; what is known of those that stay is kept. True: they are others."""
        before = {key.prk: key for key in self._keys}
        made = [_Key(secret, self._channel) for secret in keys]
        is_new = [key.prk for key in made] != list(before)
        self._keys = [before.get(key.prk, key) for key in made]
        first = self._keys[0]
        self._tail, self._encrypt = bytes((first.mark,)) + bytes(7), first.cipher(self._epoch).encrypt
        return is_new

    @property
    def key_ids(self) -> list[int]:
        """What the frames of each key bear, for those who compare nodes."""
        return [key.mark for key in self._keys]

    def seal(self, frame: bytes) -> bytes:
        """A finished frame, sealed."""
        # The flag is in the low byte of the flags; behind the stamp are key_id, reserved bytes, no checksum.
        head = b"".join((frame[:4], _FLAGGED[frame[4]], frame[5:32], self._tail))
        nonce = self._nonces(NONCE_SIZE)
        return b"".join((head, nonce, self._encrypt(nonce, memoryview(frame)[HEADER_SIZE:], head)))

    def open(self, frame: bytes, header: Header) -> bytes | None:
        """The header as it came, and the body in the clear; None when no key of ours opens it."""
        if len(frame) < HEADER_SIZE + SEAL_SIZE:
            return None
        # The mark is one byte: two keys in 256 share one.
        for key in self._keys:
            if key.mark == header.key_id and (clear := key.open(frame, header.epoch)) is not None:
                return clear
        return None

    def knows(self, key_id: int) -> bool:
        """Is it the mark of a key of ours?"""
        return any(key.mark == key_id for key in self._keys)

    def __repr__(self) -> str:
        return f"Seal({len(self._keys)} keys)"


def need_library() -> None:
    """Raises ConfigError when the extra "seal" is not installed."""
    if find_spec("cryptography") is None:
        raise ConfigError(
            "key: sealed frames need the package cryptography, which is not installed: "
            "pip install 'coordinator-bus[seal]'"
        )
