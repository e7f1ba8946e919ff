"""The seal in the core (rule 18): what is sealed, what is refused, and when a stranger becomes a peer.

The cipher is the real one; only its nonces are counted instead of random, so that every run is the same.
"""

from __future__ import annotations

from itertools import count

import pytest

from bus.protocol import control, frame as wire
from bus.protocol.beat import compose
from bus.protocol.control import Entry, Heartbeat, Report, Types
from bus.protocol.log import TOMBSTONE
from bus.protocol.outlet import Outlet, Sizes
from bus.protocol.seal import FRESH, MOST, PATIENCE
from bus.seal import Seal
from bus.signals import Resync, Up
from tests.protocol.kit import A, Node, beat, data, event, exchange, kinds, request

KEY, OTHER = b"the key of the cluster", b"a key of somebody else"
CHANNEL = "bus.default"
B = 2
"""The epoch of the node under test, as in the kit."""

_nonces = count(1)


def nonces(size: int) -> bytes:
    return next(_nonces).to_bytes(size, "big")


def seal_of(epoch: int, *keys: bytes) -> Seal:
    return Seal(keys or [KEY], CHANNEL, epoch, nonces)


def sealed(frame: bytes, *keys: bytes) -> bytes:
    """The frame as its sender, who has these keys, would seal it."""
    return seal_of(wire.parse(frame).epoch, *keys).seal(frame)


def clear(frame: bytes) -> bytes:
    header = wire.parse(frame)
    found = seal_of(header.epoch).open(frame, header)
    assert found is not None
    return found


def node(name: str = "b", epoch: int = B) -> Node:
    return Node(name, epoch, seal=seal_of(epoch))


def says_beat(one: Node, now: float) -> Heartbeat:
    """Its next heartbeat; nothing else is to be said before it."""
    one.outlet.beat_in = 0.0
    frames = one.says(now)
    assert wire.parse(frames[0]).kind == wire.HEARTBEAT
    return control.read_heartbeat(clear(frames[0]))


def naming(one: Node, now: float = 0.0) -> list[Entry]:
    """An entry about this node as somebody who hears it would write it."""
    one.outlet.beat_in = 0.0
    one.says(now)
    return [Entry(one.engine.epoch, 0, 0, 1, one.engine.log.newest_us)]


def met(last: int = 0) -> Node:
    """A node that has met A, at `last`."""
    one = node()
    one.hear(sealed(beat(A, 1, entries=naming(one), last=last)))
    assert set(one.engine.peers) == {A}
    return one


# -- frames ----------------------------------------------------------------------------------------


def test_whatever_is_sent_is_sealed_each_time_with_another_nonce() -> None:
    a, b = node("a", A), node()
    seen: list[bytes] = []

    def lose(frame: bytes) -> bool:
        seen.append(frame)
        header = wire.parse(frame)
        # Data is lost once: it comes again as a repeat.
        return header.kind == wire.DATA and not header.flags & wire.REPEAT

    a.publish(3, size=50)
    for tenth in range(20):
        for one in (a, b):
            one.engine.tick(tenth / 10)
        exchange(a, b, tenth / 10, lose)
    b.engine.ledger.ask(A)
    exchange(a, b, 3.0, lose)
    assert b.sink.delivered(A) == [1, 2, 3]
    assert set(kinds(seen)) >= {wire.DATA, wire.HEARTBEAT, wire.REQUEST, wire.REPORT}
    for frame in seen:
        header = wire.parse(frame)
        assert header.flags & wire.SEALED
        assert header.crc == 0
        assert b"xxxx" not in frame
    assert len({frame[40:52] for frame in seen}) == len(seen)


def test_the_two_know_each_other_as_without_a_key() -> None:
    a, b = node("a", A), node()
    for tenth in range(10):
        for one in (a, b):
            one.engine.tick(tenth / 10)
        exchange(a, b, tenth / 10)
    assert a.sink.changes == [Up("b", B)]
    assert b.sink.changes == [Up("a", A)]
    assert a.engine.peers[B].lists_us
    assert b.engine.peers[A].lists_us
    assert (a.outlet.listed_by, b.outlet.listed_by) == ({B}, {A})


KINDS = [
    data(A, 1, 3),
    beat(A, 2, last=3),
    request(A, {B: [(1, 1)]}),
    wire.pack(wire.REPORT, 0, A, 9_000, control.encode(Report(ask=0))),
]


