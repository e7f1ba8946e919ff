"""Directed scenarios for the seal (rule 18): each is a function of the core to drive.

They pass with the true core, and raise with the rule taken out.
"""

from __future__ import annotations

from collections.abc import Callable

from bus.protocol import control, frame as wire
from bus.seal import Seal
from bus.signals import Down, Up
from bus.testing.network import Core, SimNetwork
from tests.simulation.kit import every, numbers, states, told

KEY, NEW, OTHER = b"the key of the cluster", b"the key that follows it", b"a key of somebody else"


def a_recording_of_the_dead_means_nothing_to_a_node_that_just_started(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="echo", keeps=60.0, keys=[KEY])
    for node in list(net.nodes.values()):
        every(node, 0.1, "recorded", until=4)
    net.run(4)
    for node in net.nodes.values():
        node.crash()
    d = net.add("d")
    net.run(2)
    for _ in range(10):
        net.carry_again("d")
        net.run(0.4)
        assert states(d) == ["READY"]
    assert not d.received
    assert not d.changes
    assert not d.engine.peers
    assert not d.engine.expects_peers


def a_recording_of_a_former_run_is_no_restart_and_no_duplicate(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="echo", keeps=60.0, keys=[KEY])
    a, b = net.node("a"), net.node("b")
    every(a, 0.1, "first run", until=3)
    net.run(3)
    a.crash()
    a.restart()
    restarted = net.now
    net.run(1)
    c = net.add("c")
    net.run(2)
    for _ in range(12):
        for name in "bc":
            net.carry_again(name, restarted)
        net.run(1)
    assert sorted(c.changes, key=str) == [Up(node.name, node.epoch) for node in (a, b)]
    assert not c.losses()
    assert not told(b, Down)
    net.settle()


def a_recording_of_the_dead_does_not_keep_them_alive(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="echo", keeps=60.0, keys=[KEY])
    a, b = net.node("a"), net.node("b")
    every(a, 0.1, "recorded", until=3)
    net.run(3)
    a.crash()
    for _ in range(12):
        net.carry_again("b")
        net.run(1)
    assert told(b, Down) == [Down("a", a.epoch)]
    net.settle()


def who_has_no_key_or_another_one_is_heard_by_nobody(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, keys=[KEY])
    a, b = net.node("a"), net.node("b")
    intruders = [net.add("x", alias="a", keys=()), net.add("y", alias="a", keys=[OTHER])]
    for node in net.nodes.values():
        every(node, 0.1, node.name, until=5)
    net.run(3)
    net.forge("a", "b", first=a.life.last + 1)
    net.lie("a", "b", ahead=1 << 40)
    net.run(5)
    for node, peer in ((a, b), (b, a)):
        assert set(node.engine.peers) == {peer.epoch}
        assert numbers(node, peer) == list(range(1, peer.life.last + 1))
        assert not node.losses()
        assert [type(change) for change in node.changes] == [Up]
        assert node.engine.refused["unsealed"] > 5
        assert node.engine.refused["key"] + node.engine.refused["forged"] > 5
    assert not any(node.received for node in intruders)
    assert intruders[0].engine.refused["sealed"] > 5


def a_newcomer_among_forty_is_heard_by_all_within_a_second(core: Core) -> None:
    net = crowd(core, 40)
    d = net.add("d")
    d.publish("hello")
    net.run(1.2)
    assert len(d.engine.peers) == 40
    assert all(peer.lists_us for peer in d.engine.peers.values())
    assert all(numbers(node, d) == [1] for node in net.nodes.values() if node is not d)
    before = net.sent
    net.run(2)
    assert net.sent - before < 41 * 4, "then they are quiet again"


def whoever_was_not_named_because_a_frame_was_lost_is_named_again(core: Core) -> None:
    net = crowd(core, 40)
    others = list(net.nodes)[:32]
    d = net.add("d")
    d.publish("hello")
    # They hear that it is there, and then not that it names them.
    net.run(0.04)
    for name in others:
        net.cut("d", name)
    net.run(1.2)
    net.heal()
    net.run(1.0)
    assert all(numbers(net.node(name), d) == [1] for name in others)


