"""The bodies of control frames: what is read, what is refused, and that a heartbeat always fits.

A heartbeat is the one frame that decides who is a member and what is lost: numbers that contradict each
other, or a name that is none, are as if never received.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from bus.protocol import control, frame as wire
from bus.protocol.control import Account, Entry, Heartbeat, Report, Request, Wanted
from bus.protocol.frame import FrameError

TOP = wire.MAX_SEQ - 1
Body = dict[str, object]


def packed(body: object) -> bytes:
    """A frame around any body: the readers look at the body alone."""
    return wire.pack(wire.HEARTBEAT, 0, 1, 1, msgspec.msgpack.encode(body))


def raw(body: bytes) -> bytes:
    return wire.pack(wire.HEARTBEAT, 0, 1, 1, body)


def minimal(**changes: object) -> Body:
    return {"n": "a", "c": 1, "u": 2} | changes


@pytest.mark.parametrize(
    "body",
    [
        minimal(),
        minimal(l=5, h=6, s=5),
        minimal(l=TOP, h=TOP, s=TOP),
        minimal(n="x" * 128),
        minimal(n="é" * 64),
        minimal(d=(1 << 64) - 1),
        minimal(p=[[1, 2, 3, 4, 5]] * 100),
        minimal(p=[[1, 2, 3, 4, 5, "what a later version may add"]]),
        minimal(zz={"unknown": [None, True, 1.5]}),
        minimal(n="0:1\x00\n"),
    ],
)
def test_a_heartbeat_is_read_whose_numbers_can_be_true(body: Body) -> None:
    beat = control.read_heartbeat(packed(body))
    assert (beat.name, beat.last) == (body["n"], body.get("l", 0))


@pytest.mark.parametrize(
    "body",
    [
        {"c": 1, "u": 2},
        {"n": "a", "u": 2},
        {"n": "a", "c": 1},
        minimal(n=""),
        minimal(n="x" * 129),
        minimal(n="é" * 65),  # 65 characters, 130 bytes
        minimal(n=7),
        minimal(n=b"a"),
        minimal(c=-1),
        minimal(c=1.0),
        minimal(c=None),
        minimal(c=True),
        minimal(u=1 << 63),
        minimal(l=1 << 63),
        minimal(l=(1 << 64) - 1),
        minimal(l=-1),
        minimal(l=5, h=7, s=0),
        minimal(l=5, h=1, s=6),
        minimal(h=2),
        minimal(s=1),
        minimal(v=-1),
        minimal(w="1"),
        minimal(d=-1),
        minimal(p={}),
        minimal(p=[[1, 2, 3, 4]]),
        minimal(p=[[-1, 2, 3, 4, 5]]),
        minimal(p=[[1, 1 << 63, 3, 4, 5]]),
        minimal(p=[7]),
        [],
        None,
        "heartbeat",
        {1: 2},
    ],
)
def test_a_heartbeat_is_refused_that_lacks_or_contradicts(body: object) -> None:
    with pytest.raises(FrameError, match="body"):
        control.read_heartbeat(packed(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x83\xa1n\xa1",
        b"\x83\xa1n\xa2\xff\xfe\xa1c\x01\xa1u\x02",  # a name that is no UTF-8
        b"\x83\xa1n\xa3\xed\xa0\x80\xa1c\x01\xa1u\x02",  # ... half of a surrogate pair
        b"\x83\xa1\xff\xa1a\xa1c\x01\xa1u\x02",  # a key that is no UTF-8
        b"\x83\xa1n\xa1a\xa1c\x01\xa1u\x02\x00",  # one byte too many
        b"\xdf\xff\xff\xff\xff\xa1n\xa1a",  # four billion keys, says the map
        b"\x84\xa1n\xa1a\xa1c\x01\xa1u\x02\xa1p\xdd\xff\xff\xff\xff",  # as many entries
        b"\x84\xa1n\xa1a\xa1c\x01\xa1u\x02\xa1z\xdb\xff\xff\xff\xffx",  # a text of four gigabytes
    ],
)
def test_bytes_that_are_no_heartbeat_are_refused(body: bytes) -> None:
    with pytest.raises(FrameError, match="body"):
        control.read_heartbeat(raw(body))


@pytest.mark.parametrize("opens", [b"\x91", b"\x81\xa1x", b"\xdd\x00\x00\x00\x01"])
@pytest.mark.parametrize(
    ("read", "start"),
    [
        (control.read_heartbeat, b"\x84\xa1n\xa1a\xa1c\x01\xa1u\x02"),
        (control.read_request, b"\x82\xa1r\x90"),
        (control.read_report, b"\x81"),
    ],
)
def test_a_hundred_thousand_levels_under_an_unknown_key_are_refused_and_not_a_crash(
    read: Callable[[bytes], object], start: bytes, opens: bytes
) -> None:
    with pytest.raises(FrameError, match="body"):
        read(raw(start + b"\xa2zz" + opens * 100_000 + b"\xc0"))


@pytest.mark.parametrize(
    "body", [{}, {"r": 1}, {"r": [[1]]}, {"r": [[1, [[1]]]]}, {"r": [[1, [[0, -1]]]]}, []]
)
def test_a_request_that_asks_for_nothing_readable_is_refused(body: object) -> None:
    with pytest.raises(FrameError, match="body"):
        control.read_request(packed(body))


def test_a_request_is_read_with_keys_of_a_later_version() -> None:
    read = control.read_request(packed({"zz": 1, "r": [[7, [[1, 3], [5, TOP]]]]}))
    assert read == Request([Wanted(7, [(1, 3), (5, TOP)])])


def account(gaps: int) -> list[object]:
    return [7, 1, 9, 8, 0, 1, 0, [[at, at] for at in range(gaps)]]


@pytest.mark.parametrize("body", [{}, {"q": 0}, {"q": None}, {"a": [account(0), account(16)]}])
def test_a_report_is_read(body: object) -> None:
    control.read_report(packed(body))


@pytest.mark.parametrize("body", [{"q": -1}, {"q": "a"}, {"a": [[7, 1]]}, {"a": [account(17)]}, {"a": None}])
def test_a_report_that_nobody_sends_is_refused(body: object) -> None:
    with pytest.raises(FrameError, match="body"):
        control.read_report(packed(body))


numbers = st.integers(0, TOP)
ranges = st.lists(st.tuples(numbers, numbers), max_size=16)
epochs = st.integers(0, (1 << 64) - 1)


@st.composite
def heartbeats(draw: st.DrawFn) -> Heartbeat:
    last = draw(numbers)
    return Heartbeat(
        name=draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=32)),
        counter=draw(numbers),
        uptime_us=draw(numbers),
        min_version=draw(numbers),
        max_version=draw(numbers),
        last=last,
        held=draw(st.integers(0, min(last + 1, TOP))),
        sent=draw(st.integers(0, last)),
        digest=draw(epochs),
        generation=draw(numbers),
        entries=draw(st.lists(st.builds(Entry, epochs, numbers, numbers, numbers, numbers))),
    )


requests = st.builds(Request, st.lists(st.builds(Wanted, epochs, ranges)))
accounts = st.builds(Account, epochs, st.integers(0, TOP + 1), *[numbers] * 5, ranges)
reports = st.builds(Report, ask=st.none() | epochs, accounts=st.lists(accounts))


@settings(max_examples=60)
@given(heartbeats() | requests | reports)
def test_every_body_is_read_as_it_was_written(body: Heartbeat | Request | Report) -> None:
    frame = raw(control.encode(body))
    readers: dict[type, Callable[[bytes], object]] = {
        Heartbeat: control.read_heartbeat,
        Request: control.read_request,
        Report: control.read_report,
    }
    assert readers[type(body)](frame) == body
