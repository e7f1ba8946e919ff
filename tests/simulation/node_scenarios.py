"""Directed scenarios for the rules of nodes and links (9-16): each is a function of the core to drive.

They pass with the true core, and raise with the rule taken out.
"""

from __future__ import annotations

from bus.protocol import control, frame as wire
from bus.protocol.inbox import DropPolicy
from bus.protocol.outlet import Sizes
from bus.signals import Down, Duplicate, Gap, Overflow, Resync, Up
from bus.testing.network import Core, SimNetwork
from tests.simulation.kit import every, reasons, states, told

# -- rule 9: heartbeat ----------------------------------------------------------------------------


def a_hundred_nodes_with_long_names_know_each_other(core: Core) -> None:
    names = [f"{number:03d}".ljust(control.MAX_NAME, "n") for number in range(100)]
    net = SimNetwork(core=core, nodes=names, tick=0.2, proof="peers")
    net.run(1)
    for node in net.nodes.values():
        assert len(node.engine.peers) == 99
        for peer in node.engine.peers.values():
            # Large numbers take more room: eight of these do not fit.
            peer.lost = 1 << 40
    net.run(3)
    for node in net.nodes.values():
        assert states(node) == ["READY"]
        # An answer to each HELLO of a hundred would be a hundred of them.
        assert node.sent["heartbeat"] < 25


def a_newcomer_is_answered_at_once(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="peers", tick=0.02)
    net.run(5.3)
    newcomer = net.add("d")
    net.run(0.25)
    assert states(newcomer) == ["READY"]
    assert len(newcomer.engine.peers) == 3


def hello_is_said_until_somebody_lists_us(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="peers")
    net.run(2)
    before = net.sent
    net.run(10)
    # Once a second each; an answered HELLO would make it ten times as much.
    assert net.sent - before <= 33


def an_idle_node_among_busy_ones_is_listed(core: Core) -> None:
    net = SimNetwork(core=core, nodes=[f"busy{n}" for n in range(14)] + ["idle"], proof="peers", tick=0.1)
    for node in net.nodes.values():
        if node.name != "idle":
            every(node, 0.5, "busy", until=25)
    idle = net.node("idle")
    net.run(4)
    for _ in range(40):
        net.run(0.5)
        assert states(idle) == ["READY"], f"at {net.now}"


def to_be_listed_proves_that_link_and_no_other(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="peers", links=[(0.002, 0.002), (0.002, 0.002)])
    a = net.node("a")
    net.run(5)
    assert states(a) == ["READY", "READY"]
    net.cut("a", "b", link=1)
    net.run(5.5)
    assert states(a) == ["READY", "DEGRADED"]


def a_slow_link_is_proven_beside_a_fast_one(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="peers", links=[(0.002, 0.002), (1.3, 1.3)])
    net.run(8)
    for _ in range(20):
        net.run(0.3)
        assert states(net.node("a")) == ["READY", "READY"]


def the_round_trip_is_measured_without_a_common_clock(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, links=[(0.040, 0.040)])
    a, b = net.node("a"), net.node("b")
    net.run(6)
    latency = a.engine.peers[b.epoch].latency
    assert latency is not None
    assert abs(latency - 0.040) < 0.001


