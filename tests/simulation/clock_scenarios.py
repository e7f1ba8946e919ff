"""Directed scenarios for clocks, ends and jumps (rules 5-8): each is a function of the core to drive.

With the true core every one of them passes; with the rule taken out it raises (test_mutations.py). Most
leave the judging to the oracle inside SimNetwork and only add what the rule says beyond the promise.
"""

from __future__ import annotations

from bus.signals import Down, Loss, Resync, Up
from bus.testing.network import Core, SimNetwork, SimNode
from tests.simulation.kit import SLOW_AND_FAST, every, numbers, reasons

# -- rule 5: clocks count attended time -----------------------------------------------------------


def a_frozen_receiver_judges_nobody(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3)
    b = net.node("b")
    net.run(2)
    b.freeze()
    net.run(35)
    b.thaw(tick_first=True)
    net.settle()
    assert not b.losses()
    assert all(isinstance(change, Up) for change in b.changes)


def nobody_is_judged_while_the_broker_is_away(core: Core) -> None:
    net = SimNetwork(core=core, nodes=3, proof="server")
    net.run(5)
    net.broker_down()
    net.run(45)
    net.broker_up()
    net.settle()
    for node in net.nodes.values():
        assert not node.losses()
        assert not any(isinstance(change, Down) for change in node.changes)


def freeze_with_a_hole(sender: SimNode, receiver: SimNode) -> None:
    """The sender freezes when the receiver knows of a hole, and has not yet been asked to fill it."""
    net = sender.net
    net.cut(sender.name, receiver.name)
    sender.publish("lost")
    net.heal()
    net.cut(receiver.name, sender.name)
    sender.publish("seen")
    net.run(1.2)
    sender.freeze()
    net.heal()


def a_frozen_sender_loses_nothing_while_the_broker_restarts(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, proof="server")
    a, b = net.node("a"), net.node("b")
    net.run(5)
    freeze_with_a_hole(a, b)
    for _ in range(2):
        net.run(4)
        net.broker_down()
        net.run(1)
        net.broker_up()
    net.run(10)
    a.thaw()
    net.settle()
    assert not b.losses()


def a_link_that_is_not_ready_does_not_make_a_frozen_sender_heard(core: Core) -> None:
    # The new link of c has nobody to prove itself with: it is not READY, and `silent` stands still.
    net = SimNetwork(core=core, nodes=["a", "c"], proof="peers")
    a, c = net.node("a"), net.node("c")
    net.run(3)
    freeze_with_a_hole(a, c)
    net.broker_down()
    net.broker_up()
    net.run(18)
    a.thaw()
    net.settle()
    assert not c.losses()


# -- rule 6: down, told, back ---------------------------------------------------------------------


def the_end_of_a_killed_log_is_told_once(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    a.publish("last")
    a.crash()
    net.run(11)
    assert b.changes[-1] == Down("a", a.epoch)
    assert not b.losses()
    net.run(60)
    assert reasons(b) == ["silent"]


def who_goes_on_unheard_after_it_was_told_lost_is_told_again_when_it_restarts(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.partition("a", "b")
    net.run(35)
    a.publish("lost, and after the Resync")
    a.crash()
    net.heal()
    a.restart()
    a.publish("new")
    net.settle()
    assert reasons(b) == ["silent", "restarted"]


def a_quick_restart_is_told_before_its_first_event(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    a.publish("old")
    a.crash()
    net.run(0.1)
    a.restart()
    a.publish("new")
    net.settle()
    kinds = [type(item) if isinstance(item, Loss) else item.body for item in b.received]
    assert kinds == ["old", Resync, "new"]


def all_former_logs_are_told_before_a_new_ones_first_event(core: Core) -> None:
    # A goodbye between two crashes: the log before it must be told as well.
    net = SimNetwork(core=core, nodes=3, links=[(0.002, 0.002), (1.0, 1.2)])
    a, b = net.node("a"), net.node("b")
    net.run(3.6)
    a.crash()
    net.run(0.3)
    b.crash()
    b.restart()
    a.restart()
    net.run(2.5)
    a.close(linger=0.2)
    net.run(0.5)
    a.restart()
    a.publish("new")
    net.settle()
    assert b.events("a")[-1].body == "new"


def who_was_told_lost_goes_on_in_place(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    a.publish(1)
    net.partition("a", "b")
    a.publish(2)
    net.run(40)
    net.heal()
    a.publish(3)
    net.run(3)
    assert numbers(b, a) == [1, 2, 3]
    assert reasons(b) == ["silent"]
    a.publish(4)
    net.run(1)
    a.crash()
    net.settle()
    assert reasons(b) == ["silent", "silent"], "each end is told"


# -- rule 7: bye ----------------------------------------------------------------------------------


def what_was_lost_before_the_goodbye_is_repaired_after_it(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, confirm=0.05)
    a, b = net.node("a"), net.node("b")
    net.run(2.02)
    net.cut("a", "b")
    a.publish("lost")
    a.close(linger=0.9)
    net.run(0.02)
    # The first goodbye is lost as well: there is a second one.
    net.heal()
    net.settle(limit=1.5)
    assert numbers(b, a) == [1]
    assert b.changes[-1] == Down("a", a.epoch)


def what_a_closed_node_took_with_it_is_a_gap_after_a_second(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.cut("a", "b")
    a.publish("lost")
    net.heal()
    a.close(linger=0.0)
    net.run(1.5)
    assert reasons(b) == ["ended"]
    net.settle()


def the_second_of_a_goodbye_is_a_whole_one(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.cut("b", "a")
    net.cut("a", "b")
    a.publish("lost")
    net.heal("a", "b")
    net.cut("b", "a")
    a.publish("seen")
    net.run(4)
    net.heal()
    a.close(linger=1.0)
    net.settle()
    assert not b.losses(), "the seconds before the goodbye do not count"


# -- rule 8: jumps --------------------------------------------------------------------------------


def two_links_of_different_delay_are_no_jump(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2, links=SLOW_AND_FAST)
    every(net.node("a"), 0.03, "steady", until=10)
    net.run(10)
    net.settle()
    assert not net.node("b").losses()


def a_forged_jump_is_refuted(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    a.publish(1)
    net.forge("a", "b", first=20, amount=3)
    net.run(1.5)
    for number in range(2, 31):
        a.publish(number)
    net.settle()
    assert net.oracle.forged_deliveries == 0
    assert b.engine.peers[a.epoch].implausible == 3
    assert not b.losses()


def a_forged_position_is_taken_back(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.forge("a", "b", first=1, amount=50_000)
    net.run(1.5)
    for number in range(10):
        a.publish(number)
    net.settle()
    assert reasons(b) == ["implausible"]
    assert [item.body for item in b.events("a")[-10:]] == list(range(10))


def a_number_above_all_numbers_is_refused(core: Core) -> None:
    net = SimNetwork(core=core, nodes=2)
    a, b = net.node("a"), net.node("b")
    net.run(2)
    net.forge("a", "b", first=(1 << 63) - 1, amount=3)
    assert b.engine.refused["range"] == 1
    a.publish(1)
    net.settle(limit=3)


def two_frames_of_one_instant_have_two_stamps(core: Core) -> None:
    net = SimNetwork(core=core, nodes=["a"], links=[(0.01, 0.01), (0.01, 0.01)])
    net.run(3)
