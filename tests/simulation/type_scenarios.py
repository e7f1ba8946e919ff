"""Directed scenarios for event types (rule 19): nothing is taken before it is known what it looks like."""

from __future__ import annotations

from bus.testing.network import Core, SimNetwork
from tests.simulation.kit import numbers


def types_that_were_lost_are_asked_for(core: Core) -> None:
    for seed in range(4):
        net = SimNetwork(core=core, seed=seed, nodes=3, drop=0.7, typed=True)
        for second in range(4):
            for node in net.nodes.values():
                node.publish(second)
            net.run(1)
        net.drop = 0.0
        net.run(4)
        for one in net.nodes.values():
            for other in net.nodes.values():
                assert one is other or numbers(one, other) == [1, 2, 3, 4]
        net.settle()


def a_newcomer_learns_the_types_of_all_before_their_events(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, typed=True)
    net.run(3)
    c = net.add("c")
    net.run(0.6)
    assert all(peer.types is not None for peer in c.engine.peers.values())
    net.node("a").publish(1)
    net.run(0.1)
    assert numbers(c, net.node("a")) == [1]
    net.settle()


def one_of_many_with_the_same_types_is_asked(core: Core) -> None:
    """Ten nodes of one release: the answer to one question goes to all, also to who did not ask."""
    net = SimNetwork(core=core, nodes=1, typed=True)
    for number in range(10):
        net.add(f"n{number}", alias="b" if number else "c")
    net.run(5)
    told = sum(node.sent["types"] for node in net.nodes.values())
    # Eleven tell theirs when they connect; all else was asked for.
    assert 11 <= told < 11 + 20
