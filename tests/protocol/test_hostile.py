"""Frames from hell, through `Engine.receive`: counted, never a crash, never a wrong delivery.

After every attack the victim still serves the peer that it knows, everything that it says itself can
still be read by others, and its memory is bounded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from bus.protocol import control, frame as wire
from bus.protocol.control import Entry
from bus.protocol.engine import Engine
from bus.signals import Gap, Resync
from tests.protocol import corpus
from tests.protocol.kit import A, Node, beat, data, held_frames, request
from tests.protocol.victim import SAMPLES, TOP, Victim, all_held, body, footprint, readable

each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.name))


# -- broken ----------------------------------------------------------------------------------------


@each_sample
def test_a_frame_that_is_cut_off_anywhere_is_counted_and_nothing_else(sample: corpus.Sample) -> None:
    victim = Victim()
    for length in range(len(sample.frame)):
        assert not victim.engine.receive(victim.outlet, sample.frame[:length], 0.0)
    assert victim.engine.refused.total() == len(sample.frame)
    assert victim.refused["short"] == wire.HEADER_SIZE
    victim.assert_unharmed()


@each_sample
def test_a_frame_with_any_bit_flipped_is_counted_and_nothing_else(sample: corpus.Sample) -> None:
    victim = Victim()
    frame = bytearray(sample.frame)
    for bit in range(len(frame) * 8):
        frame[bit // 8] ^= 1 << bit % 8
        assert not victim.engine.receive(victim.outlet, bytes(frame), 0.0)
        frame[bit // 8] ^= 1 << bit % 8
    assert victim.engine.refused.total() == len(frame) * 8
    assert set(victim.refused) <= {"magic", "version", "sealed", "crc"}
    victim.assert_unharmed()


@pytest.mark.parametrize("seed", range(3))
def test_garbage_is_counted_and_nothing_else(seed: int) -> None:
    dice = random.Random(seed)
    victim = Victim()
    starts = [b"", SAMPLES[0].frame[:4], SAMPLES[5].frame[:12], SAMPLES[10].frame[:40]]
    for number in range(2_000):
        start = starts[number % len(starts)]
        victim.hear(start + dice.randbytes(dice.randrange(200)))
    assert victim.engine.refused.total() == 2_000, f"seed {seed}"
    victim.assert_unharmed()


# -- well formed and not ours ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (body(0, {}), "kind"),
        (body(wire.CONTROL, {}), "kind"),
        (body(255, {}), "kind"),
        (body(wire.HEARTBEAT, b""), "body"),
        (body(wire.HEARTBEAT, {}), "body"),
        (body(wire.HEARTBEAT, {"n": "", "c": 1, "u": 1}), "body"),
        (body(wire.HEARTBEAT, {"n": "x" * 129, "c": 1, "u": 1}), "body"),
        (body(wire.HEARTBEAT, b"\x83\xa1n\xa1\xff\xa1c\x01\xa1u\x01"), "body"),
        (body(wire.HEARTBEAT, {"n": "a", "c": 9, "u": 1, "l": 5, "h": 7}), "body"),
        (body(wire.HEARTBEAT, {"n": "a", "c": 9, "u": 1, "l": 5, "s": 6}), "body"),
        (body(wire.HEARTBEAT, {"n": "a", "c": 9, "u": 1, "l": 1 << 63}), "body"),
        (body(wire.HEARTBEAT, b"\x84\xa1n\xa1a\xa1c\x01\xa1u\x02\xa2zz" + b"\x91" * 100_000), "body"),
        (body(wire.REQUEST, b"\x81\xa2zz" + b"\x91" * 100_000), "body"),
        (body(wire.REPORT, b"\x81\xa2zz" + b"\x81\xa0" * 100_000), "body"),
        (body(wire.REQUEST, {"r": [[2, [[1]]]]}), "body"),
        (body(wire.REPORT, {"a": [[2, 1, 1, 1, 0, 0, 0, [[1, 1]] * 17]]}), "body"),
        (body(wire.DATA, {}), "range"),
        (body(wire.DATA, b"\x90", wire.SEALED), "sealed"),
        (wire.pack(wire.DATA, 0, A, 1, b"\xdd\x00\x00\x00\x02\x07\x07", 4, 3), "count"),
        (data(A + 1, 1, 2), "unknown"),
        (beat(A, 3, versions=(2, 2)), "version"),
    ],
)
def test_what_is_not_ours_is_counted_by_its_reason_and_nothing_else(frame: bytes, reason: str) -> None:
    victim = Victim()
    victim.hear(frame)
    assert victim.refused == {reason: 1}
    if reason == "version":  # the one that users are told of
        assert victim.sink.stream.pop() == Resync("a", A, None, "version")
    victim.assert_unharmed()


def test_frames_of_a_later_version_are_not_read_but_their_heartbeats_are() -> None:
    victim = Victim()
    for frame in (data(A, 4, 5), request(A, {2: [(1, 5)]}), body(wire.REPORT, {"q": 2})):
        victim.hear(corpus.reseal(frame[:2] + b"\x02" + frame[3:]))
    assert victim.refused == {"version": 3}
    victim.assert_unharmed()
    later = beat(A + 1, 1, name="later", versions=(1, 2))
    victim.hear(corpus.reseal(later[:2] + b"\x02" + later[3:]))
    assert set(victim.engine.peers) == {A, A + 1}


def test_flags_and_keys_that_nobody_knows_yet_are_not_in_the_way() -> None:
    victim = Victim()
    content = {"n": "later", "c": 1, "u": 0, "zz": {"x": [1]}, "l": 2, "s": 2}
    victim.hear(body(wire.HEARTBEAT, content, 0x8000, epoch=A + 1))
    frame = data(A + 1, 1, 2)
    victim.hear(corpus.reseal(frame[:4] + b"\x00\x80" + frame[6:]))
    assert victim.sink.numbers(A + 1) == [1, 2]


@pytest.mark.parametrize("name", ["x", "x" * 128, "é" * 64, "a\x00b\n\u202e"])
def test_a_name_may_be_any_text_of_1_to_128_bytes(name: str) -> None:
    victim = Victim()
    victim.hear(beat(A + 1, 1, name=name))
    assert victim.engine.peers[A + 1].node == name


def test_events_that_are_none_are_delivered_as_what_they_are_and_the_stream_goes_on() -> None:
    """Whether events can be decoded is not the core's to say: it numbers frames, the bus reads them."""
    victim = Victim()
    victim.hear(wire.pack(wire.DATA, 0, A, 9_000, b"\xdd\x00\x00\x00\x02\xc1", 4, 2))
    assert victim.sink.numbers(A) == [1, 2, 3, 4, 5]
    assert victim.sink.undecodable == 1
    victim.assert_serves(A)


