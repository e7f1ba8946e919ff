"""Who has which event types: told on each connection, asked of who was not heard, and what waits meanwhile.

The core does not look into a description: here it is a text, and the sink says whom it cannot judge.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from bus.protocol import catalog, control, frame as wire
from bus.protocol.catalog import KNOWN_BYTES, LARGEST, PART
from bus.protocol.control import Typed, Types
from bus.protocol.limits import Limits
from bus.protocol.outlet import Sizes
from bus.signals import Gap
from tests.protocol.kit import A, Declared, Node, beat, data, exchange, held_frames, kinds, of_kind

TEXT = msgspec.msgpack.encode("a description")
Described = Mapping[str, bytes] | Mapping[int, bytes]
MINE: Described = {"a": TEXT}


def knowing(digest: int = 1, described: Described = MINE, epoch: int = 2) -> Node:
    """A node that has types."""
    node = Node(f"n{epoch}", epoch)
    node.engine.catalog.ours = Declared(digest, described)
    return node


def types(
    digest: int, described: Described, *, epoch: int = A, count: int | None = None,
    sent_us: int = 5_000_000,
) -> bytes:  # fmt: skip
    """An answer."""
    body = Types(
        digest=digest, count=len(described) if count is None else count,
        types=[Typed(tag, msgspec.Raw(text)) for tag, text in described.items()],
    )  # fmt: skip
    return wire.pack(wire.TYPES, 0, epoch, sent_us, control.encode(body))


def question(epoch: int, of: int = A) -> bytes:
    return wire.pack(wire.TYPES, 0, of, 1, control.encode(Types(ask=epoch)))


def told(frames: list[bytes]) -> list[Types]:
    return [control.read_types(frame) for frame in of_kind(wire.TYPES, frames)]


def asked(frames: list[bytes]) -> list[int | None]:
    """Whose types the node asks for."""
    return [one.ask for one in told(frames) if one.ask is not None]


# -- telling ---------------------------------------------------------------------------------------


def test_types_are_told_on_each_connection_after_the_hello_and_before_the_first_event() -> None:
    node = knowing()
    node.publish()
    assert kinds(node.says()) == [wire.HEARTBEAT, wire.TYPES, wire.DATA]
    node.engine.down(node.outlet)
    node.engine.up(node.outlet)
    assert kinds(node.says())[:2] == [wire.HEARTBEAT, wire.TYPES]


def test_types_that_become_more_are_told_before_the_first_event_of_the_new_one() -> None:
    node = knowing()
    node.says()
    node.engine.catalog.ours = Declared(2, {"a": TEXT, "b": TEXT})
    node.publish()
    (first, second) = node.says()
    assert control.read_types(first) == control.read_types(types(2, {"a": TEXT, "b": TEXT}))
    assert wire.parse(second).kind == wire.DATA


def test_who_says_nothing_of_its_types_sends_no_frame_of_them() -> None:
    node = Node()
    node.publish()
    assert kinds(node.says()) == [wire.HEARTBEAT, wire.DATA]
    node.hear(question(2))
    assert told(node.says(1.0)) == []


def test_many_types_are_told_in_frames_that_every_link_carries() -> None:
    large = msgspec.msgpack.encode("x" * (LARGEST - 100))
    described = dict.fromkeys(range(16, 26), large)
    node = knowing(described=described)
    frames = of_kind(wire.TYPES, node.says())
    assert len(frames) > 3
    assert max(map(len, frames)) < PART + LARGEST
    other = knowing(9, epoch=3)
    other.hear(beat(2, 1, name="n2", digest=1))
    other.hear(*frames[:-1])
    assert other.engine.peers[2].types is None
    other.hear(frames[-1])
    assert other.engine.peers[2].types == described


class Growing:
    """Types that become more after `reads` looks at them, as they do when another thread adds one."""

    def __init__(self, reads: int) -> None:
        self._reads = reads

    def _is_more(self) -> bool:
        self._reads -= 1
        return self._reads < 0

    @property
    def digest(self) -> int:
        return 2 if self._is_more() else 1

    @property
    def described(self) -> Mapping[int | str, bytes]:
        return {"a": TEXT, "b": TEXT} if self._is_more() else {"a": TEXT}


@pytest.mark.parametrize("reads", range(8))
def test_a_digest_is_never_told_with_fewer_types_than_it_stands_for(reads: int) -> None:
    node = Node()
    node.engine.catalog.ours = Growing(reads)
    answers = [one for at in range(3) for one in told(node.says(float(at)))]
    assert answers[-1].digest == 2
    assert all(len(one.types) == 2 for one in answers if one.digest == 2)


def test_a_server_that_carries_little_gets_frames_of_types_that_it_takes() -> None:
    described = {f"type {number}": msgspec.msgpack.encode("x" * 300) for number in range(20)}
    node = Node("n2", 2, sizes=Sizes(max_message=1_000))
    node.engine.catalog.ours = Declared(1, described)
    frames = node.says()
    assert max(map(len, frames)) <= 1_000
    assert len(of_kind(wire.TYPES, frames)) == 10
    other = knowing(9, epoch=3)
    other.hear(*frames)
    assert other.engine.peers[2].types == described


def test_where_a_type_is_too_large_for_the_link_nothing_is_said_of_types() -> None:
    described = {"a": TEXT, "b": msgspec.msgpack.encode("x" * 1_000)}
    node = Node("n2", 2, sizes=Sizes(max_message=1_000))
    node.engine.catalog.ours = Declared(1, described)
    node.publish()
    frames = node.says()
    assert kinds(frames) == [wire.HEARTBEAT, wire.DATA]
    assert control.read_heartbeat(frames[0]).digest == 0
    larger = node.link()
    frames = node.says(on=larger)
    assert control.read_heartbeat(frames[0]).digest == 1
    assert len(of_kind(wire.TYPES, frames)) == 1


def test_a_later_answer_replaces_one_that_was_not_whole() -> None:
    node = Node()
    node.sink.unjudged = {A}
    node.hear(beat(A, 1, digest=9), types(9, {"a": TEXT}), data(A, 1, 1, 6_000_000))
    assert node.sink.delivered(A) == []
    node.sink.unjudged.clear()
    node.hear(types(9, {"a": TEXT, "b": TEXT}, sent_us=7_000_000))
    assert node.sink.delivered(A) == [1]
    assert node.engine.peers[A].types == {"a": TEXT, "b": TEXT}


@pytest.mark.parametrize("whose", [2, 0])
def test_a_question_to_us_or_to_all_is_answered_once_in_a_while(whose: int) -> None:
    node = knowing()
    node.says()
    node.hear(*[question(whose)] * 100, now=1.0)
    assert [(one.digest, one.count) for one in told(node.says(1.0))] == [(1, 1)]
    node.hear(question(whose), now=1.05)
    node.hear(question(77), now=2.0)
    assert told(node.says(2.0)) == []


# -- asking ----------------------------------------------------------------------------------------


def test_two_nodes_of_one_release_have_nothing_to_ask() -> None:
    one, other = knowing(), knowing(epoch=3)
    exchange(one, other, 1.0)
    assert one.engine.peers[3].types == MINE == other.engine.peers[2].types
    assert not one.engine.catalog.waits_for(one.engine.peers[3])


def test_a_digest_that_nobody_knows_is_asked_for_until_it_is_answered() -> None:
    node = knowing()
    node.hear(beat(A, 1, digest=9))
    assert node.engine.catalog.waits_for(node.engine.peers[A])
    assert asked(node.says()) == [A]
    assert asked(node.says(0.05)) == []
    node.tick(0.3, 0.0)
    assert asked(node.says(0.3)) == [A]
    node.hear(types(9, {"b": TEXT}), now=0.3)
    assert node.engine.peers[A].types == {"b": TEXT}
    assert not node.engine.catalog.waits_for(node.engine.peers[A])
    node.tick(2.0, 0.3)
    assert asked(node.says(2.0)) == []


def test_who_was_told_before_asks_nobody_and_of_many_with_one_digest_only_one_is_asked() -> None:
    node = knowing()
    node.hear(*(beat(A + n, 1, name=f"{n}", digest=9) for n in range(5)))
    assert len(asked(node.says())) == 1
    node.hear(types(9, {"b": TEXT}, epoch=A + 3))
    node.hear(beat(A + 7, 1, name="late", digest=9))
    node.tick(3.0)
    assert asked(node.says(3.0)) == []
    assert all(peer.types == {"b": TEXT} for peer in node.engine.peers.values())


def test_each_of_several_with_one_digest_is_asked_in_turn() -> None:
    node = knowing()
    node.hear(beat(A, 1, digest=9), beat(A + 1, 1, name="b", digest=9), beat(A + 2, 1, name="c", digest=8))
    first = asked(node.says())
    assert first == [A, A + 2]
    node.tick(0.2)
    assert asked(node.says(0.2)) == [A + 1, A + 2]


def test_who_never_answers_is_asked_a_few_times_and_then_left_alone() -> None:
    node = knowing()
    questions = 0
    for second in range(1, 40):
        node.hear(beat(A, second, digest=9), now=float(second))
        node.tick(float(second), second - 1.0)
        questions += len(asked(node.says(float(second))))
    assert 5 <= questions <= 10
    assert not node.engine.catalog.waits_for(node.engine.peers[A])


def test_who_is_not_heard_any_more_or_has_left_is_not_asked() -> None:
    node = knowing()
    node.hear(beat(A, 1, digest=9))
    node.tick(3.5)
    assert asked(node.says(3.5)) == []
    node.tick(31.0, 3.5)
    assert not node.engine.catalog.waits_for(node.engine.peers[A])
    node.hear(
        beat(A + 1, 1, name="b", digest=8), beat(A + 1, 2, name="b", digest=8, flags=wire.BYE), now=31.0
    )
    node.tick(31.1, 31.0)
    assert not node.engine.catalog.waits_for(node.engine.peers[A + 1])


def test_an_observer_asks_only_when_it_is_told_to() -> None:
    node = Node(observer=True)
    node.hear(beat(A, 1, digest=9))
    node.tick(1.0)
    assert told(node.says(1.0)) == []
    node.engine.catalog.ask_all(node.outlet)
    assert asked(node.says(1.0)) == [0]
    node.hear(types(9, MINE))
    assert node.engine.peers[A].types == MINE


def test_an_answer_of_a_stranger_or_without_a_digest_is_not_kept() -> None:
    node = knowing()
    node.hear(types(9, {"b": TEXT}))
    node.hear(beat(A, 1, digest=9), types(0, {"b": TEXT}))
    assert node.engine.peers[A].types is None


def test_types_of_others_are_kept_in_bounds() -> None:
    node = knowing()
    large = msgspec.msgpack.encode("x" * LARGEST)
    each = KNOWN_BYTES // LARGEST // 4
    for digest in range(10, 20):
        node.hear(beat(digest, 1, name=f"{digest}", digest=digest))
        node.hear(types(digest, dict.fromkeys(range(16, 16 + each), large), epoch=digest))
    table: dict[int, Mapping[int | str, bytes]] = vars(node.engine.catalog)["_known"]
    assert 10 not in table
    assert 19 in table
    assert node.engine.peers[10].types is None
    # For a type that nobody has judged yet it is asked again.
    node.sink.unjudged.add(10)
    node.hear(data(10, 1, 1, 9_000_000))
    assert asked(node.says()) == [10]
    assert sum(len(one) for known in table.values() for one in known.values()) <= KNOWN_BYTES * 1.5


# -- what waits ------------------------------------------------------------------------------------


def waiting(**limits: int) -> Node:
    """A node that cannot judge A, whose types are asked for."""
    node = Node("b", 2, limits=Limits(**limits))
    node.engine.catalog.ours = Declared(1, MINE)
    node.sink.unjudged.add(A)
    node.hear(beat(A, 1, sent_us=1, digest=9))
    node.says()
    return node


def judged(node: Node, now: float = 0.0) -> None:
    """Its types come, and now it can be judged."""
    node.sink.unjudged.clear()
    node.hear(types(9, {"b": TEXT}), now=now)


def test_events_wait_for_the_types_of_their_sender_and_then_come_in_order_without_a_loss() -> None:
    node = waiting()
    node.hear(data(A, 1, 2, 2), data(A, 4, 5, 3), data(A, 3, 3, 4), beat(A, 2, sent_us=5, last=5, digest=9))
    assert node.sink.stream == []
    judged(node)
    assert node.sink.delivered(A) == [1, 2, 3, 4, 5]
    assert node.hold.used == 0
    assert node.engine.peers[A].account() == control.Account(A, 1, 5, 5, 0, 0, 0, [])


def test_what_waits_is_not_asked_for_again_but_what_is_missing_behind_it_is() -> None:
    node = waiting()
    node.hear(data(A, 1, 2, 2))
    node.tick(0.2)
    frames = node.says(0.2)
    assert of_kind(wire.REQUEST, frames) == []
    assert asked(frames) == [A]
    node.hear(data(A, 5, 6, 3), now=0.2)
    node.tick(0.5, 0.2)
    (request,) = of_kind(wire.REQUEST, node.says(0.5))
    assert control.read_request(request).wanted[0].ranges == [(3, 4)]


def test_what_arrives_while_another_frame_waits_is_a_duplicate_only_once_it_was_delivered() -> None:
    node = waiting()
    node.hear(data(A, 1, 2, 2), data(A, 1, 1, 3), data(A, 1, 2, 4, repeat=True), data(A, 2, 3, 5))
    judged(node)
    assert node.sink.delivered(A) == [1, 2, 3]
    assert node.engine.peers[A].delivered == 3


def test_events_whose_types_never_come_are_handed_over_for_good_after_ten_seconds() -> None:
    node = waiting()
    node.hear(data(A, 1, 2, 2), data(A, 4, 4, 3))
    for tenth in range(1, 130):
        now = tenth / 10
        node.hear(beat(A, 1 + tenth, sent_us=10 + tenth, last=5, sent=4, digest=9), now=now)
        node.tick(now, now - 0.1)
        node.says(now)
    # The sink has to take them as they are: what it cannot judge it tells as lost.
    assert node.engine.peers[A].is_final
    assert node.sink.stream[:2] == [(A, 1), (A, 2)]
    assert node.engine.peers[A].next == 3
    node.tick(30.0, 13.0)
    node.hear(data(A, 3, 3, 9, repeat=True), now=30.0)
    assert node.sink.delivered(A) == [1, 2, 3, 4]


def test_who_leaves_before_its_types_are_known_is_handed_over_for_good_a_second_later() -> None:
    node = waiting()
    node.hear(data(A, 1, 2, 2), beat(A, 2, sent_us=5, last=3, digest=9, flags=wire.BYE))
    node.tick(1.5)
    assert node.sink.stream == [(A, 1), (A, 2), Gap("a", A, ((3, 3),), "ended")]


def test_what_is_here_and_waits_is_not_lost_because_the_sender_has_forgotten_it() -> None:
    node = waiting()
    node.hear(data(A, 1, 2, 2), beat(A, 2, sent_us=5, last=9, held=6, digest=9))
    assert node.sink.stream == []
    judged(node)
    node.hear(beat(A, 3, sent_us=6, last=9, held=6, digest=9))
    assert node.sink.stream == [(A, 1), (A, 2), Gap("a", A, ((3, 5),), "gone")]


def test_what_waits_and_finds_no_room_is_fetched_again() -> None:
    node = waiting(hold_bytes=100)
    node.hear(data(A, 1, 2, 2, size=500))
    assert held_frames(node, A) == []
    judged(node)
    assert node.sink.stream == []
    node.tick(0.2)
    assert of_kind(wire.REQUEST, node.says(0.2)) != []
    node.hear(data(A, 1, 2, 2, size=500, repeat=True), now=0.2)
    assert node.sink.delivered(A) == [1, 2]


def test_types_that_come_do_not_help_when_the_sink_still_cannot_judge() -> None:
    node = waiting()
    node.hear(data(A, 1, 1, 2), data(A, 2, 2, 3))
    node.hear(types(9, {"b": TEXT}))
    assert node.sink.stream == []
    node.tick(0.1)
    assert asked(node.says(0.1)) == [A]
    node.sink.unjudged.clear()
    node.hear(types(10, {"b": TEXT, "c": TEXT}), now=0.1)
    assert node.sink.delivered(A) == [1, 2]


def test_a_new_type_is_known_before_the_next_heartbeat_says_so() -> None:
    node = knowing()
    node.hear(beat(A, 1, sent_us=1, digest=9), types(9, {"b": TEXT}, sent_us=2))
    node.hear(types(10, {"b": TEXT, "c": TEXT}, sent_us=3))
    assert node.engine.peers[A].types == {"b": TEXT, "c": TEXT}
    # A late word of before changes nothing.
    node.hear(beat(A, 2, sent_us=4, digest=10), types(9, {"b": TEXT}, sent_us=2))
    assert node.engine.peers[A].types == {"b": TEXT, "c": TEXT}


def test_who_falls_silent_while_its_events_wait_is_told_lost_and_goes_on_when_it_returns() -> None:
    node = waiting()
    node.hear(data(A, 1, 2, 2))
    node.tick(31.0)
    assert node.hold.used == 0
    node.hear(beat(A, 2, sent_us=9, last=2, digest=9), now=31.0)
    judged(node, 31.0)
    node.tick(31.2, 31.0)
    node.says(31.2)
    node.hear(data(A, 1, 2, 10, repeat=True), now=31.2)
    assert node.sink.delivered(A) == [1, 2]


def test_our_own_types_are_those_of_a_peer_that_had_them_before_us() -> None:
    node = knowing()
    node.hear(beat(A, 1, digest=2))
    node.engine.catalog.ours = Declared(2, MINE)
    node.says()
    assert node.engine.peers[A].types == MINE
    assert catalog.Nothing.digest == 0


def test_who_sees_a_new_digest_waits_a_moment_before_it_asks_unless_events_wait() -> None:
    node = Node(random=lambda below: below - 1)
    node.engine.catalog.ours = Declared(1, MINE)
    node.sink.unjudged.add(A)
    node.hear(beat(A, 1, digest=9))
    assert asked(node.says()) == []
    node.hear(data(A, 1, 1, 2000))
    assert asked(node.says()) == [A]