@pytest.mark.parametrize("frame", KINDS, ids=["data", "heartbeat", "request", "report"])
def test_a_sealed_frame_with_any_bit_flipped_is_counted_and_nothing_else(frame: bytes) -> None:
    one = met()
    before = (list(one.sink.stream), list(one.sink.changes), one.engine.refused.total())
    whole = sealed(frame)
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not one.engine.receive(one.outlet, bytes(damaged), 0.0), f"bit {bit}"
    assert one.engine.refused.total() - before[2] == len(whole) * 8
    assert set(one.refused) <= {"magic", "version", "unsealed", "key", "forged"}
    assert (one.sink.stream, one.sink.changes) == before[:2]
    assert one.engine.receive(one.outlet, whole, 0.0) or wire.parse(whole).kind == wire.DATA
    assert one.engine.refused.total() - before[2] == len(whole) * 8


@pytest.mark.parametrize("frame", KINDS, ids=["data", "heartbeat", "request", "report"])
def test_a_frame_cut_off_at_any_length_is_counted(frame: bytes) -> None:
    one = met()
    whole = sealed(frame)
    for length in range(len(whole)):
        assert not one.engine.receive(one.outlet, whole[:length], 0.0)
    assert one.engine.refused.total() == len(whole)
    assert set(one.refused) == {"short", "forged"}


@pytest.mark.parametrize("frame", KINDS, ids=["data", "heartbeat", "request", "report"])
def test_who_has_no_key_or_another_one_is_counted_apart(frame: bytes) -> None:
    one = met()
    one.hear(frame, sealed(frame, OTHER))
    is_of_our_mark = seal_of(A).knows(wire.parse(sealed(frame, OTHER)).key_id)
    assert one.refused == {"unsealed": 1, "forged" if is_of_our_mark else "key": 1}


def test_a_frame_of_our_mark_that_our_key_does_not_open_is_forged() -> None:
    one = met()
    mark = wire.parse(sealed(KINDS[0])).key_id
    stranger = next(
        key for key in (b"guess %d" % number for number in range(10_000))
        if wire.parse(sealed(KINDS[0], key)).key_id == mark
    )  # fmt: skip
    one.hear(sealed(KINDS[0], stranger))
    assert one.refused == {"forged": 1}
    # ... and with both keys either opens what is its own.
    both = Node("b", B, seal=seal_of(B, KEY, stranger))
    both.hear(sealed(beat(A, 1, entries=naming(both)), stranger), sealed(data(A, 1, 2)))
    assert both.sink.delivered(A) == [1, 2]


def test_a_sealed_frame_whose_numbers_are_untrue_is_refused_as_any_other() -> None:
    one = met()
    untrue = wire.pack(wire.DATA, 0, A, 5, b"\xdd\x00\x00\x00\x02\x07\x07", 4, 3)
    one.hear(sealed(untrue), sealed(wire.pack(wire.DATA, 0, A, 1 << 63, b"", 1, 1)))
    assert one.refused == {"count": 1, "range": 1}


def test_frames_of_a_later_version_are_not_opened_but_their_heartbeats_are() -> None:
    one = met()
    later = data(A, 1, 2)
    one.hear(sealed(later[:2] + b"\x02" + later[3:]))
    assert one.refused == {"version": 1}
    foreign = beat(9, 1, name="later", entries=naming(one), versions=(2, 2))
    foreign = foreign[:2] + b"\x02" + foreign[3:]
    one.hear(sealed(foreign))
    assert one.sink.losses == [Resync("later", 9, None, "version")]


def test_without_a_key_sealed_frames_are_counted() -> None:
    one = Node()
    one.hear(*map(sealed, KINDS))
    assert one.refused == {"sealed": len(KINDS)}
    assert not one.engine.peers


def test_what_is_sealed_still_fits_the_link() -> None:
    one = Node("b", B, sizes=Sizes(frame=2_000, max_frame=2_000, max_message=2_000), seal=seal_of(B))
    one.hear(sealed(beat(A, 1, entries=naming(one))))
    room = 2_000 - wire.BODY_START - wire.SEAL_SIZE
    largest = room - len(event(B, 201, 1_900)) + 1_900
    one.publish(200, size=300)
    one.publish(1, size=largest)
    one.publish(1, size=largest + 1)
    frames = one.says()
    assert max(map(len, frames)) == 2_000
    # The one that is a byte longer is a tombstone.
    assert clear(frames[-1]).endswith(TOMBSTONE)


