"""What a receiver makes of one log, rule by rule, each in its plainest case.

Rule 1 the baseline, 2 in step or hole, 4 giving up, 5 attended time, 6 down and told, 7 goodbye, 8 jumps.
All orders of everything are in test_reassembly.py; asking and repeating (rule 3) in test_repair.py.
"""

from __future__ import annotations

import pytest

from bus.protocol import control, frame as wire
from bus.signals import Down, Gap, Resync, Up
from tests.protocol.kit import A, Node, asks, beat, data, held_frames, known
from tests.protocol.victim import body, readable

# -- peer and baseline (rule 1) --------------------------------------------------------------------


@pytest.mark.parametrize(("uptime", "first"), [(0.0, 1), (4.9, 1), (5.0, 1), (5.1, 8), (1e9, 8)], ids=str)
def test_a_younger_log_is_ours_from_its_start_and_an_older_one_from_here_on(
    uptime: float, first: int
) -> None:
    node = Node(now=100.0)
    node.hear(beat(A, 1, uptime_us=int(uptime * 1e6), last=7), now=105.0)
    peer = node.engine.peers[A]
    assert (peer.baseline, peer.next, peer.in_hole) == (first, first, first == 1)
    assert node.sink.changes == [Up("a", A)]


def test_data_before_the_first_heartbeat_is_nobodys_and_repair_fetches_it() -> None:
    node = Node()
    node.hear(data(A, 1, 3))
    assert node.refused == {"unknown": 1}
    node.hear(beat(A, 1, last=3))
    assert node.engine.peers[A].holes() == [(1, 3)]


# -- in step or hole (rule 2) ----------------------------------------------------------------------


def test_overlaps_are_cut_by_the_header_and_counted() -> None:
    node = known(5)
    node.hear(data(A, 1, 5), data(A, 3, 7), data(A, 6, 7), data(A, 6, 9))
    assert node.sink.numbers(A) == list(range(1, 10))
    peer = node.engine.peers[A]
    assert (peer.delivered, peer.duplicates, peer.repaired) == (9, 5 + 3 + 2 + 2, 0)


def test_what_is_ahead_waits_and_comes_in_order() -> None:
    node = known()
    node.hear(data(A, 7, 8), data(A, 4, 5), data(A, 4, 5), data(A, 3, 3))
    assert node.engine.peers[A].holes() == [(1, 2), (6, 6)]
    assert node.sink.stream == []
    node.hear(data(A, 1, 2, repeat=True))
    assert node.sink.numbers(A) == [1, 2, 3, 4, 5]
    node.hear(data(A, 6, 6, repeat=True))
    assert node.sink.numbers(A) == list(range(1, 9))
    peer = node.engine.peers[A]
    assert (peer.duplicates, peer.repaired, node.hold.used) == (2, 3, 0)


def test_of_two_frames_from_one_number_on_the_longer_one_is_held() -> None:
    node = known()
    node.hear(data(A, 3, 4), data(A, 3, 6), data(A, 3, 5))
    assert held_frames(node, A) == [data(A, 3, 6)]
    assert node.hold.used == len(data(A, 3, 6))
    node.hear(data(A, 1, 2))
    assert node.sink.numbers(A) == [1, 2, 3, 4, 5, 6]
    assert node.engine.peers[A].duplicates == 5


def test_held_frames_may_overlap_or_be_covered_by_others() -> None:
    node = known()
    node.hear(data(A, 3, 8), data(A, 4, 5), data(A, 7, 10))
    assert node.engine.peers[A].holes() == [(1, 2)]
    node.hear(data(A, 1, 2))
    assert node.sink.numbers(A) == list(range(1, 11))
    assert (node.engine.peers[A].duplicates, node.hold.used) == (4, 0)


