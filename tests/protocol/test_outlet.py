"""One link as the core sees it: how large frames get, what is lost with it, and whom a heartbeat lists."""

from __future__ import annotations

import random

import pytest

from bus.protocol import control, frame as wire
from bus.protocol.limits import Limits
from bus.protocol.outlet import MIN_FRAME, MOST_TRUST, TRUST, WINDOW, Sizes
from bus.signals import Gap, Up
from tests.protocol.kit import Declared, Node, beat, data, exchange, kinds, of_kind, request

A = 11


def flown(node: Node, now: float = 0.0) -> list[bytes]:
    """What it sends until the window is full; nothing is confirmed."""
    frames: list[bytes] = []
    while (frame := node.engine.next_frame(node.outlet, now)) is not None:
        frames.append(frame)
    return frames


def numbers(frames: list[bytes]) -> list[tuple[int, int]]:
    """First number and count of the DATA frames."""
    headers = [wire.parse(frame) for frame in frames]
    return [(one.first_seq, one.count) for one in headers if one.kind == wire.DATA]


def quiet(sizes: Sizes | None = None, limits: Limits | None = None) -> Node:
    """A node that has said hello."""
    node = Node(sizes=sizes, limits=limits)
    node.says()
    return node


def far(sizes: Sizes | None = None) -> Node:
    """The same, but its server is 10 ms away."""
    node = Node(sizes=sizes)
    for _ in flown(node):
        node.engine.land(node.outlet, 0.01)
    return node


# -- the window and the size -----------------------------------------------------------------------


def test_at_most_two_frames_are_unconfirmed_and_what_waits_makes_the_next_one() -> None:
    node = far()
    node.publish()
    assert numbers(flown(node)) == [(1, 1)]
    node.publish(3)
    assert numbers(flown(node)) == [(2, 3)]
    node.publish(50)
    assert flown(node) == []
    assert len(node.outlet.flights) == WINDOW
    node.engine.land(node.outlet, 0.01)
    assert node.outlet.confirmed == 1
    assert numbers(flown(node)) == [(5, 50)]


def test_a_near_server_confirms_before_the_next_part_of_a_frame_goes() -> None:
    node = quiet()
    node.publish()
    assert numbers(flown(node)) == [(1, 1)]
    node.publish(3)
    node.publish(4)
    assert flown(node) == []
    node.engine.land(node.outlet, 0.0)
    assert numbers(flown(node)) == [(2, 7)]


def test_in_full_flight_a_frame_is_worth_a_millisecond() -> None:
    node = quiet(Sizes(frame=65_536))
    node.publish(5, size=8_000)
    assert numbers(flown(node, 1.0)) == [(1, 5)]
    node.engine.land(node.outlet, 1.0)
    node.publish()
    assert flown(node, 1.000_9) == []
    assert 0.0 < node.outlet.pause(1.000_9) < 0.000_11
    assert node.outlet.pause(1.001_1) == 0.0
    assert numbers(flown(node, 1.001_1)) == [(6, 1)]
    # That was a small one, and so is one large event: the sender is no longer in full flight.
    for seq in (7, 8):
        node.engine.land(node.outlet, 1.001_1)
        node.publish(1, size=20_000)
        assert numbers(flown(node, 1.001_1)) == [(seq, 1)]


def test_in_full_flight_what_fills_a_frame_goes_at_once() -> None:
    node = quiet(Sizes(frame=65_536, max_frame=65_536))
    for first in (1, 9):
        node.publish(9, size=8_000)
        assert numbers(flown(node, 1.0)) == [(first, 8)]
        node.engine.land(node.outlet, 1.0)


def test_what_fills_a_frame_waits_for_nothing_but_the_window() -> None:
    node = quiet()
    node.publish()
    flown(node)
    node.publish(20_000)
    ((first, count),) = numbers(flown(node))
    assert (first, len(node.outlet.flights)) == (2, WINDOW)
    assert 3_000 < count < 20_000


