"""One node with others: they find each other, lose frames, repair, restart, twin, watch and leave.

Two engines talk through lists of frames on a clock that the test moves. What a whole cluster does over bad
links is the simulation's matter; here each behaviour of the engine stands alone.
"""

from __future__ import annotations

import random

import pytest

from bus.protocol import control, frame as wire
from bus.protocol.control import Account, Entry, Report
from bus.protocol.limits import Limits
from bus.signals import Down, Duplicate, Gap, Restarted, Resync, Up
from tests.protocol.kit import A, Node, beat, data, exchange, kinds, of_kind


def pair(now: float = 0.0) -> tuple[Node, Node]:
    """Two nodes, born together, that know each other."""
    one, other = Node("a", 1, now=now), Node("b", 2, now=now)
    meet(now, one, other)
    return one, other


def meet(now: float, one: Node, other: Node) -> None:
    """Time passes until each lists the other."""
    for step in range(4):
        exchange(one, other, now + step * 0.2)
        for node in (one, other):
            node.tick(now + (step + 1) * 0.2, since=now + step * 0.2)


# -- two nodes -------------------------------------------------------------------------------------


def test_two_nodes_find_each_other_and_hear_every_event_of_the_other_and_none_of_their_own() -> None:
    one, other = pair()
    assert one.sink.changes == [Up("b", 2)]
    assert other.sink.changes == [Up("a", 1)]
    assert one.outlet.listed_by == {2}
    one.publish(5)
    other.publish(3)
    exchange(one, other, 1.0)
    assert other.sink.numbers(1) == [1, 2, 3, 4, 5]
    assert one.sink.numbers(2) == [1, 2, 3]
    assert one.sink.numbers(1) == other.sink.numbers(2) == []


def test_what_comes_back_to_its_sender_is_proof_of_life_and_nothing_else() -> None:
    node = Node()
    node.publish()
    for frame in node.says():
        assert not node.engine.receive(node.outlet, frame, 0.0)
        # Own frames are known by their epoch, before anything is verified.
        assert not node.engine.receive(node.outlet, frame[:-1] + b"\xff", 0.0)
    assert node.refused == {"own": 4}
    assert node.outlet.echoed
    assert (node.sink.stream, node.sink.changes, node.engine.peers) == ([], [], {})


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_is_repaired_in_order(seed: int) -> None:
    dice = random.Random(seed)
    one, other = pair()
    now = 1.0
    for _ in range(40):
        one.publish(dice.randrange(4), size=dice.randrange(200))
        other.publish(dice.randrange(4))
        exchange(one, other, now, lose=lambda frame: dice.random() < 0.3)
        one.tick(now + 0.2, since=now)
        other.tick(now + 0.2, since=now)
        now += 0.2
    for _ in range(12):
        exchange(one, other, now)
        one.tick(now + 0.25, since=now, step=0.05)
        other.tick(now + 0.25, since=now, step=0.05)
        now += 0.25
    for sender, receiver in ((one, other), (other, one)):
        last = sender.engine.log.last
        assert receiver.sink.numbers(sender.engine.epoch) == list(range(1, last + 1)), f"seed {seed}"
        peer = receiver.engine.peers[sender.engine.epoch]
        assert (peer.lost, peer.delivered) == (0, last), f"seed {seed}"
        assert peer.repaired > 0
        assert receiver.hold.used == 0


def test_the_lost_end_of_a_burst_is_found_by_the_next_heartbeat() -> None:
    one, other = pair()
    one.publish(3)
    exchange(one, other, 1.0, lose=lambda frame: True)
    one.tick(2.0, since=0.8)
    exchange(one, other, 2.0)
    assert other.sink.numbers(1) == [1, 2, 3]
    assert other.engine.peers[1].repaired == 3


def test_nothing_is_said_on_a_link_that_is_down() -> None:
    node = Node()
    node.engine.down(node.outlet)
    node.publish()
    assert node.says() == []


def test_time_that_goes_back_changes_nothing() -> None:
    node = Node(now=10.0)
    node.hear(beat(A, 1), now=10.0)
    node.engine.tick(9.0)
    assert node.engine.peers[A].silent == 0.0
    node.engine.tick(9.4)
    assert node.engine.peers[A].silent == pytest.approx(0.4)


