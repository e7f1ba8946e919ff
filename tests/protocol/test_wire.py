"""The wire is frozen: the corpus is read and made again to the byte, and whatever is broken is refused.

The corpus comes from `frames.json` alone, not from code, so that a change of the code cannot change it.
The document of the wire (docs/wire.md) is held to the corpus and to the code as well.
"""

from __future__ import annotations

import importlib.util
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import cast

import msgspec
import pytest

from bus.protocol import catalog, control, frame as wire, ledger
from bus.protocol.control import About, Heartbeat, Report, Request, Types
from bus.protocol.frame import FrameError
from tests.protocol import corpus
from tests.protocol.corpus import Sample

SAMPLES = corpus.load()
BODIES = {wire.HEARTBEAT: Heartbeat, wire.REQUEST: Request, wire.REPORT: Report, wire.TYPES: Types}
DOCUMENT = Path(__file__).parents[2] / "docs" / "wire.md"

each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.name))


def sample(name: str) -> Sample:
    return next(one for one in SAMPLES if one.name == name)


def refusal(frame: bytes) -> str | None:
    """Why the frame is refused by all that reads it; None when it is not."""
    try:
        corpus.meaning(frame)
    except FrameError as error:
        return error.reason
    return None


def without_new_keys(found: object, frozen: object) -> object:
    """What was added since the frame was frozen has its default there: nothing, in every case so far."""
    other = found
    if not isinstance(found, dict) or not isinstance(frozen, dict):
        return other
    values = cast("dict[str, object]", found)
    return {name: value for name, value in values.items() if name in frozen or value not in ([], None)}


@each_sample
def test_a_frozen_frame_is_read_as_it_always_was(sample: Sample) -> None:
    assert wire.parse(sample.frame)._asdict() == sample.header
    assert refusal(sample.frame) == sample.refused
    if sample.refused is None:
        assert without_new_keys(corpus.meaning(sample.frame), sample.means) == sample.means


@pytest.mark.parametrize(
    "sample",
    [one for one in SAMPLES if one.refused is None and one.header["version"] == wire.VERSION],
    ids=lambda sample: str(sample.name),
)
def test_a_frozen_frame_is_made_as_it_always_was(sample: Sample) -> None:
    header = wire.parse(sample.frame)
    if header.kind != wire.DATA:
        packed = msgspec.msgpack.encode(sample.wire)
        body = control.encode(msgspec.msgpack.decode(packed, type=BODIES[header.kind]))
        made = wire.pack(header.kind, header.flags, header.epoch, header.sent_us, body)
    elif header.flags & wire.TRAILER:
        body = sample.frame[wire.HEADER_SIZE :]
        made = wire.pack(
            wire.DATA, wire.TRAILER, header.epoch, header.sent_us, body,
            header.first_seq, header.count,
        )  # fmt: skip
    else:
        events = [msgspec.msgpack.encode(one) for one in msgspec.convert(sample.wire, list[object])]
        made = wire.pack_events(header.epoch, header.first_seq, header.sent_us, events)
        if header.flags & wire.REPEAT:
            made = wire.as_repeat(made)
    assert made.hex() == sample.hex


@each_sample
def test_a_reader_with_nothing_but_struct_and_crc32_finds_what_the_corpus_says(
    sample: Sample,
) -> None:
    """A second reader, of the layout alone: what we and our reader get wrong alike shows here."""
    names = ["magic", "version", "kind", "flags", "count", "epoch", "first_seq", "sent_us", "key_id", "crc"]
    values = struct.unpack("<HBBHHQQQBxxxI", sample.frame[:40])
    assert dict(zip(names, values, strict=True)) == sample.header
    if not sample.header["flags"] & wire.SEALED:
        assert zlib.crc32(sample.frame[:36] + sample.frame[40:]) == sample.header["crc"]


def test_the_checksum_is_the_same_without_the_fast_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    spec = importlib.util.spec_from_file_location("frame_of_zlib", wire.__file__)
    assert spec is not None
    assert spec.loader is not None
    other = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "frame_of_zlib", other)
    spec.loader.exec_module(other)
    assert other.crc32 is zlib.crc32
    for one in SAMPLES:
        assert other.crc32(one.frame, 7) == wire.crc32(one.frame, 7)
    assert other.pack(wire.HEARTBEAT, 1, 2, 3, b"x") == wire.pack(wire.HEARTBEAT, 1, 2, 3, b"x")


def test_every_kind_and_every_flag_is_in_the_corpus() -> None:
    headers = [one.header for one in SAMPLES]
    assert {header["kind"] for header in headers} == {1, 2, 3, 4, 5, 6}
    for flag in (1, 2, 4, 8, 16, 32):
        assert any(header["flags"] & flag for header in headers), flag
    assert {one.refused for one in SAMPLES} == {None, "version", "sealed", "kind"}