def test_only_new_events_wait_for_a_confirm_and_only_for_that_of_others() -> None:
    node = quiet()
    node.tick(1.5)
    assert kinds(flown(node, 1.5)) == [wire.HEARTBEAT]
    node.publish()
    assert numbers(flown(node, 1.5)) == [(1, 1)], "a heartbeat in flight holds up nothing"
    node.publish()
    node.hear(request(A, {2: [(1, 1)]}), now=1.51)
    (repeat,) = of_kind(wire.DATA, flown(node, 1.51))
    assert wire.parse(repeat).flags & wire.REPEAT, "who misses something does not wait"


def test_the_goodbye_comes_after_the_events_that_waited() -> None:
    node = quiet()
    node.publish()
    flown(node)
    node.publish()
    node.engine.say_bye()
    assert flown(node) == []
    node.engine.land(node.outlet, 0.0)
    assert kinds(flown(node)) == [wire.DATA, wire.HEARTBEAT]


def test_a_confirm_that_does_not_come_is_not_waited_for() -> None:
    node = quiet()
    node.publish()
    flown(node)
    node.publish()
    assert flown(node, 0.019) == []
    assert numbers(flown(node, 0.021)) == [(2, 1)]


def test_nothing_waits_while_nobody_knows_how_far_the_server_is() -> None:
    node = quiet()
    node.engine.down(node.outlet)
    node.engine.up(node.outlet)
    node.publish()
    assert numbers(flown(node)) == [(1, 1)]
    node.outlet.flights.popleft()  # the hello
    node.publish()
    assert numbers(flown(node)) == [(2, 1)]


def test_frames_are_small_while_a_confirm_is_late() -> None:
    node = quiet()
    node.publish(50, size=1_000)
    assert numbers(flown(node)) == [(1, 50)]
    node.publish(500, size=1_000)
    assert numbers(flown(node, 0.25)) == [(51, 65)], "not yet"
    node = quiet()
    node.publish(50, size=1_000)
    flown(node)
    node.publish(600, size=1_000)
    assert numbers(flown(node, 0.3)) == [(51, 4)]
    node.engine.land(node.outlet, 0.4)
    node.engine.land(node.outlet, 0.4)
    first, count = numbers(flown(node, 0.4))[0]
    assert (first, count > 4) == (55, True), "no longer late"


def test_a_far_server_confirms_everything_late() -> None:
    node = Node()
    for _ in flown(node):
        node.engine.land(node.outlet, 0.4)
    node.publish(50, size=1_000)
    flown(node)
    node.publish(50, size=1_000)
    assert numbers(flown(node, 0.3)) == [(51, 50)]


def test_a_confirm_that_nobody_waits_for_is_harmless() -> None:
    node = quiet()
    node.engine.land(node.outlet, 0.0)
    assert node.outlet.confirmed == 0