def test_a_full_hold_drops_what_comes_and_repair_brings_it_again() -> None:
    size = len(data(A, 10, 10))
    node = known(hold_bytes=3 * size)
    node.hear(*(data(A, seq, seq) for seq in range(10, 20)))
    assert len(held_frames(node, A)) == 3
    assert node.engine.peers[A].holes() == [(1, 9), (13, 19)]
    node.hear(data(A, 1, 9), data(A, 13, 19, repeat=True))
    assert node.sink.numbers(A) == list(range(1, 20))


# -- giving up (rule 4) ----------------------------------------------------------------------------


def test_what_the_sender_no_longer_holds_is_gone_and_the_rest_comes_in_order() -> None:
    node = known()
    node.hear(data(A, 3, 4), data(A, 8, 9))
    node.hear(beat(A, 2, sent_us=5, last=9, held=7))
    assert node.sink.stream == [
        Gap("a", A, ((1, 2),), "gone"), (A, 3), (A, 4), Gap("a", A, ((5, 6),), "gone"),
    ]  # fmt: skip
    assert node.engine.peers[A].holes() == [(7, 7)]
    node.hear(data(A, 7, 7, repeat=True))
    assert node.sink.numbers(A) == list(range(1, 10))
    peer = node.engine.peers[A]
    assert (peer.lost, peer.gaps) == (4, [(1, 2), (5, 6)])


def test_all_is_gone_when_the_sender_holds_nothing_any_more() -> None:
    node = known(2)
    node.hear(beat(A, 3, last=7, held=8, sent=2))
    assert node.sink.losses == [Gap("a", A, ((3, 7),), "gone")]


def keep_alive(node: Node, until: float, since: float = 0.0, last: int = 0) -> None:
    """Its heartbeats go on coming, and the node goes on asking, and nothing else comes."""
    for step in range(round((until - since) / 0.25)):
        now = since + (step + 1) * 0.25
        node.engine.tick(now)
        node.hear(beat(A, int(now * 100), last=last, sent=0), now=now)
        node.says(now)


def test_who_hears_a_sender_that_does_not_answer_gets_a_gap_after_ten_seconds() -> None:
    node = known()
    node.hear(beat(A, 2, last=9, sent=0), data(A, 6, 7, 2500), data(A, 3, 4, 2500))
    keep_alive(node, 9.5, last=9)
    assert node.sink.stream == []
    keep_alive(node, 10.5, 9.5, last=9)
    # Only up to what is held: the clock for the next hole begins with that progress.
    assert node.sink.stream == [Gap("a", A, ((1, 2),), "timeout"), (A, 3), (A, 4)]
    keep_alive(node, 21.0, 10.5, last=9)
    assert node.sink.numbers(A) == [1, 2, 3, 4, 5, 6, 7]


def test_a_gap_never_reaches_above_what_the_sender_announced() -> None:
    node = known(2)
    node.hear(data(A, 9, 9, 1 << 40))
    keep_alive(node, 40.0, last=4)
    assert [item for item in node.sink.losses if isinstance(item, Gap)] == [Gap("a", A, ((3, 4),), "timeout")]
    assert node.engine.peers[A].next == 5


def test_who_freezes_gives_nobody_up_for_it() -> None:
    node = known()
    node.hear(beat(A, 2, last=3, sent=3))
    for hour in range(1, 10):
        node.engine.tick(3600.0 * hour)
        node.says(3600.0 * hour)
    # Nine ticks of half a second each, whatever the wall says.
    assert node.sink.losses == []
    assert node.engine.peers[A].silent == pytest.approx(4.5)


# -- down and told (rule 6), bye (rule 7) ----------------------------------------------------------


def test_silence_is_told_once_and_the_log_goes_on_in_place() -> None:
    node = known(2)
    node.hear(data(A, 5, 5))
    node.tick(9.9)
    assert node.sink.changes == [Up("a", A)]
    node.tick(29.9, since=9.9)
    assert node.sink.changes == [Up("a", A), Down("a", A)]
    assert node.sink.losses == []
    node.tick(90.0, since=29.9)
    assert node.sink.losses == [Resync("a", A, 2, "silent")]
    assert node.hold.used == 0
    node.hear(beat(A, 9, last=6), data(A, 3, 6, 9500), now=90.0)
    assert node.sink.numbers(A) == [1, 2, 3, 4, 5, 6]
    assert node.sink.changes[2:] == [Up("a", A)]
    assert len(node.sink.losses) == 1


