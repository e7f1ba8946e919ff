"""The frozen corpus: frames of every kind with what they mean. It pins the wire for ever.

`frames.json` is the truth; a change of the code that does not reproduce it is a mistake, or a new version
of the protocol. Frames are only ever added. To write the file again, deliberately:

    python -m tests.protocol.corpus --write
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec

from bus.protocol import control, frame as wire
from bus.protocol.control import (
    About,
    Account,
    Entry,
    Heard,
    Heartbeat,
    Queue,
    Report,
    Request,
    Typed,
    Types,
    Wanted,
)

FILE = Path(__file__).with_name("frames.json")

A, B = 0x1122334455667788, 0xFEDCBA9876543210
"""Two epochs: the second has its highest bit set."""
NOW = 1_700_000_000_000


class Sample(msgspec.Struct, kw_only=True):
    """One frame. `wire` is its body as plain msgpack, `means` the same by the names of the code."""

    name: str
    note: str
    hex: str
    header: dict[str, int]
    wire: object
    means: object = None
    refused: str | None = None

    @property
    def frame(self) -> bytes:
        """The bytes."""
        return bytes.fromhex(self.hex)


def load() -> list[Sample]:
    """The frozen frames."""
    return msgspec.json.decode(FILE.read_bytes(), type=list[Sample])


def plain(value: object) -> object:
    """Structs as maps by the names of the code."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, msgspec.Raw):
        return msgspec.msgpack.decode(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast("Sequence[object]", value)]
    return value


def meaning(frame: bytes) -> object:
    """What a control frame means; raises FrameError. None for DATA."""
    readers = {
        wire.HEARTBEAT: control.read_heartbeat,
        wire.REQUEST: control.read_request,
        wire.REPORT: control.read_report,
        wire.TYPES: control.read_types,
    }
    header = wire.parse(frame)
    wire.check(frame, header)
    if header.kind == wire.DATA:
        return None
    if header.kind not in readers:
        raise wire.FrameError("kind")
    return plain(readers[header.kind](frame))


def foreign(frame: bytes, version: int, kind: int, flags: int, extra: dict[str, object]) -> bytes:
    """The frame as a later version might send it: another header, a body with keys of its own."""
    header = wire.parse(frame)
    body = msgspec.msgpack.decode(frame[wire.HEADER_SIZE :], type=dict[str, object])
    later = wire.pack(kind, flags, header.epoch, header.sent_us, msgspec.msgpack.encode(body | extra))
    return reseal(later[:2] + bytes([version]) + later[3:])


def reseal(frame: bytes) -> bytes:
    """The frame with the checksum that its bytes have now."""
    crc = zlib.crc32(frame[: wire.HEADER_SIZE - 4] + frame[wire.HEADER_SIZE :])
    return frame[: wire.HEADER_SIZE - 4] + crc.to_bytes(4, "little") + frame[wire.HEADER_SIZE :]


def _events(*events: object) -> list[bytes]:
    return [msgspec.msgpack.encode(one) for one in events]


def _trailed() -> bytes:
    plain_frame = wire.pack_events(A, 7, NOW, _events(["cache.invalidated", 7, ["inbox"]]))
    trailer = msgspec.msgpack.encode([[0, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]])
    body = plain_frame[wire.HEADER_SIZE :] + trailer + len(trailer).to_bytes(4, "little")
    return wire.pack(wire.DATA, wire.TRAILER, A, NOW, body, 7, 1)


