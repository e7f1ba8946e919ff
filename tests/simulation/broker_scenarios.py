"""Directed scenarios for what brokers do: outages, confirms that prove nothing, old frames, other clocks.

Each is a function of the core to drive. They pass with the true core, and raise with the rule taken out.
"""

from __future__ import annotations

from bus.protocol import control, frame as wire
from bus.protocol.lifecycle import ProofKind
from bus.protocol.outlet import Sizes
from bus.signals import Down, Gap
from bus.testing.network import Core, SimNetwork, SimNode
from tests.simulation.kit import every, numbers, reasons, states, told

EVENT = "x" * 100


def steady(net: SimNetwork, rate: int, until: float) -> None:
    """Every node publishes so many events a second, fifty times a second."""

    def publish(node: SimNode) -> None:
        if net.now < until and not node.is_closing:
            node.publish(*[EVENT] * (rate // 50))
            net.after(0.02, lambda: publish(node))

    for node in net.nodes.values():
        publish(node)


def recovery(net: SimNetwork, limit: float, most: int = 100) -> float:
    """Seconds until no node is more than `most` events behind another one: those on their way."""
    pairs = [(node, peer) for node in net.nodes.values() for peer in net.nodes.values() if peer is not node]

    def behind() -> int:
        return max(peer.life.last + 1 - node.engine.peers[peer.epoch].next for node, peer in pairs)

    began = net.now
    assert net.run_until(lambda: behind() <= most, limit, step=0.05), f"{behind()} behind after {limit} s"
    return net.now - began


def unharmed(net: SimNetwork) -> None:
    """In the end nobody was told a loss, or that anybody was away."""
    net.settle()
    for node in net.nodes.values():
        assert not node.losses()
        assert not told(node, Down)


# -- outages (rules 2, 3, 5) ----------------------------------------------------------------------


def half_a_minute_without_a_broker(core: Core, proof: ProofKind, echo: bool) -> None:
    """Five nodes publish on, 15,000 events each, and come back at different moments."""
    net = SimNetwork(core=core, nodes=5, proof=proof, echo=echo, confirm=0.002)
    steady(net, 500, until=45)
    net.run(5)
    net.broker_down()
    net.run(30)
    net.broker_up()
    # The backoff of the last one takes up to two seconds.
    assert recovery(net, limit=4.0) < 4.0
    unharmed(net)


def half_a_minute_without_a_broker_that_echoes(core: Core) -> None:
    half_a_minute_without_a_broker(core, "echo", True)


def half_a_minute_without_a_broker_that_answers(core: Core) -> None:
    half_a_minute_without_a_broker(core, "server", False)


def half_a_minute_without_a_broker_that_answers_and_echoes(core: Core) -> None:
    half_a_minute_without_a_broker(core, "server", True)


def who_comes_back_seconds_after_the_others_is_not_judged(core: Core) -> None:
    net = SimNetwork(core=core, nodes=5, proof="server", confirm=0.002)
    steady(net, 100, until=40)
    net.run(5)
    net.broker_down()
    net.run(20)
    net.broker_up()
    net.node("e").unplug()
    net.run(7)
    net.node("e").plug()
    unharmed(net)


def a_cluster_that_a_failover_splits_for_a_while_loses_nothing(core: Core) -> None:
    # Half of the nodes still hang on the old master, which takes and confirms what they say.
    net = SimNetwork(core=core, nodes=4, proof="echo", confirm=0.002)
    steady(net, 50, until=30)
    net.run(3)
    for one in "ab":
        for other in "cd":
            net.partition(one, other)
    net.run(20)
    net.heal()
    assert recovery(net, limit=2.0) < 2.0
    net.settle()
    assert not any(node.losses() for node in net.nodes.values())


def the_backlog_of_one_who_was_away_is_repaired_without_pauses(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, confirm=0.01, sizes=Sizes(max_frame=65_536))
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.cut("a", "b")
    for _ in range(160):
        a.publish("x" * 60_000)
        net.run(0.05)
    net.heal()
    # Ten requests of 1 MiB, and the link carries 12 MB a second.
    assert recovery(net, limit=4.0, most=0) < 1.5
    net.settle()
    assert not b.losses()


# -- what a confirm says, and what not (rules 2, 10) ----------------------------------------------


def what_no_server_confirmed_is_sent_again_and_delivered_once(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="server", confirm=0.2)
    a, b, c = (net.node(name) for name in "abc")
    net.run(3)
    net.cut("a", "c")
    a.publish(1, 2, 3)
    # It came to b, but not to c, and the connection breaks before the server says so.
    net.run(0.1)
    a.unplug()
    net.heal()
    net.run(1)
    a.plug()
    net.settle()
    assert numbers(b, a) == numbers(c, a) == [1, 2, 3]
    assert b.engine.peers[a.epoch].duplicates == 3
    assert a.sent["repeat"] == 0, "nobody had to ask for it"


def what_the_server_confirmed_and_lost_is_repaired(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="server", confirm=0.001, links=[(0.05, 0.05)])
    a, b = net.node("a"), net.node("b")
    net.run(3)
    a.publish(1, 2, 3)
    net.run(0.01)
    assert a.links[0].outlet.confirmed == 3
    net.broker_down()
    net.run(1)
    net.broker_up()
    net.settle()
    assert numbers(b, a) == [1, 2, 3]
    assert b.engine.peers[a.epoch].repaired == 3


def a_far_server_carries_large_frames(core: Core) -> None:
    # Each confirm takes 0.3 s, of a heartbeat as well as of 64 KiB.
    net = SimNetwork(core=core, nodes=2, proof="server", confirm=0.3, links=[(0.15, 0.15)])
    a = net.node("a")
    steady(net, 500, until=30)
    net.run(5)
    a.unplug()
    net.run(10)
    a.plug()
    assert recovery(net, limit=10.0, most=500) < 10.0
    net.settle()
    assert all(node.links[0].outlet.limit >= 65_536 for node in net.nodes.values())


def a_busy_sender_makes_few_frames_for_a_near_server(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="server", confirm=0.0015)
    a = net.node("a")
    net.run(3)
    # An event each 0.4 ms for two seconds: 1,300 confirms one after the other, or two at a time.
    every(a, 0.0004, "busy", until=5)
    net.run(3)
    net.settle()
    assert a.sent["data"] < 2_000


def a_far_server_delays_nobody(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="server", confirm=0.3, links=[(0.01, 0.01)])
    a, b = net.node("a"), net.node("b")
    net.run(3)
    a.publish("one")
    net.run(0.005)
    a.publish("two")
    net.run(0.0125)
    assert numbers(b, a) == [1, 2], "no confirm has come yet"


def small_entries_are_sent_together(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="server", confirm=0.1)
    a, b = net.node("a"), net.node("b")
    net.run(3)
    net.broker_down()
    # What no link asks for becomes an entry each second.
    every(a, 0.5, "alone", until=63)
    net.run(62)
    net.broker_up()
    net.run(2.5)
    assert numbers(b, a) == list(range(1, a.life.last + 1)), "one by one they take 3 s"


# -- a server that confirms a frame, and cuts off all who hear it (rules 2, 16) --------------------


class Cutting(SimNetwork):
    """Its server closes every connection that a frame of more than so many bytes would go to."""

    def __init__(self, core: Core, longest: int) -> None:
        super().__init__(core=core, nodes=3, proof="echo", confirm=0.001)
        self.longest = longest
        self.cuts: list[float] = []

    def transmit(self, sender: SimNode, link: int, frame: bytes) -> None:
        if len(frame) <= self.longest:
            super().transmit(sender, link, frame)
        else:
            self.cuts.append(self.now)
            self.after(0.002, self.cut_off)

    def cut_off(self) -> None:
        for node in self.nodes.values():
            node.lose(0)


def who_cuts_off_the_hearers_of_large_frames_gets_small_ones(core: Core) -> None:
    net = Cutting(core, longest=20_000)
    a = net.node("a")
    net.run(2)
    a.publish(*["x" * 3_000] * 1_000)
    every(a, 0.01, "x" * 3_000, until=20)
    net.run(1)
    assert recovery(net, limit=10.0) < 6.0
    assert len(net.cuts) < 20
    unharmed(net)


def a_size_that_killed_the_link_is_tried_less_and_less_often(core: Core) -> None:
    net = Cutting(core, longest=50_000)
    a = net.node("a")
    net.run(2)

    def burst() -> None:
        if net.now < 1_200:
            a.publish(*["x" * 1_000] * 100)
            net.after(1.0, burst)

    burst()
    net.run(1_200)
    # After 10, 20, 40 ... 640 s; a retry may need more than one cut.
    assert len([at for at in net.cuts if at > 60]) < 12
    unharmed(net)


def an_event_that_is_confirmed_and_kills_the_link_is_a_gap(core: Core) -> None:
    net = Cutting(core, longest=50_000)
    a, b, c = (net.node(name) for name in "abc")
    every(a, 0.02, "small", until=20)
    net.run(3)
    a.publish("x" * 90_000)
    number = a.life.last
    net.run(6)
    assert numbers(b, a)[-1] > number
    net.settle()
    for node in (b, c):
        (loss,) = node.losses()
        assert isinstance(loss, Gap)
        assert (loss.reason, loss.ranges) == ("too_large_for_link", ((number, number),))


# -- turns (rule 3) -------------------------------------------------------------------------------


def the_backlog_of_one_keeps_no_other_waiting_for_a_single_event(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, confirm=0.2, sizes=Sizes(frame=1_024, max_frame=1_024))
    a, b, c = (net.node(name) for name in "abc")
    net.run(1)
    net.cut("a", "c")
    for _ in range(160):
        a.publish("x" * 900)
    net.run(20)
    net.heal()
    net.run(0.5)
    net.cut("a", "b")
    a.publish("lost")
    net.run(0.15)
    net.heal()
    a.publish("seen")
    # Ten frames a second, and c waits for 160.
    net.run(3)
    assert numbers(b, a) == list(range(1, 163))
    assert c.engine.peers[a.epoch].in_hole
    net.settle()
    assert not b.losses() + c.losses()


# -- old frames and other clocks (rules 10, 14) ---------------------------------------------------


def what_the_broker_carries_again_is_delivered_once(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="echo", keeps=60.0)
    steady(net, 50, until=12)
    net.run(6)
    net.node("c").close()
    net.run(5)
    for name in "ab":
        net.carry_again(name)
    net.settle()
    for name in "ab":
        node = net.node(name)
        assert not node.losses()
        assert len(told(node, Down)) == 1
        assert sum(peer.duplicates for peer in node.engine.peers.values()) > 500


def an_echo_from_before_the_connection_proves_nothing(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="echo", keeps=60.0)
    a = net.node("a")
    net.run(5)
    assert states(a) == ["READY"]
    net.cut("a", "a")
    net.cut("a", "b")
    a.unplug()
    before = net.now
    a.plug()
    net.run(4)
    for _ in range(10):
        net.carry_again("a", before)
        net.run(0.1)
        assert states(a) != ["READY"], "nothing that it says arrives anywhere"


def a_brokers_clock_that_is_set_back_makes_nobody_deaf(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="echo", keeps=60.0)
    steady(net, 50, until=60)
    net.run(5)
    net.server_ahead -= 3_600
    net.run(2)
    assert recovery(net, limit=3.0) < 3.0
    net.run(40)
    net.settle()
    assert not any(node.losses() for node in net.nodes.values())


# -- untrue words (rules 8, 9) --------------------------------------------------------------------


def an_untrue_heartbeat_is_taken_back_by_the_next(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    a.publish(1)
    net.run(0.1)
    net.lie("a", "b", ahead=1 << 40)
    assert b.engine.peers[a.epoch].in_hole
    net.run(1.5)
    assert not b.engine.peers[a.epoch].in_hole
    a.publish(2)
    net.run(15)
    net.settle()
    assert not reasons(b)
    assert numbers(b, a) == [1, 2]


def what_we_never_said_nobody_can_have_heard(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="peers")
    a, b = net.node("a"), net.node("b")
    net.run(3)
    entries = [control.Entry(a.epoch, 0, 0, 0, 1 << 62)]
    beat = control.encode(control.Heartbeat(name="b", counter=1, uptime_us=0, entries=entries))
    net.inject("a", wire.pack(wire.HEARTBEAT, 0, b.epoch, b.engine.log.newest_us + 1, beat))
    for _ in range(20):
        net.run(0.5)
        assert states(a) == ["READY"], "that stamp stands above all true ones"
    assert a.links[0].connections == 1


# -- many nodes (rules 9, 10) ---------------------------------------------------------------------


def fifty_nodes_on_one_broker_stay_ready(core: Core) -> None:
    net = SimNetwork(
        core=core, nodes=[f"node-{number}" for number in range(50)], proof="server", confirm=0.002
    )
    net.run(6)
    for _ in range(40):
        net.run(0.25)
        assert {state for node in net.nodes.values() for state in states(node)} == {"READY"}
    assert {link.connections for node in net.nodes.values() for link in node.links} == {1}
    assert {len(node.engine.peers) for node in net.nodes.values()} == {49}
