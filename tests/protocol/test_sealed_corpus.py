"""The seal is frozen as the wire is: `sealed.json` holds frames, their key, channel and nonce.

They are opened and made again to the byte. Frames are only ever added. Each is one of `frames.json`, sealed.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bus.protocol import frame as wire
from bus.seal import Seal
from tests.protocol import corpus

FILE = Path(__file__).with_name("sealed.json")
DOCUMENT = Path(__file__).parents[2] / "docs" / "wire.md"


class Sealed(msgspec.Struct):
    """One frame, and what it was made with."""

    name: str
    of: str
    key: str
    channel: str
    nonce: str
    hex: str


SAMPLES = msgspec.json.decode(FILE.read_bytes(), type=list[Sealed])
PLAIN = {one.name: one.frame for one in corpus.load()}

each = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.name))


def seal_of(sample: Sealed, nonce: str = "") -> Seal:
    epoch = int.from_bytes(bytes.fromhex(sample.hex)[8:16], "little")
    return Seal([sample.key.encode()], sample.channel, epoch, lambda size: bytes.fromhex(nonce)[:size])


@each
def test_a_frozen_sealed_frame_is_opened_as_it_always_was(sample: Sealed) -> None:
    frame, plain = bytes.fromhex(sample.hex), PLAIN[sample.of]
    header = wire.parse(frame)
    assert header.crc == 0
    opened = seal_of(sample).open(frame, header)
    assert opened is not None
    assert opened[wire.HEADER_SIZE :] == plain[wire.HEADER_SIZE :]
    assert wire.parse(plain)._replace(flags=header.flags, key_id=header.key_id, crc=0) == header
    assert header.flags == wire.parse(plain).flags | wire.SEALED


@each
def test_a_frozen_sealed_frame_is_made_as_it_always_was(sample: Sealed) -> None:
    assert seal_of(sample, sample.nonce).seal(PLAIN[sample.of]).hex() == sample.hex


def test_the_example_of_the_document_is_one_of_them() -> None:
    text = DOCUMENT.read_text()
    (name, example) = re.findall(r"<!-- sealed: (\w+) -->\n+```text\n(.*?)```", text, re.DOTALL)[0]
    shown = "".join(re.split(r"\s{2,}", line.strip())[0] for line in str(example).splitlines())
    sample = next(one for one in SAMPLES if one.name == name)
    assert shown.replace(" ", "") == sample.hex
    for value in (sample.key, sample.channel):
        assert f"`{value}`" in text