# -- strangers -------------------------------------------------------------------------------------


def test_an_epoch_is_a_peer_from_the_heartbeat_on_that_names_us() -> None:
    one = node()
    ours = naming(one)
    one.hear(sealed(beat(A, 1, last=2)), sealed(data(A, 1, 2)), sealed(beat(A, 2, last=2)))
    assert not one.engine.peers
    assert not one.sink.changes
    assert one.refused == {"stranger": 2, "unknown": 1}
    one.hear(sealed(beat(A, 3, last=4, entries=ours)))
    assert one.engine.peers[A].baseline == 1
    assert one.sink.changes == [Up("a", A)]
    one.hear(sealed(data(A, 1, 4)))
    assert one.sink.delivered(A) == [1, 2, 3, 4]


def test_to_be_named_as_a_stranger_is_as_good() -> None:
    one = node()
    one.hear(sealed(beat(A, 1, strangers=naming(one))))
    assert set(one.engine.peers) == {A}
    assert not one.engine.peers[A].lists_us, "it does not deliver us yet"
    assert one.outlet.listed_by == {A}


def test_strangers_are_named_apart_and_soon() -> None:
    one = node()
    says_beat(one, 0.0)
    assert one.outlet.beat_in == 1.0
    one.hear(sealed(beat(A, 1)), now=0.05)
    assert one.outlet.beat_in == pytest.approx(0.05)
    said = says_beat(one, 0.1)
    assert not said.entries
    assert said.strangers == [Entry(A, 0, 0, 50_000, 1_000)]
    # Again with each heartbeat, but not sooner.
    one.hear(sealed(beat(A, 2)), now=0.15)
    assert one.outlet.beat_in == 1.0
    assert [entry.epoch for entry in says_beat(one, 1.1).strangers] == [A]
    # From when it is a peer, as one: told at once, too.
    one.hear(sealed(beat(A, 3, strangers=naming(one, 1.15))), now=1.2)
    assert one.outlet.beat_in == pytest.approx(0.05)
    said = says_beat(one, 1.3)
    assert not said.strangers
    assert [entry.epoch for entry in said.entries] == [A]


def test_a_peer_that_still_takes_us_for_a_stranger_is_named_again() -> None:
    one = met()
    says_beat(one, 0.1)
    one.hear(sealed(beat(A, 2, entries=naming(one, 0.2))), now=0.25)
    assert one.outlet.beat_in == 1.0
    one.hear(sealed(beat(A, 3, strangers=naming(one, 0.3))), now=0.35)
    assert one.outlet.beat_in == pytest.approx(0.05)


@pytest.mark.parametrize(
    "entry",
    [
        Entry(B, 0, 0, 1, 1 << 40),
        Entry(B, 1, 0, 1, 1),
        Entry(B + 1, 0, 0, 1, 1),
    ],
    ids=["a stamp that we never made", "an event that we never published", "somebody else"],
)
def test_what_names_us_untruly_names_nobody(entry: Entry) -> None:
    one = node()
    one.says()
    one.hear(sealed(beat(A, 1, entries=[entry], strangers=[entry])))
    assert not one.engine.peers


def test_a_stamp_of_ours_that_is_old_names_nobody() -> None:
    """Who was forgotten meanwhile, and is dead, comes back by no recording."""
    one = node()
    ours = naming(one, 100.0)
    later = 100.0 + FRESH + 0.1
    one.hear(sealed(beat(A, 1, entries=ours)), now=later)
    assert not one.engine.peers
    one.hear(sealed(beat(A, 2, entries=ours)), now=later - 0.2)
    assert set(one.engine.peers) == {A}


def test_strangers_are_forgotten_when_they_bring_no_news() -> None:
    one = node()
    one.hear(sealed(beat(A, 1)))
    one.tick(PATIENCE - 0.2)
    one.hear(sealed(beat(A, 1)))
    assert [entry.epoch for entry in says_beat(one, 1.0).strangers] == [A]
    one.tick(PATIENCE + 0.2, since=PATIENCE - 0.2)
    assert not says_beat(one, 2.0).strangers
    assert not one.outlet.heard_of
    assert not one.outlet.said


