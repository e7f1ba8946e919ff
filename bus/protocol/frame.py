"""The wire: a 40-byte header and a body, to and from bytes (docs/wire.md, frozen by a corpus).

    magic u16, version u8, kind u8, flags u16, count u16, epoch u64, first_seq u64, sent_us u64,
    key_id u8, 3 reserved, crc u32                                        all little endian

The CRC-32 covers the 36 header bytes before it and the body; a sealed frame has none (rule 18,
`bus.protocol.seal`). The body of DATA is one msgpack array32 of events, each encoded once at publish
and joined here; with the flag TRAILER it ends in a trailer whose length is the last four bytes. All
other bodies are msgpack maps (`bus.protocol.control`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple, cast

import msgspec


def _fastest_crc32() -> Callable[[bytes | bytearray | memoryview, int], int]:
    """isal's is four times as fast as the zlib of most systems, for the same polynomial (extra "fast")."""
    try:
        module = import_module("isal.isal_zlib")
    except ImportError:
        return zlib.crc32
    return cast("Callable[[bytes | bytearray | memoryview, int], int]", module.crc32)


crc32: Callable[[bytes | bytearray | memoryview, int], int] = _fastest_crc32()

MAGIC = 0xB05C
VERSION = 1

DATA, HEARTBEAT, REQUEST, REPORT, CONTROL, TYPES = 1, 2, 3, 4, 5, 6

HELLO, BYE, OBSERVER, REPEAT, TRAILER, SEALED = 1, 2, 4, 8, 16, 32

HEADER = struct.Struct("<HBBHHQQQB3xI")
HEADER_SIZE = HEADER.size
_HEAD = struct.Struct("<HBBHHQQQB3x")
_HEAD_SIZE = _HEAD.size
_CRC = struct.Struct("<I")
_ARRAY = struct.Struct(">BI")
BODY_START = HEADER_SIZE + _ARRAY.size

# Bytes that the seal puts round a body: nonce before it, tag behind it.
NONCE_SIZE = 12
SEAL_SIZE = NONCE_SIZE + 16

MAX_SEQ = 1 << 63
MAX_COUNT = 0xFFFF


class Header(NamedTuple):
    """The header as read from the wire."""

    magic: int
    version: int
    kind: int
    flags: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody asks of a header
    epoch: int
    first_seq: int
    sent_us: int
    key_id: int
    crc: int


# An event, by its place in the frame, and the W3C traceparent of the trace that it belongs to.
Mark = tuple[int, str]
_encode_marks = msgspec.msgpack.Encoder().encode
_decode_marks = msgspec.msgpack.Decoder(list[Mark]).decode