def test_data_alone_brings_a_peer_up_again() -> None:
    node = known(2)
    node.tick(40.0)
    node.hear(data(A, 3, 3), now=40.0)
    assert node.sink.changes == [Up("a", A), Down("a", A), Up("a", A)]
    assert node.sink.numbers(A) == [1, 2, 3]


def test_silence_does_not_count_while_no_link_of_ours_is_ready() -> None:
    node = known(2)
    node.outlet.is_ready = False
    node.tick(90.0)
    assert (node.sink.losses, node.sink.changes) == ([], [Up("a", A)])
    node.outlet.is_ready = True
    node.tick(121.0, since=90.0)
    assert node.sink.losses == [Resync("a", A, 2, "silent")]


def test_after_a_goodbye_one_second_is_left_to_repair() -> None:
    node = known(2)
    node.hear(data(A, 5, 5), beat(A, 3, last=6, flags=wire.BYE))
    assert node.sink.changes == [Up("a", A), Down("a", A)]
    assert asks(node, 0.0) == [(3, 4), (6, 6)]
    node.hear(data(A, 3, 3, repeat=True))
    node.tick(1.2)
    assert node.sink.stream[2:] == [
        (A, 3), Gap("a", A, ((4, 4),), "ended"), (A, 5), Gap("a", A, ((6, 6),), "ended"),
    ]  # fmt: skip
    assert node.engine.peers[A].is_over
    node.tick(90.0, since=1.2)
    assert node.sink.changes == [Up("a", A), Down("a", A)]
    assert not [item for item in node.sink.losses if isinstance(item, Resync)]


def test_a_goodbye_that_misses_nothing_is_the_end_at_once() -> None:
    node = known(2)
    node.hear(beat(A, 3, last=2, flags=wire.BYE), beat(A, 4, last=2, flags=wire.BYE))
    assert node.engine.peers[A].is_over
    assert not node.engine.expects_peers
    node.tick(90.0)
    assert node.sink.losses == []
    assert node.sink.changes == [Up("a", A), Down("a", A)]


# -- jumps (rule 8) --------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [1 << 40, (1 << 63) - 10])
def test_a_jump_is_refuted_by_the_next_heartbeat(jump: int) -> None:
    node = known(2)
    node.hear(data(A, jump, jump + 3, 100))
    assert node.engine.peers[A].holes() == [(3, jump - 1)]
    node.hear(beat(A, 9, last=2))
    peer = node.engine.peers[A]
    assert (peer.holes(), peer.implausible, node.hold.used) == ([], 4, 0)
    node.hear(data(A, 3, 4))
    assert node.sink.numbers(A) == [1, 2, 3, 4]
    assert node.sink.losses == []


def test_numbers_that_were_delivered_and_cannot_be_true_are_a_resync() -> None:
    node = known(2)
    node.hear(data(A, 3, 9, 100), data(A, 20, 21, 101), data(A, 10, 10, 102))
    node.hear(beat(A, 9, last=5))
    assert node.sink.losses == [Resync("a", A, 5, "implausible")]
    node.hear(data(A, 6, 7, 10_000))
    assert node.sink.delivered(A) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 6, 7]
    assert node.engine.peers[A].implausible == 5 + 2


@pytest.mark.parametrize("false", [1 << 40, (1 << 63) - 1])
def test_an_untrue_heartbeat_is_taken_back_by_the_next_true_one(false: int) -> None:
    node = known(2)
    node.hear(beat(A, 3, last=false))
    assert node.engine.peers[A].holes() == [(3, false)]
    node.hear(beat(A, 4, last=3))
    assert node.engine.peers[A].holes() == [(3, 3)]
    node.hear(data(A, 3, 4, 4_001))
    assert node.sink.numbers(A) == [1, 2, 3, 4]
    assert node.sink.losses == []