def send_full(node: Node, took: float, times: int = 1) -> int:
    """Full frames, each confirmed after so many seconds; returns the size after that."""
    for _ in range(times):
        node.publish(node.outlet.limit // 1_000 + 2, size=1_000)
        while flown(node):
            while node.outlet.flights:
                node.engine.land(node.outlet, took)
    return node.outlet.limit


def test_frames_shrink_when_confirms_are_slow_and_grow_when_they_are_fast() -> None:
    node = quiet(Sizes(frame=8_192, max_frame=32_768))
    assert send_full(node, 0.1) == 8_192
    assert send_full(node, 0.26) < 8_192
    assert send_full(node, 0.26, times=10) == MIN_FRAME
    assert send_full(node, 0.01, times=10) == 32_768
    # The log makes what the link bears.
    node.publish(100, size=1_000)
    assert max(count for _, count in numbers(node.says())) == 32


def test_a_far_server_is_no_slow_one() -> None:
    """It confirms everything late, a heartbeat as well: smaller frames would only carry less."""
    node = Node(sizes=Sizes(frame=8_192, max_frame=32_768))
    assert kinds(flown(node)) == [wire.HEARTBEAT]
    node.engine.land(node.outlet, 0.4)
    assert send_full(node, 0.64) == 8_192
    assert send_full(node, 0.44, times=10) == 32_768
    assert send_full(node, 0.66) == 16_384
    # The next connection may lead to a nearer one.
    node.engine.down(node.outlet)
    node.engine.up(node.outlet)
    node.engine.tick(0.0)
    flown(node)
    while node.outlet.flights:
        node.engine.land(node.outlet, 0.01)
    assert send_full(node, 0.4) < 8_192


def test_what_is_slow_with_less_than_a_full_frame_gets_no_larger_one() -> None:
    node = quiet()
    node.publish(20, size=1_000)
    (frame,) = flown(node)
    assert len(frame) * 2 < Sizes().frame
    node.engine.land(node.outlet, 2.0)
    assert node.outlet.limit == len(frame)


def test_a_small_frame_says_nothing_about_the_size() -> None:
    node = quiet()
    node.publish()
    assert numbers(flown(node)) == [(1, 1)]
    node.engine.land(node.outlet, 9.0)
    assert node.outlet.limit == Sizes().frame


def test_the_smallest_link_sets_the_size_of_new_frames_and_every_link_its_own() -> None:
    node = quiet()
    small = node.link(Sizes(frame=2_000, max_frame=2_000))
    node.says(on=small)
    node.publish(20, size=300)
    assert max(map(len, node.says(on=small))) <= 2_000
    node.engine.detach(small)
    node.says()
    node.publish(20, size=300)
    assert numbers(node.says()) == [(21, 20)]


def reborn(node: Node, now: float = 0.0) -> None:
    """The connection dies with a full frame in flight; the next one has caught up."""
    full(node)
    flown(node, now)
    node.engine.down(node.outlet)
    node.engine.up(node.outlet)
    caught_up(node, now)


def full(node: Node) -> None:
    """What waits fills more than one frame."""
    node.publish(node.outlet.limit // 1_000 + 2, size=1_000)


def caught_up(node: Node, now: float) -> int:
    """All that waits is sent and confirmed at that moment; the size after that."""
    while flown(node, now):
        while node.outlet.flights:
            node.engine.land(node.outlet, now)
    return node.outlet.limit


def grown(node: Node, now: float) -> int:
    """The size after full frames at that moment."""
    full(node)
    return caught_up(node, now)


def test_after_a_death_frames_do_not_grow_for_a_while_however_fast_the_confirms_are() -> None:
    node = quiet(Sizes(frame=65_536))
    reborn(node)
    assert [grown(node, 0.0) for _ in range(20)] == [32_768] * 20
    # Ten seconds of life with that size; then twice as much, and again.
    assert grown(node, TRUST - 0.1) == 32_768
    assert grown(node, TRUST) == 65_536
    assert grown(node, 2 * TRUST - 1) == 65_536
    assert [grown(node, times * TRUST) for times in (2, 3, 4)] == [131_072, 262_144, 262_144]


def test_a_size_that_killed_the_connection_again_is_tried_after_twice_the_time() -> None:
    node = quiet(Sizes(frame=65_536))
    reborn(node)
    now, waits = 0.0, list[float]()
    for _ in range(9):
        grown(node, now)
        began = now
        while node.outlet.limit == 32_768:
            now += 1.0
            grown(node, now)
        waits.append(now - began)
        assert node.outlet.limit == 65_536
        reborn(node, now)
    assert waits == [10, 20, 40, 80, 160, 320, 640, MOST_TRUST, MOST_TRUST]
    # A death of another cause is no answer to a trial.
    reborn(node, now)
    assert node.outlet.limit == 16_384
    grown(node, now)
    assert grown(node, now + TRUST) == 32_768


def test_all_the_trust_is_back_once_the_largest_size_has_lived() -> None:
    node = quiet(Sizes(frame=65_536, max_frame=65_536))
    reborn(node)
    for now in (0.0, TRUST, 2 * TRUST):
        grown(node, now)
    assert node.outlet.limit == 65_536
    reborn(node, now)
    grown(node, now)
    assert grown(node, now + TRUST) == 65_536


# -- the death of a link ---------------------------------------------------------------------------


def test_what_was_not_confirmed_is_sent_again_on_the_next_connection() -> None:
    node = far(Sizes(frame=65_536))
    node.publish(3)
    flown(node)
    node.publish(2)
    assert numbers(flown(node)) == [(4, 2)]
    node.engine.land(node.outlet, 0.0)
    node.engine.down(node.outlet)
    assert node.outlet.limit == 32_768
    assert flown(node) == []
    node.engine.up(node.outlet)
    frames = node.says()
    assert wire.parse(frames[0]).flags & wire.HELLO
    assert numbers(frames) == [(4, 2)]
    assert node.outlet.confirmed == 5


def test_an_event_in_flight_at_two_deaths_is_a_tombstone_and_the_rest_goes_on() -> None:
    node = quiet(Sizes(frame=4_096))
    node.publish()
    node.says()
    node.publish(1, size=8_000)
    node.publish(1)
    node.publish(1, size=4_043)
    for death in range(2):
        assert numbers(flown(node))[:1] == [(2, 1)], death
        node.engine.down(node.outlet)
        node.engine.up(node.outlet)
        assert node.engine.next_frame(node.outlet, 0.0)
        node.engine.land(node.outlet, 0.0)
    frames = of_kind(wire.DATA, node.says())
    # Joined with the one behind it: they have become small enough to travel together.
    assert numbers(frames) == [(2, 2), (4, 1)]
    assert frames[0][wire.BODY_START :].startswith(b"\x91\x01\x94")


def test_one_death_or_a_small_frame_buries_nothing() -> None:
    node = quiet()
    node.publish(1, size=8_000)
    for _ in range(2):
        assert numbers(flown(node)) == [(1, 1)]
        node.engine.down(node.outlet)
        node.engine.up(node.outlet)
        node.engine.next_frame(node.outlet, 0.0)
        node.engine.land(node.outlet, 0.0)
    assert b"x" * 8_000 in b"".join(node.says())


def test_a_large_event_that_was_confirmed_just_before_a_death_is_sent_again() -> None:
    """Two deaths in a row, and the server may be the one that kills for it: a tombstone."""
    node = quiet(Sizes(frame=4_096))
    node.publish(1, size=20_000)
    for _ in range(2):
        assert numbers(flown(node)) == [(1, 1)]
        node.engine.land(node.outlet, 0.0)
        assert node.outlet.confirmed == 1
        reborn_silently(node)
    (frame,) = of_kind(wire.DATA, node.says())
    assert frame[wire.BODY_START :].startswith(b"\x91\x01")


def reborn_silently(node: Node) -> None:
    """The connection dies; of the next one only the hello has been sent, and confirmed."""
    node.engine.down(node.outlet)
    node.engine.up(node.outlet)
    assert node.engine.next_frame(node.outlet, 0.0)
    node.engine.land(node.outlet, 0.0)


def test_a_large_event_that_two_frames_have_followed_is_not_sent_again() -> None:
    node = quiet(Sizes(frame=4_096))
    node.publish(1, size=8_000)
    assert numbers(flown(node)) == [(1, 1)]
    node.engine.land(node.outlet, 0.0)
    for now in (1.0, 2.0):
        node.engine.tick(now)
        node.engine.tick(now + 0.5)
        assert kinds(flown(node, now + 0.5)) == [wire.HEARTBEAT]
        node.engine.land(node.outlet, now + 0.5)
    reborn_silently(node)
    assert of_kind(wire.DATA, node.says()) == []


def test_an_event_over_what_the_link_carries_is_never_sent() -> None:
    node = quiet(Sizes(frame=4_096, max_frame=4_096, max_message=4_096))
    node.publish(1, size=100)
    node.publish(1, size=5_000)
    node.publish(1, size=100)
    frames = node.says()
    assert max(map(len, frames)) <= 4_096
    body = b"".join(frames)
    assert b"\x91\x01" in body
    assert body.count(b"x" * 100) == 2


def test_the_next_connection_may_carry_less_and_the_one_after_it_more_again() -> None:
    node = quiet()
    node.engine.down(node.outlet)
    node.outlet.fit(Sizes(max_message=5_000))
    node.engine.up(node.outlet)
    node.publish(20, size=1_000)
    frames = node.says()
    assert max(map(len, frames)) <= 5_000
    assert sum(count for _, count in numbers(frames)) == 20
    node.publish(1, size=6_000)
    assert b"x" * 6_000 not in b"".join(node.says())
    node.engine.down(node.outlet)
    node.outlet.fit(Sizes())
    node.engine.up(node.outlet)
    node.publish(1, size=6_000)
    assert b"x" * 6_000 in b"".join(node.says())


def test_a_cursor_below_what_is_held_goes_on_with_what_is_new() -> None:
    node = quiet(limits=Limits(log_age=5.0))
    node.engine.down(node.outlet)
    node.publish(3)
    node.tick(20.0)
    node.engine.up(node.outlet)
    (hello,) = node.says(20.0)
    assert control.read_heartbeat(hello).held == 4
    node.publish()
    assert numbers(node.says(20.0)) == [(4, 1)]
    other = Node("c", 3, now=0.0)
    other.hear(hello, now=20.0)
    assert other.sink.stream == [Gap("b", 2, ((1, 3),), "gone")]


def test_a_second_link_goes_on_where_the_first_one_stands() -> None:
    node = quiet()
    node.publish(3)
    node.says()
    second = node.link()
    assert numbers(node.says(on=second)) == []
    node.publish()
    assert numbers(node.says()) == numbers(node.says(on=second)) == [(4, 1)]


def test_what_waits_in_small_pieces_is_sent_together_as_far_as_it_fits_into_a_frame() -> None:
    node = quiet(Sizes(frame=4_096, max_frame=8_192))
    node.engine.down(node.outlet)
    for at in range(1, 9):
        node.publish(2, size=250)
        node.tick(at * 2.0, since=at * 2.0 - 2.0)  # nobody asks for it: an entry of its own
    node.publish()
    node.engine.up(node.outlet)
    frames = of_kind(wire.DATA, node.says(16.0))
    assert numbers(frames) == [(1, 14), (15, 2), (17, 1)]
    assert max(map(len, frames)) <= 4_096
    other = Node("o", 3)
    other.hear(beat(2, 1, sent_us=0, name="b"), *frames)
    assert other.sink.delivered(2) == list(range(1, 18))


def test_what_was_sent_together_and_not_confirmed_is_sent_again_from_its_start() -> None:
    node = quiet()
    for _ in range(3):
        node.publish()
        node.says()
    node.outlet.cursor = 1
    for _ in range(2):
        assert numbers(flown(node)) == [(1, 3)]
        node.engine.down(node.outlet)
        node.engine.up(node.outlet)
        node.engine.next_frame(node.outlet, 0.0)


# -- whom a heartbeat lists (rule 9) ---------------------------------------------------------------


def lists(frames: list[bytes]) -> list[int]:
    """The epochs that the heartbeats list."""
    return [
        entry.epoch
        for frame in frames
        if wire.parse(frame).kind == wire.HEARTBEAT
        for entry in control.read_heartbeat(frame).entries
    ]


def second(node: Node, at: int) -> list[bytes]:
    """What it says in second `at` of its life."""
    node.tick(float(at), since=at - 1.0)
    return node.says(float(at))


def crowd(count: int, name: str = "", rotation: int = 0) -> Node:
    """A node that hears so many others."""
    node = Node(random=lambda below: rotation)
    node.says()
    for epoch in range(100, 100 + count):
        node.hear(beat(epoch, 1, name=f"{name}{epoch}"))
    return node


def test_all_are_listed_while_there_are_few() -> None:
    node = crowd(8)
    assert lists(second(node, 1)) == list(range(100, 108))


@pytest.mark.parametrize("count", [9, 40, 100])
@pytest.mark.parametrize("rotation", [0, 65_535])
def test_everybody_is_listed_in_turn_however_busy_some_are(count: int, rotation: int) -> None:
    node = crowd(count, rotation=rotation)
    seen: list[int] = []
    for at in range(1, 2 + 2 * -(-count // 4)):
        for epoch in range(100, 108):  # eight always have news
            node.hear(data(epoch, at, at, at * 1_000 + 1), now=at - 1.0)
        listed = lists(second(node, at))
        assert len(listed) == len(set(listed)) == 8
        seen += listed
        if at <= count // 8:
            assert len(set(seen)) == 8 * at  # those who are new come first
    assert set(seen) == set(range(100, 100 + count))


def test_a_heartbeat_stays_within_512_bytes_whatever_the_names_and_numbers_are() -> None:
    top, late = (1 << 63) - 2, 9.2e12
    node = Node("é" * 64, (1 << 64) - 1, now=0.0)
    for epoch in range((1 << 64) - 30, (1 << 64) - 2):
        node.hear(beat(epoch, top, sent_us=top, name=f"{epoch}" * 5, uptime_us=top, last=top), now=late)
    node.engine.catalog.ours = Declared((1 << 64) - 1)
    node.engine.generation = top
    frames = node.says(late)
    node.engine.tick(late)
    node.engine.tick(late + 1)
    frames += node.says(late)
    beats = [frame for frame in frames if wire.parse(frame).kind == wire.HEARTBEAT]
    assert len(beats) >= 2
    for frame in beats:
        # The seal will need 28 bytes more.
        assert len(frame) + 28 <= 512
        assert 4 <= len(control.read_heartbeat(frame).entries) < 8


def test_who_was_not_heard_on_a_link_is_not_listed_on_it() -> None:
    node = crowd(3)
    other = node.link()
    node.says(on=other)
    node.hear(beat(101, 2, name="101"), on=other)
    node.tick(1.0)
    assert lists(node.says(1.0)) == [100, 101, 102]
    assert lists(node.says(1.0, on=other)) == [101]
    node.engine.down(node.outlet)
    node.engine.up(node.outlet)
    assert lists(node.says(1.0)) == []


def test_hello_is_said_until_a_peer_lists_us_and_answered_within_a_tenth_of_a_second() -> None:
    one, other = Node("a", 1), Node("b", 2)
    assert [wire.parse(frame).flags for frame in one.says()] == [wire.HELLO]
    assert [wire.parse(frame).flags for frame in second(one, 1)] == [wire.HELLO]
    other.says(1.0)
    for at in range(5):
        # However many say hello, one heartbeat answers them.
        other.hear(beat(20 + at, 1, name=str(at), flags=wire.HELLO), now=1.0)
    assert kinds(other.says(1.0)) == []
    other.tick(1.2, since=1.0, step=0.05)
    answers = other.says(1.2)
    assert kinds(answers) == [wire.HEARTBEAT]
    exchange(one, other, 1.2)
    one.tick(2.3, since=1.0)
    other.tick(2.3, since=1.2)
    exchange(one, other, 2.3)
    one.tick(3.5, since=2.3)
    assert [wire.parse(frame).flags for frame in one.says(3.5)] == [0]
    assert one.sink.changes == [Up("b", 2)]


def test_the_rotation_starts_anywhere() -> None:
    """A hundred nodes that start together must not all list the same eight."""
    starts: set[int] = set()
    dice = random.Random(5)
    for _ in range(20):
        node = crowd(20, rotation=dice.randrange(1 << 16))
        starts.add(lists(second(node, 1))[0])
    assert len(starts) > 5