class FrameError(ValueError):
    """The bytes are no frame of ours; `reason` is one short word for the counters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(frame: bytes) -> Header:
    """Read the header without looking at the body: enough to drop own frames (rule 13).

    Raises FrameError: "short", "magic". The version is the caller's to judge, because heartbeats
    are read in every version (rule 15).
    """
    if len(frame) < HEADER_SIZE:
        raise FrameError("short")
    header = Header._make(HEADER.unpack_from(frame))
    if header.magic != MAGIC:
        raise FrameError("magic")
    return header


def check(frame: bytes, header: Header) -> None:
    """Verify what `parse` did not: version, checksum, the numbers, and for DATA the array length.

    Raises FrameError: "version", "sealed", "crc", "range", "count".
    """
    if header.version != VERSION and header.kind != HEARTBEAT:
        raise FrameError("version")
    if header.flags & SEALED:
        raise FrameError("sealed")
    # Body first into one buffer would copy it; a memoryview does not (142 ns instead of 1.3 us).
    if crc32(memoryview(frame)[HEADER_SIZE:], crc32(frame[:_HEAD_SIZE], 0)) != header.crc:
        raise FrameError("crc")
    check_numbers(frame, header)


def check_numbers(frame: bytes, header: Header) -> None:
    """The part of `check` that a sealed frame needs, too, when it is open.

    Raises FrameError: "range", "count".
    """
    # Heartbeats hand `sent_us` back: one above the range of their numbers would spoil all of ours.
    if header.sent_us >= MAX_SEQ:
        raise FrameError("range")
    if header.kind == DATA:
        if not 0 < header.first_seq <= MAX_SEQ - header.count or not header.count:
            raise FrameError("range")
        # Compared as bytes, so that a body shorter than an array header is unequal, too.
        if frame[HEADER_SIZE:BODY_START] != array_of(header.count):
            raise FrameError("count")


def pack(
    kind: int, flags: int, epoch: int, sent_us: int, body: bytes, first_seq: int = 0, count: int = 0
) -> bytes:
    """Build one frame."""
    head = _HEAD.pack(MAGIC, VERSION, kind, flags, count, epoch, first_seq, sent_us, 0)
    return b"".join((head, _CRC.pack(crc32(body, crc32(head, 0))), body))


def pack_events(
    epoch: int, first_seq: int, sent_us: int, events: Sequence[bytes], marks: Sequence[Mark] = ()
) -> bytes:
    """Build a DATA frame of events that are encoded already, at most `MAX_COUNT`; marks make a trailer."""
    return pack_body(epoch, first_seq, len(events), sent_us, b"".join(events), marks)


def pack_body(
    epoch: int, first_seq: int, count: int, sent_us: int, events: bytes | bytearray,
    marks: Sequence[Mark] = (),
) -> bytes:  # fmt: skip
    """The same of `count` encoded events that stand behind each other already: they are copied once."""
    head = _HEAD.pack(MAGIC, VERSION, DATA, TRAILER if marks else 0, count, epoch, first_seq, sent_us, 0)
    array = array_of(count)
    crc = crc32(events, crc32(array, crc32(head, 0)))
    if not marks:
        return b"".join((head, _CRC.pack(crc), array, events))
    trailer = trailer_of(marks)
    return b"".join((head, _CRC.pack(crc32(trailer, crc)), array, events, trailer))


def array_of(count: int) -> bytes:
    """What stands before so many encoded events to make them an array."""
    return _ARRAY.pack(0xDD, count)


def trailer_of(marks: Sequence[Mark]) -> bytes:
    """The trailer with its length; nothing when there are no marks."""
    encoded = _encode_marks(marks)
    return encoded + len(encoded).to_bytes(4, "little") if marks else b""


def as_repeat(*frames: bytes) -> bytes:
    """DATA frames that follow each other, as one that is marked as a repeat (rule 3)."""
    return joined(frames, REPEAT)


def joined(frames: Sequence[bytes], flags: int = 0) -> bytes:
    """DATA frames that follow each other, as one; more than one must have no trailer.

    It keeps the highest `sent_us`: it is no newer than its content.
    """
    headers = [Header._make(HEADER.unpack_from(frame)) for frame in frames]
    count = sum(header.count for header in headers)
    if len(frames) == 1:
        body = frames[0][HEADER_SIZE:]
    else:
        body = b"".join((array_of(count), *(frame[BODY_START:] for frame in frames)))
    sent_us = max(header.sent_us for header in headers)
    head = headers[0]
    return pack(DATA, head.flags | flags, head.epoch, sent_us, body, head.first_seq, count)


def events_of(frame: bytes, header: Header) -> memoryview:
    """The msgpack array of a DATA frame, without its trailer. Raises FrameError "trailer"."""
    view = memoryview(frame)[HEADER_SIZE:]
    if not header.flags & TRAILER:
        return view
    size = int.from_bytes(view[-4:], "little") + 4
    if size > len(view) - _ARRAY.size:
        raise FrameError("trailer")
    return view[:-size]


def marks_of(frame: bytes, header: Header) -> list[Mark]:
    """What the trailer says. Nothing where it cannot be read: a trace is no reason to lose events."""
    if not header.flags & TRAILER:
        return []
    view = memoryview(frame)
    try:
        return _decode_marks(view[len(view) - 4 - int.from_bytes(view[-4:], "little") : -4])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):  # T24
        return []