def a_peer_says_how_far_it_has_heard_us(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(1)
    a.publish(1, 2, 3)
    net.run(1.5)
    assert a.engine.peers[b.epoch].position == 3


# -- rule 10: proof of life -----------------------------------------------------------------------


def a_link_whose_echo_stays_away_is_degraded_then_rebuilt(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="echo")
    a = net.node("a")
    net.run(5)
    assert states(a) == ["READY"]
    net.cut("a", "a")
    net.run(4.2)
    assert states(a) == ["DEGRADED"]
    net.run(3.5)
    assert a.links[0].connections == 2
    net.heal("a", "a")
    net.run(4)
    assert states(a) == ["READY"]


def whom_nobody_lists_is_not_ready(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="server")
    a = net.node("a")
    net.run(5)
    net.cut("a", "b")
    net.cut("a", "c")
    net.run(4.5)
    assert states(a) == ["DEGRADED"], "deaf outwards, whatever the server answers"
    net.run(4)
    assert a.links[0].connections == 2


def who_is_alone_is_ready_after_one_rebuild(core: Core) -> None:
    net = SimNetwork(core=core, nodes=1, proof="peers")
    a = net.node("a")
    net.run(1)
    assert states(a) == ["CONNECTING"]
    net.run(9)
    assert states(a) == ["READY"]
    assert a.links[0].connections == 2
    net.run(60)
    assert a.links[0].connections == 2


# -- rule 11: loss values in a bounded inbox ------------------------------------------------------


def overflown(core: Core, drop: DropPolicy) -> list[object]:
    """What a slow reader with room for four takes out after 6 events, a Gap of two, and 6 events."""
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(1)
    subscriber = b.subscribe(capacity=4, drop=drop)
    a.publish(1, 2, 3)
    a.publish(4, 5, 6)
    net.run(0.01)
    net.cut("a", "b")
    a.publish(7, 8)
    net.heal()
    net.run(0.002)
    a.close(linger=0.0)
    net.run(2)
    a.restart()
    net.run(1)
    for number in range(9, 15):
        a.publish(number)
        net.run(0.01)
    items = subscriber.drain()
    return [item.count if isinstance(item, Gap | Overflow) else getattr(item, "body", None) for item in items]


def the_oldest_go_and_are_counted_at_the_head(core: Core) -> None:
    assert overflown(core, "oldest") == [8, 2, 11, 12, 13, 14]


def the_newest_go_and_are_counted_where_they_would_have_been(core: Core) -> None:
    assert overflown(core, "newest") == [1, 2, 3, 4, 8, 2]


def a_closed_inbox_ends_with_what_it_missed(core: Core) -> None:
    assert overflown(core, "close") == [1, 2, 3, 4, 2]


# -- rule 12: what cannot be read -----------------------------------------------------------------


def a_frame_with_any_bit_flipped_is_as_if_never_received(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(1)
    a.publish(1)
    net.run(1)
    frame = wire.pack_events(a.epoch, 2, a.engine.log.newest_us, [b"\x02"])
    for bit in range(len(frame) * 8):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        net.inject("b", bytes(damaged))
    for size in range(len(frame)):
        net.inject("b", frame[:size])
    assert b.engine.peers[a.epoch].target == 1
    a.publish(2)
    net.settle()
    assert not b.losses()


def a_frame_that_does_not_hold_what_its_header_says_is_refused(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(1)
    body = b"\xdd\x00\x00\x00\x01\x02"
    net.inject("b", wire.pack(wire.DATA, 0, a.epoch, a.engine.log.newest_us, body, 1, 2))
    assert b.engine.refused["count"] == 1
    net.settle()


def deep_nesting_in_a_heartbeat_is_refused(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(1)
    body = b"\x81\xa1z" + b"\x91" * 100_000 + b"\x00"
    net.inject("b", wire.pack(wire.HEARTBEAT, 0, a.epoch, a.engine.log.newest_us, body))
    assert b.engine.refused["body"] == 1
    net.settle()


# -- rule 13: names -------------------------------------------------------------------------------


def twins_are_told_on_all_sides(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    net.add("twin", alias="a")
    every(net.node("a"), 0.3, "first", until=12)
    every(net.node("twin"), 0.3, "second", until=12)
    net.run(12)
    net.settle()
    for node in net.nodes.values():
        assert told(node, Duplicate), f"{node.name} was not told"
    b = net.node("b")
    assert sum(isinstance(loss, Resync) for loss in b.losses()) <= 1
    assert not any(isinstance(loss, Gap) for loss in b.losses()), "neither filters the other"


def eight_restarts_are_no_duplicate(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    for _ in range(8):
        net.run(5)
        a.publish("x")
        a.crash()
        a.restart()
    net.settle()
    assert reasons(b) == ["restarted"] * 8


def late_frames_of_the_dead_are_no_duplicate(core: Core) -> None:
    net = SimNetwork(core=core, nodes=4, links=[(0.001, 0.001), (1.4, 1.5)], proof="peers")
    for name in "ab":
        every(net.node(name), 0.2, "x", until=8)
    net.run(4)
    for name in "ab":
        net.node(name).crash()
        net.node(name).restart()
    net.run(4)
    net.settle()
    assert not any(told(node, Duplicate) for node in net.nodes.values())


def a_late_goodbye_does_not_take_the_name_back(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, links=[(0.001, 0.001), (0.4, 0.4)])
    a, b = net.node("a"), net.node("b")
    net.run(3)
    net.cut("a", "b", link=0)
    a.close(linger=0.0)
    net.run(0.01)
    net.heal()
    a.restart()
    net.run(3)
    assert not told(b, Down)
    net.settle()


def the_goodbye_of_who_is_down_is_no_rise(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.partition("a", "b")
    net.run(15)
    net.heal()
    a.close()
    net.run(1)
    assert [type(change) for change in b.changes] == [Up, Down]


def an_echo_is_no_peer(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="echo")
    for node in net.nodes.values():
        node.publish(1, 2, 3)
    net.run(3)
    net.settle()
    assert net.node("a").engine.refused["own"] > 0


# -- rule 14: old news ----------------------------------------------------------------------------


def what_the_broker_got_long_before_our_echo_is_stale(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    b = net.node("b")
    net.run(2)
    own = wire.pack(wire.HEARTBEAT, 0, b.epoch, 1, b"")
    net.inject("b", own, stamp=1_000.0)
    net.forge("a", "b", first=1, stamp=969.0)
    assert b.engine.refused["stale"] == 1
    assert not b.received
    net.forge("a", "b", first=1, stamp=971.0)
    assert len(b.received) == 1


# -- rules 15 and 16: versions, and what is too large ---------------------------------------------


def a_peer_without_a_common_version_is_told_once(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    b = net.node("b")
    net.run(1)
    beat = control.Heartbeat(name="future", counter=1, uptime_us=0, min_version=2, max_version=3)
    for _ in range(3):
        net.inject("b", wire.pack(wire.HEARTBEAT, 0, 77, 1, control.encode(beat)))
    assert reasons(b) == ["version"]
    assert told(b, Up) == [Up("a", net.node("a").epoch)]


def an_event_over_the_links_own_limit_is_a_gap(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, sizes=Sizes(frame=1_024, max_frame=1_024, max_message=1_500))
    a, b = net.node("a"), net.node("b")
    net.run(1)
    a.publish(1, "x" * 2_000, 3)
    net.settle()
    assert [type(item) for item in b.received] == [type(b.received[0]), Gap, type(b.received[0])]
    assert reasons(b) == ["too_large_for_link"]


def an_event_that_kills_its_link_twice_is_a_gap(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, confirm=0.5)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.cut("a", "b")
    a.publish("x" * 100_000)
    for _ in range(2):
        net.run(0.1)
        a.unplug()
        net.run(0.1)
        a.plug()
        net.run(0.5)
    net.heal()
    net.settle()
    assert reasons(b) == ["too_large_for_link"]