def test_the_latency_is_the_trip_without_what_the_peer_kept_it_and_without_its_clock() -> None:
    node = Node()
    node.says(1.0)
    skew = 1 << 40
    # Our heartbeat of 1.0 s was heard 30 ms later, and answered 500 ms after that; 40 ms back.
    entry = Entry(2, 0, 0, heard_us=skew + 1_030_000, sent_us=1_000_000)
    node.hear(beat(A, 1, sent_us=skew + 1_530_000, entries=[entry]), now=1.570)
    assert node.engine.peers[A].latency == pytest.approx(0.035)
    # A clock that was set back meanwhile says nothing.
    node.hear(beat(A, 2, sent_us=skew + 9_000_000, entries=[entry]), now=1.6)
    assert node.engine.peers[A].latency == pytest.approx(0.035)


def test_who_lists_us_says_how_far_it_has_heard_us() -> None:
    node = Node()
    node.publish(9)
    node.says(1.0)
    for counter, position in ((1, 5), (2, 9), (3, 7)):
        entries = [Entry(99, 1, 0, 0, 0), Entry(2, position, 3, 0, sent_us=counter)]
        node.hear(beat(A, counter, entries=entries))
    peer = node.engine.peers[A]
    assert (peer.lists_us, peer.position, peer.lost_of_us) == (True, 9, 3)
    assert node.outlet.listed


def test_to_be_listed_for_what_was_heard_before_proves_nothing() -> None:
    """A peer goes on listing us for a while when it has become deaf, or when the link was rebuilt."""
    node = Node()
    node.says(1.0)
    node.hear(beat(A, 1, entries=[Entry(2, 0, 0, 0, sent_us=5)]))
    assert (node.outlet.listed, node.outlet.listed_by, node.outlet.hello) == (True, {A}, False)
    node.outlet.listed = False
    node.hear(beat(A, 2, entries=[Entry(2, 0, 0, 0, sent_us=5)]))
    assert (node.outlet.listed, node.outlet.listed_by) == (False, {A})
    node.says(7.0)
    node.engine.down(node.outlet)
    node.engine.up(node.outlet)
    node.hear(beat(A, 3, entries=[Entry(2, 0, 0, 0, sent_us=6)]))
    assert (node.outlet.listed, node.outlet.listed_by, node.outlet.hello) == (False, set(), True)


@pytest.mark.parametrize("untrue", [Entry(2, 0, 0, 0, 2_000_000), Entry(2, 4, 0, 0, 1_000_000)])
def test_what_we_never_said_or_published_nobody_has_heard(untrue: Entry) -> None:
    """It would stand above all that is true: no heartbeat of ours could prove the link any more."""
    node = Node()
    node.publish(3)
    node.says(1.0)
    node.hear(beat(A, 1, entries=[untrue]))
    peer = node.engine.peers[A]
    assert (node.outlet.listed, node.outlet.listed_by) == (False, set())
    assert (peer.lists_us, peer.position) == (False, 0)
    node.hear(beat(A, 2, entries=[Entry(2, 3, 0, 0, 1_000_000)]))
    assert (node.outlet.listed, node.outlet.listed_by) == (True, {A})
    assert (peer.lists_us, peer.position) == (True, 3)


# -- restarts and twins (rules 6, 13) --------------------------------------------------------------


def test_the_end_of_the_old_log_is_told_before_the_first_event_of_the_new_one() -> None:
    node = Node(now=0.0)
    node.hear(beat(A, 1), data(A, 1, 2, 500), data(A, 5, 5, 501))
    node.hear(beat(A + 1, 1, last=2), data(A + 1, 1, 2))
    assert node.sink.stream == [(A, 1), (A, 2), Resync("a", A, 2, "restarted"), (A + 1, 1), (A + 1, 2)]
    assert node.sink.changes == [Up("a", A), Restarted("a", A, A + 1)]
    assert node.hold.used == 0
    # The silence of the old one is nothing new, and nobody is Down who runs under another epoch.
    for second in range(40):
        node.hear(beat(A + 1, 2 + second, last=2), now=float(second))
        node.tick(second + 1.0, since=second)
    assert len(node.sink.losses) == 1
    assert len(node.sink.changes) == 2


