"""Asking and repeating (rule 3): how a hole is closed, and what keeps repair from becoming the load.

The asker: at once, then less and less often, at most 16 ranges, on the link that brought the newest
frame. The asked: the union of all requests, not the same within 50 ms, at most 1 MiB, behind at least
three new frames.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from bus.protocol import control, frame as wire
from bus.protocol.limits import Limits
from bus.protocol.outlet import Sizes
from tests.protocol.kit import A, Node, asks, beat, data, kinds, known, of_kind, request

# -- asking (rule 3) -------------------------------------------------------------------------------


def test_a_hole_is_asked_for_at_once_and_then_less_and_less_often() -> None:
    node = known()
    node.hear(data(A, 5, 6))
    times: list[float] = []
    for step in range(1 + 550):
        now = step / 100
        node.engine.tick(now)
        # The sender lives, but nothing that is missing comes.
        node.hear(beat(A, step + 2, sent_us=3 + step, last=6), now=now)
        if ranges := asks(node, now):
            assert ranges == [(1, 4)]
            times.append(now)
    gaps = [round(two - one, 2) for one, two in pairwise(times)]
    assert times[0] == 0.0
    assert gaps == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0], abs=0.011)


def test_progress_begins_the_asking_anew_but_waits_for_what_is_on_its_way() -> None:
    node = known()
    node.hear(data(A, 9, 9))
    assert asks(node, 0.0) == [(1, 8)]
    node.hear(data(A, 1, 4, repeat=True))
    assert asks(node, 0.0) == []
    node.engine.tick(0.11)
    assert asks(node, 0.11) == [(5, 8)]


def test_the_heartbeat_behind_the_repeats_is_the_moment_to_ask_for_the_rest() -> None:
    node = known()
    node.hear(data(A, 9, 9))
    assert asks(node, 0.0) == [(1, 8)]
    node.hear(beat(A, 3, last=9))
    assert asks(node, 0.0) == [], "it is no answer"
    node.hear(data(A, 1, 4, repeat=True), beat(A, 4, last=9))
    assert asks(node, 0.0) == [(5, 8)]


def test_one_request_has_at_most_sixteen_ranges() -> None:
    node = known()
    node.hear(*(data(A, seq, seq) for seq in range(2, 82, 2)))
    assert asks(node, 0.0) == [(seq, seq) for seq in range(1, 33, 2)]


def test_sixteen_ranges_are_shared_by_all_peers_that_have_holes() -> None:
    node = known()
    for epoch in (A, A + 1, A + 2):
        node.hear(beat(epoch, 1, sent_us=1, name=str(epoch)))
        node.hear(*(data(epoch, seq, seq) for seq in range(2, 22, 2)))
    frames = [one for one in node.says() if wire.parse(one).kind == wire.REQUEST]
    asked = [
        [(wanted.epoch, len(wanted.ranges)) for wanted in control.read_request(one).wanted] for one in frames
    ]
    assert asked == [[(A, 10), (A + 1, 6)], [(A + 2, 10)]]


def test_nobody_is_asked_who_is_not_heard() -> None:
    node = known()
    node.hear(data(A, 5, 5))
    node.tick(3.0)
    asks(node, 3.0)
    node.tick(9.0, since=3.0)
    assert asks(node, 9.0) == []
    node.hear(data(A, 6, 6), now=9.0)
    assert asks(node, 9.0) == [(1, 4)]


def test_requests_are_the_only_answer_to_a_hole() -> None:
    node = known(2)
    node.hear(data(A, 5, 5))
    assert kinds(node.says()) == [wire.REQUEST]
    node.hear(request(A, {A: [(1, 5)]}))
    assert node.says() == []


# -- repeating (rule 3) ----------------------------------------------------------------------------


def sender(events: int, size: int = 0) -> Node:
    """A node that has sent so many events, each in a frame of its own."""
    node = Node(sizes=Sizes(max_frame=65_536))
    for _ in range(events):
        node.publish(1, size)
        node.says()
    return node


def repeated(frames: list[bytes]) -> list[tuple[int, int]]:
    """First number and count of the repeats."""
    headers = [wire.parse(frame) for frame in of_kind(wire.DATA, frames)]
    return [(one.first_seq, one.count) for one in headers if one.flags & wire.REPEAT]


def test_the_union_of_what_is_asked_for_is_repeated_in_as_few_frames_as_it_takes() -> None:
    node = sender(20)
    node.hear(request(A, {2: [(3, 5), (4, 6), (9, 9)], 99: [(1, 20)]}), now=1.0)
    node.hear(request(A + 1, {2: [(6, 7)]}), now=1.0)
    frames = node.says(1.0)
    assert repeated(frames) == [(3, 5), (9, 1)]
    # Then it says where it stands, for those who asked for what is not held.
    assert kinds(frames)[-1] == wire.HEARTBEAT


def test_large_repeats_are_not_joined_over_the_size_of_a_frame() -> None:
    node = sender(5, size=30_000)
    node.hear(request(A, {2: [(1, 5)]}), now=1.0)
    assert repeated(node.says(1.0)) == [(1, 2), (3, 2), (5, 1)]


def test_askers_take_turns_and_what_two_wait_for_goes_out_once() -> None:
    node = sender(8, size=60_000)
    node.hear(beat(A, 1), beat(A + 1, 1, name="other"))
    node.hear(request(A, {2: [(1, 6)]}), now=1.0)
    node.hear(request(A + 1, {2: [(4, 4), (8, 8)]}), now=1.06)
    # Neither is a peer: they share one turn.
    node.hear(request(77, {2: [(7, 7)]}), now=1.12)
    node.hear(request(78, {2: [(6, 7)]}), now=1.18)
    assert len(node.outlet.repeats) == 3
    order = [first for first, _ in repeated(node.says(1.2))]
    assert order == [1, 4, 6, 2, 8, 7, 3, 5]
    assert not node.outlet.unrepeated


def test_the_same_is_not_repeated_within_50_ms() -> None:
    node = sender(3)
    said: list[list[tuple[int, int]]] = []
    for now in (1.0, 1.04, 1.06):
        node.hear(request(A, {2: [(1, 3)]}), now=now)
        said.append(repeated(node.says(now)))
    assert said == [[(1, 3)], [], [(1, 3)]]


def test_one_request_is_answered_with_at_most_one_mebibyte() -> None:
    node = sender(40, size=60_000)
    node.hear(request(A, {2: [(1, 40)]}), now=1.0)
    size = sum(map(len, of_kind(wire.DATA, node.says(1.0))))
    assert 900_000 < size < 1_200_000


def test_one_mebibyte_is_the_limit_however_often_it_is_asked_for() -> None:
    node = sender(100, size=60_000)
    body = control.encode(control.Request([control.Wanted(2, [(1, 100)])] * 16))
    node.hear(wire.pack(wire.REQUEST, 0, A, 1, body), now=1.0)
    assert sum(map(len, of_kind(wire.DATA, node.says(1.0)))) < 1_200_000


def test_what_was_not_sent_yet_is_no_repeat() -> None:
    node = sender(2)
    node.publish(3)
    node.hear(request(A, {2: [(1, 5)]}), now=1.0)
    frames = node.says(1.0)
    assert repeated(frames) == [(1, 2)]
    numbers = [wire.parse(frame).first_seq for frame in of_kind(wire.DATA, frames)]
    assert sorted(numbers) == [1, 3]


def test_a_busy_link_repeats_with_every_fourth_frame_at_most() -> None:
    node = sender(8, size=60_000)
    node.hear(request(A, {2: [(1, 8)]}), now=1.0)
    node.publish(24, size=60_000)
    flags = [wire.parse(frame).flags for frame in of_kind(wire.DATA, node.says(1.0))]
    repeats = [at for at, one in enumerate(flags) if one & wire.REPEAT]
    assert len(flags) == 32
    assert all(two - one >= 4 for one, two in pairwise(repeats))
    assert len(repeats) == 8


def test_a_request_for_what_is_gone_is_answered_with_what_is_held() -> None:
    node = Node(limits=Limits(log_age=5.0))
    node.publish(3)
    node.says()
    node.tick(10.0)
    node.says(10.0)
    node.hear(request(A, {2: [(1, 3)]}), now=10.0)
    node.tick(10.15, since=10.0, step=0.05)
    (frame,) = node.says(10.15)
    assert control.read_heartbeat(frame).held == 4


def test_repeats_that_wait_until_they_are_too_old_are_left_out() -> None:
    node = Node(limits=Limits(log_age=5.0))
    node.publish(3)
    node.says()
    node.hear(request(A, {2: [(1, 3)]}), now=1.0)
    node.tick(10.0)
    frames = node.says(10.0)
    assert repeated(frames) == []
    assert control.read_heartbeat(frames[-1]).held == 4


def test_what_the_connection_cannot_carry_is_repeated_as_a_tombstone() -> None:
    node = sender(1)
    node.publish(1, size=8_000)
    node.publish(1)
    node.says()
    node.outlet.fit(Sizes(max_message=5_000))
    node.hear(request(A, {2: [(1, 3)]}), now=1.0)
    frames = node.says(1.0)
    assert sum(count for _, count in repeated(frames)) == 3
    assert max(map(len, frames)) <= 5_000
    assert b"\x91\x01" in b"".join(frames)


def test_a_new_connection_owes_nobody_a_repeat() -> None:
    node = sender(3)
    node.hear(request(A, {2: [(1, 3)]}), now=1.0)
    node.engine.down(node.outlet)
    node.engine.up(node.outlet)
    assert repeated(node.says(1.0)) == []


def test_the_link_that_brought_the_newest_frame_is_the_one_to_ask_on() -> None:
    node = Node()
    second = node.link()
    node.says()
    node.says(on=second)
    node.hear(beat(A, 1, sent_us=1))
    node.hear(data(A, 5, 5, 9), on=second)
    node.hear(data(A, 4, 4, 8))
    assert kinds(node.says()) == []
    assert kinds(node.says(on=second)) == [wire.REQUEST]
    # When that one is away, any that is up will do; when none is, nobody is asked.
    node.engine.down(second)
    node.tick(0.2)
    assert kinds(node.says(0.2)) == [wire.REQUEST]
    node.engine.down(node.outlet)
    node.engine.ledger.ask(A)
    assert not node.outlet.control


def test_after_five_tries_in_vain_another_link_is_asked_on() -> None:
    """The newest frames may come on a link that carries nothing the other way."""
    node = Node()
    second = node.link()
    asked: list[str] = []
    for step in range(90):
        now = step / 10
        node.engine.tick(now)
        node.hear(beat(A, step + 1, last=3, sent=3), on=second, now=now)
        for name, outlet in (("first", node.outlet), ("second", second)):
            asked += [name for frame in node.says(now, on=outlet) if wire.parse(frame).kind == wire.REQUEST]
    assert asked[:10] == ["second"] * 5 + ["first"] * 5
