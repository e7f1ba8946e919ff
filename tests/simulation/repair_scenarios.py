"""Directed scenarios for holes and their repair (rules 1-4): each is a function of the core to drive.

With the true core every one of them passes; with the rule taken out it raises (test_mutations.py). Most
leave the judging to the oracle inside SimNetwork and only add what the rule says beyond the promise.
"""

from __future__ import annotations

from bus.protocol.limits import Limits
from bus.protocol.outlet import Sizes
from bus.signals import Gap
from bus.testing.network import Core, SimNetwork
from tests.simulation.kit import SLOW_AND_FAST, every, numbers, reasons

# -- rule 1: peer and baseline --------------------------------------------------------------------


def a_younger_log_is_heard_from_its_first_event(core: Core) -> None:
    net = SimNetwork(core=core, nodes=["a"])
    net.run(2)
    b = net.add("b")
    net.cut("b", "a")
    b.publish(1, 2, 3)
    net.run(0.5)
    net.heal()
    net.settle()
    assert numbers(net.node("a"), b) == [1, 2, 3]


def who_is_born_while_another_is_frozen_gets_no_history(core: Core) -> None:
    net = SimNetwork(core=core, nodes=["a"])
    a = net.node("a")
    net.run(1)
    a.publish(*range(315))
    a.freeze()
    net.run(20)
    b = net.add("b")
    net.run(15)
    a.thaw(tick_first=True)
    net.run(3)
    a.publish("new")
    net.settle()
    assert numbers(b, a) == [316]


# -- rule 2: in step or hole ----------------------------------------------------------------------