def test_there_is_room_for_so_many_strangers_and_the_longest_silent_goes() -> None:
    one = node()
    one.hear(sealed(beat(1_000, 1)))
    one.tick(1.0)
    for number in range(1, MOST + 1):
        one.hear(sealed(beat(1_000 + number, 1)))
    assert len(one.outlet.heard_of) == MOST
    assert 1_000 not in one.outlet.heard_of
    assert [entry.epoch for entry in says_beat(one, 1.0).strangers] == list(
        range(1_000 + MOST, 992 + MOST, -1)
    )


def test_beside_peers_strangers_take_half_of_the_places() -> None:
    one = node()
    ours = naming(one)
    for epoch in range(100, 110):
        one.hear(sealed(beat(epoch, 1, name=f"p{epoch}", entries=ours)))
    for epoch in range(200, 210):
        one.hear(sealed(beat(epoch, 1)))
    first, second, third = (says_beat(one, now) for now in (1.0, 2.0, 3.0))
    for said in (first, second, third):
        assert (len(said.entries), len(said.strangers)) == (4, 4)
    named = [entry.epoch for said in (first, second, third) for entry in said.strangers]
    assert set(named) == set(range(200, 210)), "in turns"


def test_a_heartbeat_with_the_longest_of_all_stays_within_its_bound() -> None:
    top = wire.MAX_SEQ - 1
    state = Heartbeat(
        name="n" * control.MAX_NAME, counter=top, uptime_us=top, last=top, held=top, sent=top,
        digest=(1 << 64) - 1, generation=top,
    )  # fmt: skip
    strangers = list(range((1 << 64) - 8, 1 << 64))
    outlet = Outlet(Sizes(), 0, seal_of(B))
    outlet.heard_of = dict.fromkeys(strangers, (top, top))
    body = compose(state, outlet, [], list(strangers))
    frame = seal_of(B).seal(wire.pack(wire.HEARTBEAT, 0, B, top, body))
    assert 512 - 30 < len(frame) <= 512
    assert set(outlet.said) == set(strangers[:7])


# -- who is there now ------------------------------------------------------------------------------


def test_a_heartbeat_that_is_carried_again_is_counted_and_nothing_else() -> None:
    one = met()
    first = sealed(beat(A, 2, last=1, flags=wire.HELLO))
    one.hear(first, sealed(beat(A, 3, last=5, sent=0)))
    says_beat(one, 5.0)
    one.outlet.heard = False
    one.hear(first, first, now=5.05)
    assert one.refused == {"replayed": 2}
    assert not one.outlet.heard
    assert one.outlet.beat_in == 1.0, "a HELLO is answered once"


def test_an_old_frame_of_a_peer_says_nothing_about_now() -> None:
    one = met()
    one.hear(sealed(beat(A, 5)), sealed(data(A, 1, 1, 4_000)))
    one.tick(9.0)
    for stamp in (4_500, 5_000):
        one.hear(sealed(beat(A, 4, sent_us=stamp)), sealed(data(A, 1, 1, stamp)))
    assert one.engine.peers[A].unheard == pytest.approx(9.0)
    one.hear(sealed(beat(A, 6)))
    assert one.engine.peers[A].unheard == 0.0


@pytest.mark.parametrize("kind", [wire.REQUEST, wire.REPORT])
def test_a_question_counts_once_on_each_link(kind: int) -> None:
    one = met()
    other = one.link()
    one.publish()
    one.says()
    if kind == wire.REQUEST:
        question = sealed(request(A, {B: [(1, 1)]}, sent_us=7_000))
    else:
        question = sealed(wire.pack(kind, 0, A, 7_000, control.encode(Report(ask=B))))
    for outlet in (one.outlet, other):
        assert one.engine.receive(outlet, question, 1.0)
        assert not one.engine.receive(outlet, question, 2.0)
    assert one.refused == {"replayed": 2}
    one.engine.peers[A].is_bye = True
    forgetful = one.engine
    for outlet in forgetful.outlets:
        outlet.forget(A)
        assert not outlet.asked


