"""The bodies of control frames: heartbeat, request, report, types. Msgpack maps; unknown keys are ignored.

The one-letter keys are the wire; the attribute names are ours. A heartbeat stays readable for ever
(rule 15): keys may be added, never changed.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from bus.protocol.frame import HEADER_SIZE, MAX_SEQ, SEAL_SIZE, FrameError

# Rule 9: at most 512 bytes with header and seal.
HEARTBEAT_ROOM = 512 - HEADER_SIZE - SEAL_SIZE
MAX_NAME = 128
MAX_ENTRIES = 8
MAX_RANGES = 16

Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ - 1)]
Epoch = Annotated[int, msgspec.Meta(ge=0)]
# One above the largest number is 2^63, which a bound of the decoder cannot name.
Next = Annotated[int, msgspec.Meta(ge=0)]
Range = tuple[Number, Number]


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a node says of one peer: to be listed proves the link both ways (rule 9)."""

    epoch: Epoch
    position: Number
    lost: Number
    heard_us: Number
    sent_us: Number


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a sender has sent and still holds, and what it has heard of others."""

    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME)] = msgspec.field(name="n")
    counter: Number = msgspec.field(name="c")
    uptime_us: Number = msgspec.field(name="u")
    min_version: Number = msgspec.field(name="v", default=1)
    max_version: Number = msgspec.field(name="w", default=1)
    last: Number = msgspec.field(name="l", default=0)
    held: Number = msgspec.field(name="h", default=1)
    sent: Number = msgspec.field(name="s", default=0)
    digest: Epoch = msgspec.field(name="d", default=0)
    generation: Number = msgspec.field(name="g", default=0)
    entries: list[Entry] = msgspec.field(name="p", default=[])
    # Heard, but no peers yet (rule 18): named so that they may know that we are here now.
    strangers: list[Entry] = msgspec.field(name="k", default=[])


class Wanted(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The ranges (inclusive) that are missing of one epoch."""

    epoch: Epoch
    ranges: list[Range]


class Request(msgspec.Struct, frozen=True, gc=False):
    """Please repeat: at most `MAX_RANGES` ranges over all epochs."""

    wanted: list[Wanted] = msgspec.field(name="r")


class Account(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The ledger of one peer epoch: everything that became of its numbers since `baseline`."""

    epoch: Epoch
    baseline: Next
    position: Number
    delivered: Number
    repaired: Number
    lost: Number
    duplicates: Number
    # Kept per peer: without a bound, a forged report could fill the memory.
    gaps: Annotated[list[Range], msgspec.Meta(max_length=MAX_RANGES)]


class Heard(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How a node hears one peer epoch: for who asks who hears whom, in clusters of any size."""

    epoch: Epoch
    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
    # Microseconds since its last frame, attended ones; half of the round trip to it, if that is known.
    silent_us: Number
    latency_us: Number | None
    # It said goodbye, or was told lost: nobody waits for it.
    is_over: bool


class Queue(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One local queue of a node, and what was dropped there because its reader was too slow."""

    name: Annotated[str, msgspec.Meta(max_length=256)]
    capacity: Number
    waiting: Number
    dropped: Number


class About(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a node says of itself to who asks everybody; each key may be missing."""

    release: Annotated[str, msgspec.Meta(max_length=64)] = msgspec.field(name="v", default="")
    state: Annotated[str, msgspec.Meta(max_length=16)] = msgspec.field(name="s", default="")
    # The clock on the wall, microseconds since 1970; 0: not said.
    wall_us: Number = msgspec.field(name="w", default=0)
    # Reason -> how many frames, or events, were refused for it.
    refused: dict[str, Number] = msgspec.field(name="x", default={})
    queues: Annotated[list[Queue], msgspec.Meta(max_length=64)] = msgspec.field(name="d", default=[])
    # Why it is not ready, in words.
    problems: Annotated[list[str], msgspec.Meta(max_length=64)] = msgspec.field(name="p", default=[])


class Report(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A question (`ask`: whose ledger, 0 = everybody's) or the whole ledger as the answer."""

    ask: Epoch | None = msgspec.field(name="q", default=None)
    accounts: list[Account] = msgspec.field(name="a", default=[])
    heard: list[Heard] = msgspec.field(name="h", default=[])
    about: About | None = msgspec.field(name="i", default=None)


class Typed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One event type: its tag, and its description, which the core does not look into (`bus.schema`)."""

    tag: int | str
    description: msgspec.Raw


class Types(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A question (`ask`: whose event types, 0 = everybody's), or a part of the answer of `count` types."""

    ask: Epoch | None = msgspec.field(name="q", default=None)
    digest: Epoch = msgspec.field(name="d", default=0)
    count: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = msgspec.field(name="n", default=0)
    types: list[Typed] = msgspec.field(name="t", default=[])


T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode
_heartbeat = msgspec.msgpack.Decoder(Heartbeat)
_request = msgspec.msgpack.Decoder(Request)
_report = msgspec.msgpack.Decoder(Report)
_types = msgspec.msgpack.Decoder(Types)


def encode(body: Heartbeat | Request | Report | Types) -> bytes:
    """The body as msgpack."""
    return _encode(body)


def _read(decoder: msgspec.msgpack.Decoder[T], frame: bytes) -> T:
    # T24: deep nesting under an unknown key raises RecursionError, bad text UnicodeDecodeError.
    try:
        return decoder.decode(memoryview(frame)[HEADER_SIZE:])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise FrameError("body") from error


def read_heartbeat(frame: bytes) -> Heartbeat:
    """Decode; raises FrameError "body", also where the numbers contradict each other."""
    beat = _read(_heartbeat, frame)
    if beat.held > beat.last + 1 or beat.sent > beat.last:
        raise FrameError("body")
    # The type bounds characters; the bound of rule 9 is bytes.
    if not beat.name or len(beat.name.encode()) > MAX_NAME:
        raise FrameError("body")
    return beat


def read_request(frame: bytes) -> Request:
    """Decode; raises FrameError "body"."""
    return _read(_request, frame)


def read_report(frame: bytes) -> Report:
    """Decode; raises FrameError "body"."""
    return _read(_report, frame)


def read_types(frame: bytes) -> Types:
    """Decode; raises FrameError "body"."""
    return _read(_types, frame)
