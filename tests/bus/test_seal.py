"""The cipher of a cluster key: what it makes can be read by others, from docs/wire.md alone."""

from __future__ import annotations

import hashlib
import os

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bus import seal as seal_module
from bus.protocol import frame as wire
from bus.seal import Seal

KEY, OTHER = b"an example of a cluster key, of 40 bytes", b"another one"
CHANNEL = "bus.default"
EPOCH = 0x1122334455667788


def derived(info: bytes, key: bytes = KEY) -> bytes:
    """As the document says, by another implementation of HKDF."""
    return HKDF(SHA256(), 32, b"coordinator-bus seal 1", info).derive(key)


def foreign_open(frame: bytes, channel: str = CHANNEL) -> bytes:
    """The body, read with nothing of ours."""
    log_key = derived(channel.encode() + b"\x00" + frame[8:16])
    return AESGCM(log_key).decrypt(frame[40:52], frame[52:], frame[:40])


def seal(*keys: bytes, channel: str = CHANNEL, epoch: int = EPOCH) -> Seal:
    return Seal(keys or (KEY,), channel, epoch)


def opened(one: Seal, frame: bytes) -> bytes | None:
    return one.open(frame, wire.parse(frame))


PLAIN = wire.pack_events(EPOCH, 41, 1_700, [b"\x91\x10", b"\x91\x11"])


def test_a_sealed_frame_can_be_opened_by_others_from_the_document_alone() -> None:
    frame = seal().seal(PLAIN)
    assert len(frame) == len(PLAIN) + 28
    assert foreign_open(frame) == PLAIN[40:]
    header, before = wire.parse(frame), wire.parse(PLAIN)
    assert header == before._replace(flags=wire.SEALED, key_id=derived(b"key_id")[0], crc=0)
    # ... and what they seal by us.
    nonce, head = os.urandom(12), frame[:40]
    log_key = derived(CHANNEL.encode() + b"\x00" + EPOCH.to_bytes(8, "little"))
    theirs = head + nonce + AESGCM(log_key).encrypt(nonce, PLAIN[40:], head)
    assert opened(seal(epoch=7), theirs) == head + PLAIN[40:]


def test_each_log_and_each_channel_has_a_key_of_its_own() -> None:
    frame = seal().seal(PLAIN)
    assert opened(seal(channel="bus.other"), frame) is None
    with pytest.raises(InvalidTag):
        foreign_open(frame, "bus.other")
    # With another epoch in the header it is another log's.
    assert opened(seal(), frame[:8] + b"\x01" + frame[9:]) is None


def test_no_two_frames_have_the_same_nonce() -> None:
    one = seal()
    nonces = {one.seal(PLAIN)[40:52] for _ in range(1_000)}
    assert len(nonces) == 1_000
    assert len({seal().seal(PLAIN)[40:52] for _ in range(1_000)} | nonces) == 2_000


def test_the_first_key_seals_and_all_open() -> None:
    old, both, new = seal(KEY), seal(OTHER, KEY), seal(OTHER)
    assert opened(both, old.seal(PLAIN)) is not None
    assert opened(both, new.seal(PLAIN)) is not None
    assert opened(new, both.seal(PLAIN)) is not None
    assert opened(old, both.seal(PLAIN)) is None
    assert both.key_ids == [new.key_ids[0], old.key_ids[0]]
    assert [both.knows(key_id) for key_id in both.key_ids] == [True, True]
    assert not both.knows(next(number for number in range(256) if number not in both.key_ids))
    # In any order of the list: the key_id is made of the key.
    assert opened(seal(KEY, OTHER), both.seal(PLAIN)) is not None


def test_a_renewed_key_takes_over_at_once_and_what_stays_keeps_what_it_knows() -> None:
    one = seal(KEY)
    assert not one.renew([KEY])
    assert one.renew([KEY, OTHER])
    assert one.renew([OTHER, KEY])
    assert opened(seal(OTHER), one.seal(PLAIN)) is not None
    assert one.renew([OTHER])
    assert opened(one, seal(KEY).seal(PLAIN)) is None


def test_two_keys_that_share_their_mark_are_both_tried() -> None:
    mark = seal(KEY).key_ids[0]
    twin = next(
        key for key in (hashlib.sha256(b"%d" % number).digest() for number in range(10_000))
        if seal(key).key_ids == [mark]
    )  # fmt: skip
    both = seal(KEY, twin)
    for key in (KEY, twin):
        assert opened(both, seal(key).seal(PLAIN)) is not None


@pytest.mark.parametrize("length", [0, 1, 12, 27])
def test_a_body_that_is_too_short_for_a_seal_opens_to_nothing(length: int) -> None:
    assert opened(seal(), seal().seal(PLAIN)[: 40 + length]) is None


def test_an_empty_body_can_be_sealed() -> None:
    empty = wire.pack(wire.CONTROL, 0, EPOCH, 5, b"")
    assert opened(seal(), seal().seal(empty)) is not None


def test_made_up_epochs_crowd_out_no_cipher_and_the_least_used_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_module, "_MOST", 3)
    made: list[int] = []
    one = seal()
    (key,) = vars(one)["_keys"]
    cipher = key.cipher

    def noted(epoch: int) -> object:
        made.append(epoch)
        return cipher(epoch)

    monkeypatch.setattr(key, "cipher", noted)
    frames = {epoch: seal(epoch=epoch).seal(wire.pack(wire.DATA, 0, epoch, 1, b"")) for epoch in range(1, 5)}
    for epoch in (1, 2, 3, 1, 2, 3):
        assert opened(one, frames[epoch]) is not None
    for epoch in range(100, 200):
        forged = frames[1][:8] + epoch.to_bytes(8, "little") + frames[1][16:]
        assert opened(one, forged) is None
    # A frame of a known log that was changed does not cost it its cipher.
    assert opened(one, frames[2][:-1] + bytes([frames[2][-1] ^ 1])) is None
    made.clear()
    for epoch in (1, 3, 2, 4, 3, 2, 4, 1):
        assert opened(one, frames[epoch]) is not None
    assert made == [4, 1]


def test_it_shows_no_key() -> None:
    assert repr(seal(KEY, OTHER)) == "Seal(2 keys)"