def test_who_said_goodbye_and_comes_again_is_up() -> None:
    node = Node()
    node.hear(beat(A, 1), beat(A, 2, flags=wire.BYE), beat(A + 1, 1))
    assert node.sink.changes == [Up("a", A), Down("a", A), Up("a", A + 1)]
    assert node.sink.losses == []


def test_a_late_goodbye_does_not_take_the_name_from_the_successor() -> None:
    node = Node()
    node.hear(beat(A, 1), beat(A + 1, 1), beat(A, 2, flags=wire.BYE), beat(A, 3, flags=wire.BYE))
    assert node.sink.changes == [Up("a", A), Restarted("a", A, A + 1)]


def test_every_older_epoch_of_a_name_is_told_when_a_new_one_comes() -> None:
    node = Node()
    node.hear(beat(A, 1), beat(A + 1, 1), beat(A, 2), beat(A + 2, 1))
    assert [loss.epoch for loss in node.sink.losses if isinstance(loss, Resync)] == [A, A, A + 1]


def test_a_forgotten_epoch_has_no_end_to_be_told() -> None:
    node = Node(limits=Limits(epochs=1))
    node.hear(beat(A, 1), beat(A + 1, 1))
    assert node.sink.losses == [Resync("a", A, 0, "forgotten")]
    assert node.sink.changes == [Up("a", A), Up("a", A + 1)]


def test_two_processes_under_one_name_are_told_on_all_sides_and_both_are_heard() -> None:
    twins = [Node("a", 1), Node("a", 2)]
    witness = Node("w", 3)
    for second in range(20):
        for speaker in twins:
            speaker.publish()
            for frame in speaker.says(float(second)):
                for listener in (*twins, witness):
                    listener.hear(frame, now=float(second))
        for node in (*twins, witness):
            node.tick(second + 1.0, since=second)
    for node in (*twins, witness):
        assert Duplicate("a", (1, 2)) in node.sink.changes
        # Told again while they go on, but not with every heartbeat.
        assert sum(isinstance(change, Duplicate) for change in node.sink.changes) <= 3
    for epoch in (1, 2):
        assert witness.sink.delivered(epoch) == list(range(1, 21))


# -- bounded memory of epochs ----------------------------------------------------------------------


def test_an_ended_epoch_is_forgotten_first_then_one_that_was_told_then_the_most_silent() -> None:
    node = Node(limits=Limits(epochs=3))
    node.hear(beat(1, 1, name="silent"))
    node.tick(5.0)
    node.hear(beat(12, 1, name="live"), beat(13, 1, name="ended"), now=5.0)
    node.hear(beat(13, 2, name="ended", flags=wire.BYE), now=5.0)
    node.hear(beat(14, 1, name="new"), now=5.0)
    assert set(node.engine.peers) == {1, 12, 14}
    assert node.sink.losses == []
    node.hear(beat(15, 1, name="newer"), now=5.0)
    assert set(node.engine.peers) == {12, 14, 15}
    assert node.sink.losses == [Resync("silent", 1, 0, "forgotten")]
    node.hear(beat(16, 1, name="live"), now=5.0)  # 12 restarts: told, and so the next to go
    node.hear(beat(17, 1, name="newest"), now=5.0)
    assert set(node.engine.peers) == {15, 16, 17}


# -- observers, versions ---------------------------------------------------------------------------


def test_an_observer_is_no_peer_but_proves_that_we_are_heard() -> None:
    node = Node()
    node.says()
    node.hear(beat(A, 1, flags=wire.OBSERVER | wire.HELLO, entries=[Entry(2, 0, 0, 0, 1)]))
    assert node.outlet.listed
    assert not node.outlet.heard
    assert (node.engine.peers, node.sink.changes) == ({}, [])


def test_an_observer_hears_everything_and_asks_for_nothing() -> None:
    watcher, node = Node("w", 3, observer=True), Node("a", 1)
    node.says()
    node.publish(2)
    node.says()
    node.publish()
    node.tick(1.0)
    exchange(node, watcher, 1.0)
    assert watcher.sink.numbers(1) == []
    # What nobody repeats is given up like everywhere, or `bus watch` would stand still.
    for second in range(2, 16):
        watcher.tick(float(second), since=second - 1.0)
        frames = watcher.says(float(second))
        assert [wire.parse(frame).flags & wire.OBSERVER for frame in frames] == [wire.OBSERVER]
        node.tick(float(second), since=second - 1.0)
        watcher.hear(*node.says(float(second)), now=float(second))
    assert watcher.sink.stream == [Gap("a", 1, ((1, 2),), "timeout"), (1, 3)]