def _frames() -> list[tuple[str, str, bytes]]:
    first = Heartbeat(name="shop-1:4711", counter=0, uptime_us=0)
    full = Heartbeat(
        name="héron",
        counter=86_400,
        uptime_us=86_400_000_000,
        min_version=1,
        max_version=2,
        last=wire.MAX_SEQ - 1,
        held=wire.MAX_SEQ - 1000,
        sent=wire.MAX_SEQ - 2,
        digest=0xDEADBEEFCAFEF00D,
        generation=3,
        entries=[
            Entry(A, 41, 0, NOW, NOW - 1500),
            Entry(B, 1 << 40, 17, NOW + 1, NOW + 2),
        ],
    )
    hello = wire.pack(wire.HEARTBEAT, wire.HELLO, A, NOW, control.encode(first))
    request = Request([Wanted(B, [(1, 1), (5, 70_000)]), Wanted(A, [(1 << 40, wire.MAX_SEQ - 1)])])
    account = Account(B, 1, 1000, 990, 12, 10, 3, [(5, 9), (100, 104)])
    no_keys: list[str] = []
    example = wire.pack_events(
        A, 41, NOW, _events(["cache.invalidated", 7, ["inbox"]], ["cache.invalidated", 8, no_keys])
    )
    largest = wire.pack_events(B, wire.MAX_SEQ - 1, wire.MAX_SEQ - 1, _events([16]))

    def pack(kind: int, body: Request | Report | Types) -> bytes:
        return wire.pack(kind, 0, A, NOW, control.encode(body))

    return [
        ("data", "two events, numbers 41 and 42", example),
        ("data_repeat", "the same, repeated: only flags and checksum differ", wire.as_repeat(example)),
        ("data_tombstone", "an event that no link could carry", wire.pack_events(A, 1, 1, [b"\x91\x01"])),
        ("data_largest", "the largest number and the largest time that there are", largest),
        ("data_trailer", "a trailer with the trace of event 0", _trailed()),
        ("heartbeat_hello", "the first frame of a link: defaults are left out", hello),
        ("heartbeat_full", "every key, two entries, a name of two-byte letters",
         wire.pack(wire.HEARTBEAT, 0, A, NOW, control.encode(full))),
        ("heartbeat_bye", "the last words",
         wire.pack(wire.HEARTBEAT, wire.BYE, B, NOW, control.encode(
             Heartbeat(name="a", counter=9, uptime_us=8, last=3, sent=3)))),
        ("heartbeat_observer", "of a node that only looks",
         wire.pack(wire.HEARTBEAT, wire.OBSERVER, A, NOW, control.encode(first))),
        ("heartbeat_later", "of version 2, with a flag and a key that we do not know: still read",
         foreign(hello, 2, wire.HEARTBEAT, 0x8001, {"w": 2, "zz": [1, {"deep": None}]})),
        ("request", "three ranges of two epochs", pack(wire.REQUEST, request)),
        ("report_question", "your ledger of A, please", pack(wire.REPORT, Report(ask=A))),
        ("report_question_all", "your whole ledger, please", pack(wire.REPORT, Report(ask=0))),
        ("report", "the ledger of one peer", pack(wire.REPORT, Report(accounts=[account]))),
        ("data_later", "DATA of version 2: not ours to read",
         reseal(example[:2] + b"\x02" + example[3:])),
        ("data_sealed", "encrypted, and we have no key",
         wire.pack(wire.DATA, wire.SEALED, A, NOW, bytes(range(40)), 1, 1)),
        ("types_question", "the event types of A, please", pack(wire.TYPES, Types(ask=A))),
        ("types", "one event type, all that there is", pack(wire.TYPES, Types(
            digest=0xDEADBEEFCAFEF00D, count=1, types=[Typed("cache.invalidated", msgspec.Raw(
                msgspec.msgpack.encode([["account", "int", True], ["keys", ["list", "str"], False]])))]))),
        ("report_whole", "all that an observer is told", pack(wire.REPORT, Report(
            accounts=[account],
            heard=[Heard(B, "shop-2:17", 250_000, 1_200, False), Heard(7, "c", 30_000_000, None, True)],
            about=About(
                release="0.1.0", state="READY", wall_us=NOW, refused={"crc": 3},
                queues=[Queue("CacheInvalidated", 65_536, 2, 1)], problems=["a name is used twice"])))),
        ("control", "a kind that nobody sends yet", wire.pack(wire.CONTROL, 0, A, NOW, b"\x80")),
    ]  # fmt: skip


def build() -> list[Sample]:
    """The frames as the code of today makes them."""
    samples: list[Sample] = []
    for name, note, frame in _frames():
        header = wire.parse(frame)
        body: object = None
        if not header.flags & wire.SEALED:
            view = memoryview(frame)[wire.HEADER_SIZE :]
            if header.flags & wire.TRAILER:
                view = wire.events_of(frame, header)
            body = msgspec.msgpack.decode(view)
        means, refused = None, None
        try:
            means = meaning(frame)
        except wire.FrameError as error:
            refused = error.reason
        samples.append(
            Sample(
                name=name, note=note, hex=frame.hex(), header=header._asdict(),
                wire=body, means=means, refused=refused,
            )
        )  # fmt: skip
    return samples


def main() -> int:
    """Say whether the code reproduces the file; with --write, write it."""
    text = msgspec.json.format(msgspec.json.encode(build()), indent=1) + b"\n"
    if "--write" in sys.argv:
        FILE.write_bytes(text)
        return 0
    same = FILE.exists() and FILE.read_bytes() == text
    sys.stdout.write("the same\n" if same else "different: the wire has changed\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