# -- well formed and untrue ------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [1 << 40, TOP - 70_000, TOP - 3])
@pytest.mark.parametrize("times", [1, 200])
def test_a_jump_of_numbers_is_taken_back_by_the_next_heartbeat(jump: int, times: int) -> None:
    victim = Victim()
    victim.hear(*(data(A, jump + n % 3, jump + n % 3, 2_000 + n) for n in range(times)))
    readable(victim.says(1.0))
    assert victim.engine.peers[A].holes() == [(4, jump - 1)]
    victim.hear(beat(A, 3, last=3))
    assert (victim.hold.used, victim.engine.peers[A].holes()) == (0, [])
    victim.assert_unharmed()


def test_a_jump_that_nobody_takes_back_costs_only_what_was_announced() -> None:
    victim = Victim()
    victim.hear(data(A, 1 << 40, 1 << 40, 1 << 50), beat(A, 3, last=5, sent=5))
    for step in range(1, 200):
        victim.engine.tick(step * 0.25)
        victim.hear(beat(A, 3 + step, last=5, sent=5), now=step * 0.25)
        readable(victim.says(step * 0.25))
    assert victim.sink.losses == [Gap("a", A, ((4, 5),), "timeout")]
    victim.assert_serves(A)


def test_heartbeats_of_the_largest_numbers_are_read_and_answered_readably() -> None:
    victim = Victim()
    for at, (last, held, sent) in enumerate([(TOP, TOP, TOP), (TOP, 1, TOP), (TOP, 1, 0)]):
        frame = beat(
            A + 1 + at, TOP, sent_us=TOP, name=f"n{at}", uptime_us=at % 2 * TOP, last=last, held=held,
            sent=sent, entries=[Entry(2, TOP, TOP, TOP, TOP)],
        )  # fmt: skip
        victim.hear(frame)
        victim.hear(data(A + 1 + at, TOP, TOP, TOP))
    victim.tick(2.0)
    victim.hear(body(wire.REPORT, {"q": 0}))
    readable(victim.says(2.0))
    assert victim.refused == {}
    victim.assert_serves(A)


@pytest.mark.parametrize("sent_us", [1 << 63, (1 << 64) - 1])
def test_a_time_that_we_could_not_hand_back_is_refused(sent_us: int) -> None:
    """It would stand in our own heartbeats, and nobody could read them any more."""
    victim = Victim()
    victim.hear(beat(A, 3, sent_us=sent_us, last=3), beat(A + 1, 1, sent_us=sent_us, name="z"))
    assert victim.refused == {"range": 2}
    victim.assert_unharmed()


def test_heartbeats_that_contradict_each_other_lose_nothing_that_was_not_announced_as_gone() -> None:
    victim = Victim()
    dice = random.Random(4)
    for counter in range(3, 400):
        last = dice.randrange(3, 50)
        held = dice.randrange(1, 5)
        flags = dice.choice([0, wire.HELLO])
        victim.hear(
            beat(A, dice.randrange(1, 400), sent_us=dice.randrange(1 << 40), last=last,
                 held=held, sent=dice.randrange(last + 1), flags=flags),
            now=counter / 100,
        )  # fmt: skip
    # At most 4 was said to be gone, so only that is lost: it was never delivered.
    assert victim.sink.stream in (victim.stream, [*victim.stream])
    victim.hear(data(A, 4, 60, 1 << 41))
    assert victim.sink.numbers(A) == list(range(1, 61))