def test_other_control_frames_of_peers_are_theirs_to_judge() -> None:
    one = met()
    question = sealed(wire.pack(wire.TYPES, 0, A, 7_000, control.encode(Types(ask=B))))
    one.hear(question, question)
    assert not one.refused


@pytest.mark.parametrize("frame", [KINDS[0], *KINDS[2:]], ids=["data", "request", "report"])
def test_only_peers_may_ask(frame: bytes) -> None:
    one = node()
    one.says()
    one.hear(sealed(beat(A, 1)), sealed(frame))
    assert one.refused == {"stranger": 1, "unknown": 1}


def test_a_stranger_that_goes_on_is_expected_and_one_that_came_once_is_not() -> None:
    one = node()
    for tenth in range(40):
        one.engine.tick(tenth / 10)
        if tenth % 10 == 0:
            one.hear(sealed(beat(A, 1 + tenth)), now=tenth / 10)
        one.hear(sealed(beat(50, 1)), now=tenth / 10)
        assert one.engine.expects_peers == (tenth >= 30), tenth
    assert one.outlet.heard
    one.tick(20.0, since=4.0)
    assert not one.engine.expects_peers


# -- our own echo ----------------------------------------------------------------------------------


def test_only_what_we_sealed_ourselves_is_our_echo() -> None:
    one = node()
    own = one.says()[0]
    body = control.encode(Heartbeat(name="b", counter=1, uptime_us=1))
    stamp = one.engine.log.newest_us
    forged = wire.pack(wire.HEARTBEAT, 0, B, stamp, body)
    for frame in (forged, sealed(forged, OTHER), sealed(data(B, 1, 1, stamp))):
        one.hear(frame)
        assert not one.outlet.echoed
    one.engine.receive(one.outlet, sealed(forged, OTHER), 0.0, stamp=1e12)
    assert one.outlet.echo_stamp < 0
    one.engine.receive(one.outlet, own, 0.0, stamp=5.0)
    assert one.outlet.echoed
    assert one.outlet.echo_stamp == 5.0
    assert one.refused == {"own": 5}


# -- observers -------------------------------------------------------------------------------------


def ask_all(epoch: int, stamp: int) -> bytes:
    return sealed(wire.pack(wire.REPORT, 0, epoch, stamp, control.encode(Report(ask=0))))


def test_an_observer_is_named_may_ask_for_reports_once_it_names_us_and_is_no_peer() -> None:
    one = node()
    one.says()
    one.hear(sealed(beat(A, 1, flags=wire.OBSERVER)))
    assert not one.outlet.heard, "nobody has to be heard by an observer"
    assert [entry.epoch for entry in says_beat(one, 0.1).strangers] == [A]
    one.hear(ask_all(A, 1_500))
    assert one.refused == {"unknown": 1}
    one.hear(sealed(beat(A, 2, flags=wire.OBSERVER, entries=naming(one, 0.2))), now=0.3)
    one.hear(ask_all(A, 2_500), ask_all(A, 2_500))
    assert one.refused == {"unknown": 1, "replayed": 1}
    assert wire.REPORT in kinds(one.says(0.4))
    one.hear(sealed(request(A, {B: [(1, 1)]}, 2_600)), sealed(data(A, 1, 1, 2_700)))
    assert one.refused == {"unknown": 3, "replayed": 1}
    assert not one.engine.peers
    assert not one.sink.changes
    assert not one.engine.expects_peers
    one.tick(PATIENCE + 1.0)
    one.hear(ask_all(A, 99_000))
    assert one.refused == {"unknown": 4, "replayed": 1}


def test_an_observer_sees_who_names_it_and_no_recording() -> None:
    watcher = Node("w", 5, observer=True, seal=seal_of(5))
    a, b = node("a", A), node("b", B)
    a.publish(2)
    for tenth in range(30):
        for one in (a, b, watcher):
            one.engine.tick(tenth / 10)
        exchange(a, watcher, tenth / 10)
    # What b says is no more than a recording: b does not hear the watcher.
    watcher.hear(*b.says(3.0), now=3.0)
    assert set(watcher.engine.peers) == {A}
    assert watcher.outlet.listed
    assert set(a.engine.peers) == set()
    assert not a.sink.changes


def test_outlets_without_a_key_send_what_they_are_given() -> None:
    assert Outlet(Sizes(), 0).launch(b"frame", 0.0) == b"frame"