def crowd(core: Core, size: int) -> SimNetwork:
    """So many nodes that all know each other."""
    names = [f"n{number}" for number in range(size)]
    net = SimNetwork(core=core, nodes=names, proof="peers", keys=[KEY], tick=0.1)
    assert net.run_until(lambda: all(len(n.engine.peers) == size - 1 for n in net.nodes.values()), 4.0)
    net.run(1)
    return net


def recordings_of_many_do_not_crowd_out_a_newcomer(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="peers", keys=[KEY])
    net.run(3)
    recorded = [recording(net, 1_000 + number) for number in range(300)]

    def replay(stamp: int) -> None:
        for frame in recorded:
            for name in net.nodes:
                net.inject(name, frame(stamp))
        net.after(0.08, lambda: replay(stamp + 1))

    replay(1)
    net.run(1.2)
    c = net.add("c")
    c.publish("hello")
    net.run(2.0)
    for node in net.nodes.values():
        assert len(node.engine.peers) == 2
        assert len(node.links[0].outlet.heard_of) < 300
        assert node is c or numbers(node, c) == [1]


def recording(net: SimNetwork, epoch: int) -> Callable[[int], bytes]:
    """Heartbeats of one who lived once, by their stamps."""
    seal = Seal([KEY], "bus.sim", epoch, net.random.randbytes)
    body = control.encode(control.Heartbeat(name=f"dead{epoch}", counter=1, uptime_us=1, last=9, sent=9))
    return lambda stamp: seal.seal(wire.pack(wire.HEARTBEAT, wire.HELLO, epoch, stamp, body))


def who_is_deaf_outwards_from_the_start_does_not_take_itself_for_alone(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="server", keys=[KEY])
    net.run(3)
    for name in "ab":
        net.cut("c", name)
    c = net.add("c")
    net.run(4)
    for _ in range(20):
        net.run(0.5)
        assert states(c) != ["READY"]
    net.heal()
    net.settle()
    assert states(c) == ["READY"]


def a_request_that_is_carried_again_is_not_answered_again(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="echo", keeps=60.0, keys=[KEY])
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.cut("a", "b")
    a.publish("lost")
    net.heal()
    a.publish("seen")
    net.run(2)
    assert numbers(b, a) == [1, 2]
    repeated = a.sent["repeat"]
    assert repeated
    for _ in range(10):
        net.carry_again("a")
        net.run(0.5)
    assert a.sent["repeat"] == repeated
    assert a.engine.refused["replayed"] >= 10
    net.settle()


def the_key_is_changed_under_load(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="server", confirm=0.002, keys=[KEY])
    for node in net.nodes.values():
        every(node, 0.02, "steady", until=40)
    net.run(3)
    for keys in ((KEY, NEW), (NEW, KEY), (NEW,)):
        for node in net.nodes.values():
            node.renew(*keys)
            net.run(3)
    net.settle()
    for node in net.nodes.values():
        assert not node.losses()
        assert not told(node, Down)
        assert not {"key", "forged"} & set(node.engine.refused)


def a_node_with_the_new_key_alone_asks_for_what_was_sealed_with_the_old_one(core: Core) -> None:
    # One step of the change came too early: it costs a repair, and nothing is lost.
    net = SimNetwork(core=core, nodes=2, keys=[KEY])
    a, b = net.node("a"), net.node("b")
    net.run(2)
    b.renew(NEW)
    a.publish(1, 2, 3)
    net.run(2)
    assert numbers(b, a) == []
    assert b.engine.refused["key"] + b.engine.refused["forged"] > 0
    a.renew(NEW)
    net.run(2.5)
    assert numbers(b, a) == [1, 2, 3]
    assert not b.losses()