def test_ranges_that_make_no_sense_are_answered_with_nothing() -> None:
    victim = Victim()
    nonsense = [(5, 1), (0, 0), (6, TOP), (TOP, TOP), (TOP, 0), (1 << 40, 1 << 41)]
    victim.hear(request(A, {2: nonsense, 0: [(1, 5)], A: [(1, 5)]}))
    kinds = [wire.parse(frame).kind for frame in victim.says(1.0)]
    assert wire.DATA not in kinds
    victim.hear(request(A, {2: [(0, TOP)] * 1_000}))
    (frame,) = [one for one in victim.says(2.0) if wire.parse(one).kind == wire.DATA]
    assert (wire.parse(frame).first_seq, wire.parse(frame).count) == (1, 5)


# -- bounded memory --------------------------------------------------------------------------------


def grown(engine: Engine, attack: Iterator[None]) -> float:
    """How much the engine has grown in the second half of an attack."""
    steps = list(range(10))
    sizes: list[int] = []
    for _ in steps:
        for _ in range(500):
            next(attack)
        sizes.append(footprint(engine))
    return sizes[-1] / sizes[4]


def epochs(victim: Victim, name: str, **how: int) -> Iterator[None]:
    """Epochs without end, each with a heartbeat, an event, and one that is ahead."""
    for epoch in range(1_000, 1_000_000):
        now = epoch / 100
        version = how.get("version", 1)
        victim.hear(
            beat(epoch, 1, name=name.format(epoch), last=9, sent=1,
                 flags=how.get("flags", 0), versions=(version, version),
                 entries=[Entry(2, 1, 0, 0, epoch)]),
            now=now,
        )  # fmt: skip
        victim.hear(data(epoch, 1, 1, 2_000), data(epoch, 5, 6, 2_001), now=now)
        victim.hear(data(epoch - 1, 9, 9, 2_002), now=now)  # of one that may have been told
        if epoch % 10 == 0:
            victim.engine.tick(now)
            readable(victim.says(now))
        yield


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("one name", {}),
        ("name-{}", {}),
        ("name-{}", {"flags": wire.BYE}),
        ("one name", {"flags": wire.OBSERVER}),
        ("name-{}", {"version": 2}),
        ("b", {}),  # the victim's own name
    ],
)
def test_five_thousand_epochs_leave_no_more_than_the_limit(name: str, how: dict[str, int]) -> None:
    victim = Victim(epochs=64)
    attack = epochs(victim, name, **how)
    assert grown(victim.engine, attack) < 1.1
    assert len(victim.engine.peers) <= 64
    assert victim.hold.used == all_held(victim)


def test_ten_thousand_frames_ahead_are_held_up_to_the_bound_and_come_in_order() -> None:
    size = len(data(A, 20_000, 20_000))
    victim = Victim(hold_bytes=3_000 * size)
    order = list(range(5, 20_005, 2))
    random.Random(1).shuffle(order)
    for seq in order:
        victim.hear(data(A, seq, seq, 2_000 + seq))
    assert victim.hold.used <= 3_000 * size
    assert 2_900 < len(held_frames(victim, A)) <= 3_100
    (asked,) = [one for one in victim.says(1.0) if wire.parse(one).kind == wire.REQUEST]
    assert len(control.read_request(asked).wanted[0].ranges) == 16
    for seq in range(4, 20_005):
        victim.hear(data(A, seq, seq, 50_000 + seq, repeat=True))
    assert victim.sink.numbers(A) == list(range(1, 20_005))
    assert victim.hold.used == 0


def test_one_flood_of_one_peer_does_not_stop_the_others() -> None:
    victim = Victim(hold_bytes=10_000)
    victim.hear(beat(A + 1, 1, name="flood"))
    victim.hear(*(data(A + 1, 10 + seq, 10 + seq, seq) for seq in range(1_000)))
    assert 9_900 <= victim.hold.used <= 10_000
    victim.hear(data(A, 5, 5, 9_000))  # no room to hold it: repair brings it again
    victim.hear(data(A, 4, 5, 9_001, repeat=True))
    assert victim.sink.numbers(A) == [1, 2, 3, 4, 5]


def test_a_replayed_epoch_is_delivered_once_and_told_once() -> None:
    """Every frame of a node's life, again after its restart, and again after its goodbye."""
    speaker, victim = Node("s", 21), Victim()
    tape: list[bytes] = []
    for second in range(10):
        speaker.publish(3)
        tape += speaker.says(float(second))
        speaker.tick(second + 1.0, since=second)
    victim.hear(*tape)
    victim.hear(beat(22, 1, name="s", last=2), data(22, 1, 2, 1_001))
    expected = [*victim.stream, *((21, seq) for seq in range(1, 31)), Resync("s", 21, 30, "restarted")]
    assert victim.sink.stream == [*expected, (22, 1), (22, 2)]
    for _ in range(3):
        victim.hear(*tape)
        victim.hear(*reversed(tape))
    victim.hear(beat(22, 2, name="s", last=2, flags=wire.BYE), *tape)
    assert victim.sink.stream == [*expected, (22, 1), (22, 2)]
    assert victim.engine.peers[21].duplicates == 7 * 30
