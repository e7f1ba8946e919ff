"""Reassembly of one log: a random honest sender against a set.

Frames come through the engine of the receiver, as in life: in any order, again, overlapping, or never.
What must hold after every step: *delivered + told + duplicates = sent*, in order, and nothing told
above the highest number that the sender announced.
"""

from __future__ import annotations

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bus.protocol import control, frame as wire
from bus.protocol.limits import Limits
from bus.signals import Gap, Resync
from tests.protocol.kit import A, Node, beat, data, held_frames


class HonestSender(RuleBasedStateMachine):
    """A sender that says the truth over links that do what they like."""

    @initialize(young=st.booleans(), before=st.integers(0, 5), hold=st.sampled_from([400, 1 << 20]))
    def begin(self, young: bool, before: int, hold: int) -> None:
        self.node = Node(limits=Limits(hold_bytes=hold), now=0.0)
        self.exact = hold > 400
        self.uptime_us = 0 if young else 1 << 40
        self.last, self.held, self.sent = before, 1, before
        self.counter = self.clock_us = 0
        self.now = 1.0
        self.bag: list[bytes] = []
        self.received = 0
        self.announced = 0
        self.is_bye = False
        self.baseline = 1 if young else before + 1
        self.carry(self.heartbeat())

    # -- the sender ----------------------------------------------------------------------------

    def stamp(self) -> int:
        self.clock_us += 1
        return self.clock_us

    def heartbeat(self, flags: int = 0) -> bytes:
        self.counter += 1
        return beat(
            A, self.counter, sent_us=self.stamp(), uptime_us=self.uptime_us, flags=flags,
            last=self.last, held=self.held, sent=self.sent,
        )  # fmt: skip

    @precondition(lambda self: not self.is_bye)
    @rule(count=st.integers(1, 6), arrives=st.booleans())
    def publish(self, count: int, arrives: bool) -> None:
        first, self.last = self.last + 1, self.last + count
        self.sent = self.last
        self.post(data(A, first, self.last, self.stamp()), arrives)

    @rule(back=st.integers(0, 15), count=st.integers(1, 8), arrives=st.booleans())
    def repeat(self, back: int, count: int, arrives: bool) -> None:
        first = max(self.held, self.last - back)
        if first <= self.last:
            last = min(self.last, first + count - 1)
            self.post(data(A, first, last, self.stamp(), repeat=True), arrives)

    @rule(arrives=st.booleans())
    def beat(self, arrives: bool) -> None:
        self.post(self.heartbeat(wire.BYE if self.is_bye else 0), arrives)

    @rule(count=st.integers(1, 10))
    def forget(self, count: int) -> None:
        self.held = min(self.last + 1, self.held + count)

    @precondition(lambda self: not self.is_bye)
    @rule(arrives=st.booleans())
    def say_bye(self, arrives: bool) -> None:
        self.is_bye = True
        self.post(self.heartbeat(wire.BYE), arrives)

    # -- the links -----------------------------------------------------------------------------

    def post(self, frame: bytes, arrives: bool) -> None:
        self.bag.append(frame)
        if arrives:
            self.carry(frame)

    @precondition(lambda self: self.bag)
    @rule(at=st.integers(0, 1 << 16))
    def arrive_late_or_again(self, at: int) -> None:
        self.carry(self.bag[at % len(self.bag)])

    def carry(self, frame: bytes) -> None:
        header = wire.parse(frame)
        if header.kind == wire.DATA:
            self.received += header.count
        else:
            self.announced = max(self.announced, control.read_heartbeat(frame).last)
        self.node.hear(frame, now=self.now)
        assert self.node.refused == {}

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.5, 12.0]))
    def wait(self, seconds: float) -> None:
        self.node.tick(self.now + seconds, self.now)
        self.now += seconds
        self.node.says(self.now)

    # -- what must hold ------------------------------------------------------------------------

    @invariant()
    def everything_is_accounted_for_once_and_in_order(self) -> None:
        if not hasattr(self, "baseline"):
            return
        peer = self.node.engine.peers[A]
        sink = self.node.sink
        assert peer.baseline == self.baseline
        assert sink.numbers(A) == list(range(self.baseline, peer.next))
        assert len(sink.delivered(A)) == peer.delivered
        assert peer.delivered + peer.lost == peer.next - self.baseline
        for item in sink.losses:
            assert isinstance(item, Gap) or (isinstance(item, Resync) and item.reason == "silent")
            if isinstance(item, Gap):
                assert item.ranges[-1][1] <= self.announced
            else:
                self.exact = False  # what was held is let go, without a count
        frames = held_frames(self.node, A)
        waiting = sum(wire.parse(frame).count for frame in frames)
        assert self.node.hold.used == sum(map(len, frames)) <= self.node.hold.limit
        accounted = peer.delivered + peer.duplicates + waiting
        assert accounted == self.received if self.exact else accounted <= self.received

    def teardown(self) -> None:
        """In the end the link is good: everything that is still held comes, the rest is told."""
        if not hasattr(self, "baseline"):
            return
        self.carry(self.heartbeat(wire.BYE if self.is_bye else 0))
        for seq in range(self.held, self.last + 1):
            self.carry(data(A, seq, seq, self.stamp(), repeat=True))
        peer = self.node.engine.peers[A]
        assert peer.next == max(self.last + 1, self.baseline)
        assert not peer.in_hole
        assert self.node.hold.used == 0
        self.everything_is_accounted_for_once_and_in_order()


TestHonestSender = HonestSender.TestCase
TestHonestSender.settings = settings(max_examples=60, stateful_step_count=30)