def test_the_newest_heartbeat_rules_what_is_lost_also_when_data_is_newer_still() -> None:
    """Of two links the faster one brings data ahead of every heartbeat of the other."""
    node = known(2)
    node.hear(beat(A, 3, last=1 << 40, held=1), data(A, 3, 4, 9_000), data(A, 8, 8, 9_000))
    node.hear(beat(A, 5, last=6, sent=2), beat(A, 4, last=1 << 40))
    peer = node.engine.peers[A]
    assert (peer.last, peer.held) == (6, 1)
    keep_alive(node, 11.0, last=6)
    assert node.sink.losses == [Gap("a", A, ((5, 6),), "timeout")]


def test_losses_that_were_untrue_are_taken_back_and_our_heartbeats_stay_readable() -> None:
    node = known(2)
    half = 1 << 62
    for counter in range(3, 30, 2):
        node.hear(beat(A, counter, last=half, held=half), beat(A, counter + 1, last=2))
        node.hear(body(wire.REPORT, {"q": 0}))
        node.tick(counter + 1.0, since=counter - 1.0)
        readable(node.says(counter + 1.0))
    assert node.engine.peers[A].next == 3
    node.hear(data(A, 3, 4, 1 << 50))
    assert node.sink.delivered(A) == [1, 2, 3, 4]


def test_a_counter_that_is_untrue_takes_no_later_heartbeat_its_word() -> None:
    node = known(2)
    node.publish(3)
    node.says(0.001)
    node.hear(beat(A, (1 << 63) - 1, sent_us=3_000, last=2))
    node.hear(beat(A, 4, last=3, entries=[control.Entry(2, 3, 0, 0, 1_000)]))
    peer = node.engine.peers[A]
    assert (peer.last, peer.position, peer.lists_us) == (3, 3, True)


def test_an_older_heartbeat_refutes_nothing() -> None:
    node = known(2)
    node.hear(data(A, 3, 9, 5_000), beat(A, 3, sent_us=4_999, last=2))
    node.hear(data(A, 12, 12, 5_001), beat(A, 4, sent_us=4_998, last=2, held=2))
    assert node.sink.numbers(A) == list(range(1, 10))
    assert node.engine.peers[A].holes() == [(10, 11)]


def test_heartbeats_in_the_wrong_order_do_not_take_anything_back() -> None:
    node = known(2)
    node.hear(beat(A, 9, last=9, held=4), beat(A, 8, last=5, held=3), beat(A, 7))
    peer = node.engine.peers[A]
    assert (peer.last, peer.held, peer.beat_us) == (9, 4, 9_000)
    assert node.sink.losses == [Gap("a", A, ((3, 3),), "gone")]


# -- the ledger ------------------------------------------------------------------------------------


def test_the_account_says_what_became_of_every_number() -> None:
    node = known(5)
    node.hear(data(A, 9, 9), data(A, 2, 3), beat(A, 9, last=9, held=8), data(A, 8, 8, repeat=True))
    account = node.engine.peers[A].account()
    assert account == control.Account(A, 1, 9, 7, 1, 2, 2, [(6, 7)])


def test_the_account_keeps_the_sixteen_newest_gaps() -> None:
    node = known()
    for n in range(1, 31):
        node.hear(data(A, 2 * n, 2 * n), beat(A, n + 1, last=2 * n, held=2 * n))
    assert node.engine.peers[A].gaps == [(seq, seq) for seq in range(29, 60, 2)]
    assert node.engine.peers[A].lost == 30


def test_an_event_that_could_not_be_decoded_moves_from_delivered_to_lost() -> None:
    node = known(5)
    peer = node.engine.peers[A]
    peer.spoil(2, 3)
    assert (peer.delivered, peer.lost, peer.gaps) == (3, 2, [(2, 3)])
    assert peer.delivered + peer.lost == peer.next - peer.baseline
