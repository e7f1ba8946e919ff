"""The ledger on request: one account for a sender that confirms, everything for an observer that asks all."""

from __future__ import annotations

from bus.protocol import control, frame as wire
from bus.protocol.control import About, Heard, Report
from bus.protocol.ledger import MOST, PER_FRAME
from bus.protocol.outlet import Sizes
from tests.protocol.kit import A, Node, beat, data, of_kind


def ask(of: int = 99) -> bytes:
    return wire.pack(wire.REPORT, 0, of, 1, control.encode(Report(ask=0)))


def answers(node: Node, now: float = 0.0) -> list[Report]:
    return [control.read_report(frame) for frame in of_kind(wire.REPORT, node.says(now))]


def test_who_asks_everybody_is_told_how_each_peer_is_heard_and_what_the_node_says_of_itself() -> None:
    node = Node()
    node.engine.ledger.about = lambda: About(state="READY", problems=["none"])
    node.hear(beat(A, 1), beat(A + 1, 1, name="c", flags=wire.BYE), now=1.0)
    node.tick(3.0, 1.0)
    node.engine.peers[A].latency = 0.0015
    node.hear(data(A, 1, 2, 2000), ask(), now=3.0)
    (answer,) = answers(node)
    assert answer.about == About(state="READY", problems=["none"])
    assert [one.epoch for one in answer.accounts] == [A, A + 1]
    mine, left = answer.heard
    assert mine == Heard(A, "a", 0, 1500, False)
    assert (left.name, left.latency_us, left.is_over) == ("c", None, True)
    assert left.silent_us > 0


def test_an_answer_about_many_peers_comes_in_parts_that_every_link_carries_the_live_ones_first() -> None:
    node = Node()
    node.hear(*(beat(100 + n, 1, name=f"{n}" * 20, flags=wire.BYE if n < 100 else 0) for n in range(300)))
    node.hear(ask())
    frames = of_kind(wire.REPORT, node.says())
    assert max(map(len, frames)) < 60_000
    reports = [control.read_report(frame) for frame in frames]
    assert [len(one.accounts) for one in reports] == [PER_FRAME] * (MOST // PER_FRAME)
    assert [one.about is not None for one in reports] == [True, False, False, False]
    assert all(not one.is_over for one in reports[0].heard)


def test_a_server_that_carries_little_gets_answers_that_it_takes() -> None:
    node = Node(sizes=Sizes(max_message=2_000))
    node.engine.ledger.about = lambda: About(state="READY")
    node.hear(*(beat(100 + n, 1, name="n" * 128) for n in range(9)))
    for peer in node.engine.peers.values():
        peer.gaps = [(1 << 62, 1 << 62)] * 16
    node.hear(ask())
    frames = of_kind(wire.REPORT, node.says())
    assert max(map(len, frames)) <= 2_000
    reports = [control.read_report(frame) for frame in frames]
    assert reports[0].about == About(state="READY")
    assert sum(len(one.accounts) for one in reports) == 9


def test_an_answer_that_no_frame_of_the_link_holds_is_left_out() -> None:
    node = Node(sizes=Sizes(max_message=600))
    node.engine.ledger.about = lambda: About(problems=["x" * 600])
    node.hear(beat(A, 1), ask())
    assert [one.about for one in answers(node)] == [None]


def test_a_question_that_waits_is_not_asked_twice() -> None:
    node = Node()
    node.hear(beat(A, 1), beat(A + 1, 1, name="c"))
    for _ in range(100):
        node.engine.ledger.ask(A)
        node.engine.ledger.ask(A + 1)
    assert [one.ask for one in answers(node)] == [A, A + 1]
    node.engine.ledger.ask(A)
    assert [one.ask for one in answers(node, 1.0)] == [A]


def test_a_node_that_knows_nobody_answers_as_well() -> None:
    node = Node()
    node.hear(ask())
    assert answers(node) == [Report(about=About())]


def test_an_observer_sees_the_answers_of_all_also_of_who_is_no_peer() -> None:
    node = Node(observer=True)
    seen: list[tuple[int, float]] = []
    node.engine.ledger.on_report = lambda epoch, report, now: seen.append((epoch, now))
    node.engine.ledger.ask_all(node.outlet)
    (question,) = answers(node, 1.0)
    assert question.ask == 0
    node.hear(wire.pack(wire.REPORT, 0, A, 7, control.encode(Report(about=About()))), ask(A), now=2.0)
    assert seen == [(A, 2.0)]
