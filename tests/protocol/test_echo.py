"""Our own frames that come back: what they prove (rule 10), and what time the broker has (rule 14)."""

from __future__ import annotations

from bus.protocol import frame as wire
from tests.protocol.kit import A, Node, beat


def test_a_frame_older_than_our_own_echo_by_half_a_minute_is_stale() -> None:
    node = Node()
    (echo,) = node.says()
    heard = beat(A, 1)
    engine, outlet = node.engine, node.outlet
    engine.receive(outlet, heard, 0.0, stamp=10.0)  # no echo yet: nothing to compare with
    engine.receive(outlet, echo, 0.0, stamp=1_000.0)
    engine.receive(outlet, echo, 0.0, stamp=900.0)  # an older echo sets nothing back
    for counter, stamp in ((2, 969.9), (3, 970.0), (4, None)):
        engine.receive(outlet, beat(A, counter), 0.0, stamp=stamp)
    assert node.refused == {"own": 2, "stale": 1}
    assert node.engine.peers[A].beat_us == 4_000


def test_when_the_brokers_clock_is_set_back_only_our_next_echo_is_waited_for() -> None:
    """Or another broker leads, whose clock is behind: by an hour, and nobody would be heard for it."""
    node = Node()
    (old,) = node.says()
    node.engine.tick(0.5)
    node.engine.tick(1.0)
    (new,) = node.says(1.0)
    engine, outlet = node.engine, node.outlet
    engine.receive(outlet, old, 1.0, stamp=5_000.0)
    engine.receive(outlet, beat(A, 1), 1.0, stamp=1_400.0)
    assert node.refused == {"own": 1, "stale": 1}
    engine.receive(outlet, new, 1.0, stamp=1_400.0)
    # The log is read again from its start: neither is our old echo news, nor what is older than the new one.
    engine.receive(outlet, old, 1.0, stamp=1_000.0)
    engine.receive(outlet, beat(A, 1), 1.0, stamp=1_000.0)
    assert node.refused == {"own": 3, "stale": 2}
    engine.receive(outlet, beat(A, 2), 1.0, stamp=1_400.0)
    assert set(engine.peers) == {A}


def test_an_echo_proves_only_the_connection_that_it_was_sent_on() -> None:
    """A broker that keeps a log may carry again what was sent before; and anybody can write our epoch."""
    node = Node()
    (old,) = node.says()
    node.hear(old)
    assert node.outlet.echoed
    node.engine.down(node.outlet)
    node.engine.up(node.outlet)
    node.hear(old, wire.pack(wire.HEARTBEAT, 0, 2, 1 << 62, b""))
    assert not node.outlet.echoed
    node.hear(*node.says(2.0))
    assert node.outlet.echoed