def test_a_repeat_keeps_everything_but_its_flag_and_its_checksum() -> None:
    original, repeat = sample("data").frame, sample("data_repeat").frame
    assert wire.as_repeat(original) == repeat == wire.as_repeat(repeat)
    differs = [at for at, (one, two) in enumerate(zip(original, repeat, strict=True)) if one != two]
    assert differs == [4, 36, 37, 38, 39]


def test_the_trailer_is_cut_off_and_no_more_than_the_trailer() -> None:
    frame = sample("data_trailer").frame
    header = wire.parse(frame)
    assert msgspec.msgpack.decode(wire.events_of(frame, header)) == sample("data_trailer").wire
    plain = sample("data").frame
    assert wire.events_of(plain, wire.parse(plain)) == plain[wire.HEADER_SIZE :]


@pytest.mark.parametrize("length", [2, 6, 65_536, 1 << 31, (1 << 32) - 1])
def test_a_trailer_that_reaches_into_the_array_header_is_refused(length: int) -> None:
    body = b"\xdd\x00\x00\x00\x01" + b"\x07" + length.to_bytes(4, "little")
    frame = wire.pack(wire.DATA, wire.TRAILER, 1, 1, body, 1, 1)
    wire.check(frame, wire.parse(frame))
    with pytest.raises(FrameError, match="trailer"):
        wire.events_of(frame, wire.parse(frame))


def test_an_empty_trailer_is_a_trailer() -> None:
    body = b"\xdd\x00\x00\x00\x01" + b"\x07" + bytes(4)
    frame = wire.pack(wire.DATA, wire.TRAILER, 1, 1, body, 1, 1)
    assert wire.events_of(frame, wire.parse(frame)) == body[:-4]


# -- what is broken --------------------------------------------------------------------------------


@each_sample
def test_a_frame_cut_off_at_any_length_is_refused(sample: Sample) -> None:
    for length in range(len(sample.frame)):
        assert refusal(sample.frame[:length]) is not None, length
    assert refusal(sample.frame + b"\x00") is not None


@each_sample
def test_a_frame_with_any_single_bit_flipped_is_refused(sample: Sample) -> None:
    frame = bytearray(sample.frame)
    for bit in range(len(frame) * 8):
        frame[bit // 8] ^= 1 << bit % 8
        assert refusal(bytes(frame)) is not None, f"byte {bit // 8}, bit {bit % 8}"
        frame[bit // 8] ^= 1 << bit % 8


def forged(sample: Sample, changes: dict[str, int], body: bytes | None = None) -> bytes:
    """A frame with a header of lies and a checksum that is right."""
    header = wire.parse(sample.frame)._replace(**changes)
    body = sample.frame[wire.HEADER_SIZE :] if body is None else body
    return corpus.reseal(wire.HEADER.pack(*header) + body)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"magic": 0x5CB0}, "magic"),
        ({"version": 0}, "version"),
        ({"version": 255}, "version"),
        ({"flags": 0x8020}, "sealed"),
        ({"count": 0}, "range"),
        ({"count": 1}, "count"),
        ({"count": 0xFFFF}, "count"),
        ({"first_seq": 0}, "range"),
        ({"first_seq": (1 << 63) - 1}, "range"),
        ({"first_seq": 1 << 63}, "range"),
        ({"first_seq": (1 << 64) - 1}, "range"),
        ({"first_seq": (1 << 63) - 2}, None),
        ({"sent_us": 1 << 63}, "range"),
        ({"sent_us": (1 << 64) - 1}, "range"),
        ({"sent_us": (1 << 63) - 1}, None),
        ({"kind": 0}, "kind"),
        ({"kind": 255}, "kind"),
        # What a later version may use: neither flags nor keys that we do not know are an error.
        ({"flags": 0xFFC0}, None),
        ({"key_id": 255}, None),
    ],
)
def test_a_header_that_lies_is_refused_by_name_even_with_a_right_checksum(
    changes: dict[str, int], reason: str | None
) -> None:
    assert refusal(forged(sample("data"), changes)) == reason


@pytest.mark.parametrize(
    "body", [b"", b"\xdd", b"\xdd\x00\x00\x00", b"\x92\x01\x02", b"\xdc\x00\x02\x01\x02"]
)
def test_a_body_that_does_not_start_with_the_array_of_32_bits_is_refused(body: bytes) -> None:
    assert refusal(forged(sample("data"), {}, body)) == "count"