@pytest.mark.parametrize("versions", [(2, 3), (0, 0), (2, 9)])
def test_a_peer_that_speaks_no_version_of_ours_is_one_resync(versions: tuple[int, int]) -> None:
    node = Node()
    for counter in range(1, 4):
        node.hear(beat(A, counter, versions=versions))
    assert node.refused == {"version": 3}
    assert node.sink.losses == [Resync("a", A, None, "version")]
    assert node.engine.peers == {}


def test_a_peer_that_speaks_ours_among_others_is_a_peer() -> None:
    node = Node()
    node.hear(beat(A, 1, versions=(1, 7)))
    assert node.sink.changes == [Up("a", A)]


# -- reports ---------------------------------------------------------------------------------------


def test_a_report_says_what_became_of_our_events_there() -> None:
    one, other = pair()
    one.publish(4)
    exchange(one, other, 1.0)
    one.engine.ledger.ask(2)
    exchange(one, other, 1.0)
    assert one.engine.peers[2].account_of_us == Account(1, 1, 4, 4, 0, 0, 0, [])
    one.engine.ledger.ask(77)
    assert not one.outlet.control


def report(body: Report, epoch: int = A) -> bytes:
    return wire.pack(wire.REPORT, 0, epoch, 1, control.encode(body))


def answers(node: Node) -> list[Report]:
    return [control.read_report(frame) for frame in of_kind(wire.REPORT, node.says())]


def test_a_report_of_everything_names_every_peer() -> None:
    node = Node()
    node.hear(*(beat(A + n, 1, name=str(n)) for n in range(3)))
    node.hear(report(Report(ask=0)), report(Report(ask=2)), report(Report(ask=2), epoch=99))
    assert [[one.epoch for one in answer.accounts] for answer in answers(node)] == [
        [A, A + 1, A + 2], [A], [],
    ]  # fmt: skip
    node.hear(report(Report(ask=77)), report(Report()))
    assert answers(node) == []


def test_a_flood_of_questions_does_not_pile_up_answers() -> None:
    node = Node()
    node.hear(*[report(Report(ask=0))] * 1_000)
    assert len(node.outlet.control) == 64


def test_accounts_of_others_and_from_strangers_are_not_kept() -> None:
    node = Node()
    node.hear(beat(A, 1))
    ours, theirs = Account(2, 1, 1, 1, 0, 0, 0, []), Account(9, 1, 1, 1, 0, 0, 0, [])
    node.hear(report(Report(accounts=[theirs])), report(Report(accounts=[ours]), epoch=99))
    assert node.engine.peers[A].account_of_us is None
    node.hear(report(Report(accounts=[theirs, ours])))
    assert node.engine.peers[A].account_of_us == ours


# -- goodbye (rule 7) ------------------------------------------------------------------------------


def test_goodbye_is_said_twice_after_the_last_event_on_each_link_that_is_up() -> None:
    node = Node()
    node.says()
    away = node.link()
    node.engine.down(away)
    node.publish(2)
    node.engine.say_bye()
    frames = node.says()
    assert kinds(frames) == [wire.DATA, wire.HEARTBEAT, wire.HEARTBEAT]
    assert all(wire.parse(frame).flags & wire.BYE for frame in frames[1:])
    node.engine.up(away)
    assert not any(wire.parse(frame).flags & wire.BYE for frame in node.says(on=away))
    other = Node("o", 3)
    other.hear(frames[1], frames[0], frames[2])
    assert other.sink.numbers(2) == [1, 2]
    assert other.sink.changes == [Up("b", 2), Down("b", 2)]


def test_who_meets_a_node_that_is_leaving_gets_its_log_or_a_gap() -> None:
    node = Node()
    node.hear(beat(A, 7, last=3, held=2, flags=wire.BYE))
    assert node.sink.losses == [Gap("a", A, ((1, 1),), "gone")]
    node.tick(1.2)
    assert node.sink.losses[1:] == [Gap("a", A, ((2, 3),), "ended")]
    assert node.sink.changes == [Up("a", A), Down("a", A)]