def the_tail_before_a_silence_is_repaired(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(1)
    net.cut("a", "b")
    a.publish(1, 2, 3)
    net.run(0.1)
    net.heal()
    net.settle(limit=3)
    assert numbers(b, a) == [1, 2, 3]


def an_overlap_is_delivered_once(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3)
    a, b, c = (net.node(name) for name in "abc")
    net.run(2)
    b.lag = 0.05
    net.cut("a", "c")
    a.publish("first")
    net.cut("a", "b")
    a.publish("second")
    net.heal()
    a.publish("third")
    # What c lacks comes as one repeat, before b has looked; of that b knows the first half.
    net.settle()
    assert numbers(b, a) == numbers(c, a) == [1, 2, 3]
    assert b.engine.peers[a.epoch].duplicates == 1


def what_is_ahead_waits_for_the_hole(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.cut("a", "b")
    a.publish("lost")
    net.heal()
    for _ in range(20):
        a.publish("x" * 1_000)
    net.settle()
    assert b.engine.peers[a.epoch].repaired == 1, "only the lost event had to be sent again"


def a_rebuilt_link_goes_on_where_its_cursor_stood(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(1)
    a.publish(*range(10))
    net.run(1)
    a.unplug()
    a.publish(*range(10))
    net.run(1)
    a.plug()
    net.settle()
    account = b.engine.peers[a.epoch].account()
    assert (account.delivered, account.repaired, account.duplicates) == (20, 0, 0)


def a_log_that_grew_too_old_while_its_link_was_away_is_told_gone(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, limits=Limits(log_age=2.0))
    a, b = net.node("a"), net.node("b")
    net.run(1)
    a.unplug()
    a.publish(1, 2, 3)
    net.run(5)
    a.plug()
    net.settle()
    assert reasons(b) == ["gone"]


# -- rule 3: asking -------------------------------------------------------------------------------


def a_fifth_lost_both_ways_at_a_long_round_trip_is_no_gap(core: Core) -> None:
    net = SimNetwork(core=core, seed=3, nodes=2, links=[(0.4, 0.4)], drop=0.2)
    for name in "ab":
        every(net.node(name), 0.1, name, until=15)
    net.run(15)
    net.settle()
    assert not net.node("a").losses() + net.node("b").losses()


def five_who_miss_the_same_get_it_once(core: Core) -> None:
    net = SimNetwork(core=core, nodes=6, links=[(0.001, 0.01)])
    a = net.node("a")
    net.run(3)
    for name in "bcdef":
        net.cut("a", name)
    a.publish("lost")
    net.heal()
    a.publish("seen")
    net.settle()
    assert a.sent["repeat"] == 1


def repeats_leave_room_for_what_is_new(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, confirm=0.02, sizes=Sizes(frame=1_024, max_frame=1_024))
    a, b, c = (net.node(name) for name in "abc")
    net.run(1)
    net.cut("a", "c")
    every(a, 0.015, "x" * 600, until=17)
    net.run(10)
    net.heal()
    net.run(5)
    # The link carries 100 frames a second and 800 are to be repeated: what is new must not wait for them.
    behind = a.life.last - b.engine.peers[a.epoch].next
    assert behind < 20, f"{behind} new events wait behind repeats for another node"
    net.run(3)
    net.settle()
    assert not b.losses() + c.losses()


def an_idle_senders_events_are_repeated_together(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, confirm=0.1)
    a, b = net.node("a"), net.node("b")
    net.run(1)
    net.cut("a", "b")
    every(a, 0.1, "alone in its frame", until=26)
    net.run(25)
    net.heal()
    net.settle(limit=5)
    assert not b.losses()


def what_the_others_wait_for_is_repeated_first(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, confirm=0.2, sizes=Sizes(frame=1_024, max_frame=1_024))
    a, b = net.node("a"), net.node("b")
    net.run(1)
    net.cut("a", "b")
    for _ in range(160):
        a.publish("x" * 900)
    net.run(20)
    net.heal()
    # Ten frames a second: from the other end it would be 16 s without any progress.
    net.settle()
    assert not b.losses()


def a_request_goes_where_the_peer_is(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, links=[(0.002, 0.002), (0.01, 0.01)])
    a, b = net.node("a"), net.node("b")
    net.run(1)
    b.unplug(0)
    net.run(2)
    net.cut("b", "a")
    b.publish("lost")
    net.heal()
    b.publish("seen")
    net.run(0.2)
    assert numbers(a, b) == [1, 2], "asked on the link that the sender is not on"


def a_deaf_link_does_not_keep_two_from_hearing_each_other_on_the_other(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, links=SLOW_AND_FAST)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.cut("a", "b", link=0)
    net.cut("b", "a")
    b.publish("lost")
    net.heal("a", "b")
    net.cut("a", "b", link=0)
    every(b, 0.2, "seen", until=20)
    net.run(20)
    net.heal()
    net.settle()
    assert not a.losses()


# -- rule 4: giving up ----------------------------------------------------------------------------


def what_the_log_no_longer_holds_is_told_at_once(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, limits=Limits(log_bytes=2_000))
    a, b = net.node("a"), net.node("b")
    net.run(1)
    net.cut("a", "b")
    for _ in range(50):
        a.publish("x" * 100)
    net.run(1)
    net.heal()
    a.publish("seen")
    net.settle(limit=3)
    assert reasons(b) == ["gone"]


def whoever_is_not_heard_gets_a_gap_after_ten_seconds(core: Core) -> None:
    net = SimNetwork(core=core, seed=6, nodes=2, drop=0.05)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.cut("b", "a")
    every(a, 0.05, "x", until=27)
    net.run(25)
    assert set(reasons(b)) == {"timeout"}
    net.heal()
    net.settle()


def only_what_was_waited_for_is_given_up(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.cut("b", "a")
    for pause in (9.0, 0.0):
        net.cut("a", "b")
        a.publish("lost")
        net.heal("a", "b")
        net.cut("b", "a")
        a.publish("seen")
        net.run(pause)
    assert net.run_until(lambda: bool(b.losses()), limit=3)
    net.heal()
    net.settle()
    assert [loss.ranges for loss in b.losses() if isinstance(loss, Gap)] == [((1, 1),)]