@pytest.mark.parametrize("length", [0, 1, 3, 0xFFFF, 0x10002, 0xFFFFFFFF])
def test_an_array_length_that_lies_is_refused(length: int) -> None:
    body = b"\xdd" + length.to_bytes(4, "big") + sample("data").frame[wire.BODY_START :]
    assert refusal(forged(sample("data"), {}, body)) == "count"


def test_a_frame_takes_as_many_events_as_the_count_can_say() -> None:
    frame = wire.pack_events(1, 1, 1, [b"\x07"] * wire.MAX_COUNT)
    assert wire.parse(frame).count == wire.MAX_COUNT
    assert refusal(frame) is None


# -- docs/wire.md ----------------------------------------------------------------------------------


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text: rows of cells without backquotes, heads included."""
    found: list[list[list[str]]] = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [[cell.strip().replace("`", "") for cell in line.strip("|\n").split("|")]
                for line in str(block).splitlines()]  # fmt: skip
        found.append([rows[0], *rows[2:]])
    return found


def table(*head: str) -> list[list[str]]:
    """The rows of the one table of docs/wire.md whose head begins with these words."""
    (found,) = [rows[1:] for rows in tables(DOCUMENT.read_text()) if tuple(rows[0][: len(head)]) == head]
    return found


def test_the_document_has_the_header_as_it_is() -> None:
    rows = table("offset", "bytes", "field")
    assert [row[2] for row in rows if row[2] != "reserved"] == list(wire.Header._fields)
    at = 0
    for offset, size, *_ in rows:
        assert int(offset) == at
        at += int(size)
    assert at == wire.HEADER_SIZE
    sizes = {"1": "B", "2": "H", "3": "3x", "4": "I", "8": "Q"}
    assert "<" + "".join(sizes[row[1]] for row in rows) == wire.HEADER.format


def test_the_document_has_the_kinds_and_flags_as_they_are() -> None:
    kinds = {row[1]: int(row[0]) for row in table("kind", "name")}
    assert kinds == {
        name: getattr(wire, name) for name in ("DATA", "HEARTBEAT", "REQUEST", "REPORT", "CONTROL", "TYPES")
    }
    flags = {row[1]: int(row[0]) for row in table("flag", "name")}
    assert flags == {
        name: getattr(wire, name) for name in ("HELLO", "BYE", "OBSERVER", "REPEAT", "TRAILER", "SEALED")
    }


@pytest.mark.parametrize("body", [Heartbeat, Request, Report, About, Types])
def test_the_document_has_the_keys_as_they_are(body: type[msgspec.Struct]) -> None:
    rows = {row[0]: row for row in table("key", f"in {body.__name__.upper()}")}
    fields = msgspec.structs.fields(body)
    assert {key: row[1] for key, row in rows.items()} == {field.encode_name: field.name for field in fields}
    for field in fields:
        default = rows[field.encode_name][2]
        if field.default is not msgspec.NODEFAULT:
            words = {None: "none", "": "empty"}
            assert default == words.get(field.default, str(field.default)), field.name
        elif field.default_factory is not msgspec.NODEFAULT:
            assert default == str(field.default_factory()), field.name
        else:
            assert default == "required", field.name


def test_the_document_has_the_limits_as_they_are() -> None:
    said = {row[0]: int(row[1].replace(",", "")) for row in table("limit", "value")}
    assert said == {
        "header": wire.HEADER_SIZE,
        "events of a frame": wire.MAX_COUNT,
        "heartbeat, header and seal included": control.HEARTBEAT_ROOM + wire.HEADER_SIZE + 28,
        "name, in bytes of UTF-8": control.MAX_NAME,
        "entries of a heartbeat": control.MAX_ENTRIES,
        "ranges of a request": control.MAX_RANGES,
        "ranges of an account": control.MAX_RANGES,
        "types, bytes of descriptions in one frame": catalog.PART,
        "types, bytes of one description": catalog.LARGEST,
        "peers in one REPORT": ledger.PER_FRAME,
        "peers in all reports of an answer": ledger.MOST,
    }


def test_the_document_names_every_reason_to_refuse_a_frame() -> None:
    said = {row[0] for row in table("reason", "found")}
    source = "".join(
        (Path(wire.__file__).parent / f"{name}.py").read_text()
        for name in ("frame", "control", "engine", "seal")
    )
    raised = set(re.findall(r'(?:FrameError\(|refused\[)"(\w+)"', source))
    assert said == raised


def test_the_worked_examples_of_the_document_are_frames_of_the_corpus() -> None:
    examples = re.findall(r"<!-- corpus: (\w+) -->\n+```text\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(examples) >= 2
    for name, text in examples:
        # A line is hex bytes, two spaces or more, and words.
        shown = "".join(re.split(r"\s{2,}", line.strip())[0] for line in text.splitlines())
        assert shown.replace(" ", "") == sample(name).hex, name
