"""What the tests of the core share: a sink that remembers, a node to drive, frames to order.

Every event carries its own epoch and number, so that a delivery proves itself: what the header says must
be what the event says. Time is a number that the test passes on; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from bus.protocol import control, frame as wire
from bus.protocol.control import Entry, Heartbeat, Request, Wanted
from bus.protocol.engine import Engine
from bus.protocol.frame import Header
from bus.protocol.limits import Limits
from bus.protocol.outlet import Outlet, Sizes
from bus.protocol.peer import Hold, Peer
from bus.protocol.seal import Sealer
from bus.signals import Change, Gap, Loss

A = 11
"""The epoch of the peer that most tests hear."""

Delivered = tuple[int, int]
"""Epoch and number of one event."""


def event(epoch: int, seq: int, size: int = 0) -> bytes:
    """An encoded event that says who it is, with `size` bytes more."""
    return msgspec.msgpack.encode([7, epoch, seq, b"x" * size])


def data(
    epoch: int, first: int, last: int, sent_us: int = 1, *, size: int = 0, repeat: bool = False
) -> bytes:
    """A DATA frame with the events `first` ... `last`."""
    events = [event(epoch, seq, size) for seq in range(first, last + 1)]
    frame = wire.pack_events(epoch, first, sent_us, events)
    return wire.as_repeat(frame) if repeat else frame


def beat(
    epoch: int,
    counter: int,
    *,
    sent_us: int | None = None,
    name: str = "a",
    uptime_us: int = 0,
    last: int = 0,
    held: int = 1,
    sent: int | None = None,
    entries: Iterable[Entry] = (),
    strangers: Iterable[Entry] = (),
    digest: int = 0,
    flags: int = 0,
    versions: tuple[int, int] = (1, 1),
) -> bytes:
    """A HEARTBEAT frame; sent a millisecond after the one before when `sent_us` does not say."""
    body = Heartbeat(
        name=name,
        counter=counter,
        uptime_us=uptime_us,
        min_version=versions[0],
        max_version=versions[1],
        last=last,
        held=held,
        sent=last if sent is None else sent,
        entries=list(entries),
        strangers=list(strangers),
        digest=digest,
    )
    stamp = counter * 1000 if sent_us is None else sent_us
    return wire.pack(wire.HEARTBEAT, flags, epoch, stamp, control.encode(body))


def request(epoch: int, wanted: dict[int, list[tuple[int, int]]], sent_us: int = 1) -> bytes:
    """A REQUEST frame."""
    body = Request([Wanted(of, ranges) for of, ranges in wanted.items()])
    return wire.pack(wire.REQUEST, 0, epoch, sent_us, control.encode(body))


class Recorder:
    """A sink that keeps everything, in order; the stream of one epoch can be checked at any time."""

    def __init__(self) -> None:
        self.stream: list[Delivered | Loss] = []
        self.changes: list[Change] = []
        self.undecodable = 0
        self.is_strict = True
        # Epochs whose events cannot be judged yet.
        self.unjudged: set[int] = set()

    def events(self, peer: Peer, header: Header, frame: bytes, skip: int) -> bool | None:
        """Take the events; those that say who they are must be who the header says they are."""
        if peer.epoch in self.unjudged and not peer.is_final:
            return True
        numbers = range(header.first_seq + skip, header.first_seq + header.count)
        self.stream += [(peer.epoch, seq) for seq in numbers]
        try:
            events = msgspec.msgpack.decode(wire.events_of(frame, header), type=list[list[object]])
        except (msgspec.MsgspecError, wire.FrameError):
            self.undecodable += 1
            return None
        says = [tuple(one[1:3]) for one in events[skip:]]
        assert not self.is_strict or says == [(peer.epoch, seq) for seq in numbers]
        return None

    def loss(self, loss: Loss) -> None:
        self.stream.append(loss)

    def change(self, change: Change) -> None:
        self.changes.append(change)

    @property
    def losses(self) -> list[Loss]:
        return [item for item in self.stream if isinstance(item, Loss)]

    def delivered(self, epoch: int) -> list[int]:
        """The numbers that were delivered of one epoch, in order."""
        return [item[1] for item in self.stream if not isinstance(item, Loss) and item[0] == epoch]

    def numbers(self, epoch: int) -> list[int]:
        """The numbers that were delivered or told in Gaps, in stream order."""
        found: list[int] = []
        for item in self.stream:
            if isinstance(item, Gap):
                if item.epoch == epoch:
                    for first, last in item.ranges:
                        found += range(first, last + 1)
            elif not isinstance(item, Loss) and item[0] == epoch:
                found.append(item[1])
        return found


class Declared:
    """Types that a node has: tag -> description."""

    def __init__(
        self, digest: int = 0, described: Mapping[str, bytes] | Mapping[int, bytes] | None = None
    ) -> None:
        self.digest = digest
        self.described: dict[int | str, bytes] = dict((described or {}).items())


class Node:
    """One engine with one link that is up and ready, and its sink."""

    def __init__(
        self,
        name: str = "b",
        epoch: int = 2,
        *,
        limits: Limits | None = None,
        sizes: Sizes | None = None,
        now: float = 0.0,
        observer: bool = False,
        random: Callable[[int], int] = lambda below: 0,
        seal: Sealer | None = None,
    ) -> None:
        self.sink = Recorder()
        self.engine = Engine(name, epoch, limits or Limits(), self.sink, now, random, observer, seal)
        self.outlet = self.link(sizes)

    def link(self, sizes: Sizes | None = None) -> Outlet:
        """One more link that is up and ready."""
        outlet = self.engine.attach(sizes or Sizes())
        self.engine.up(outlet)
        outlet.is_ready = True
        return outlet

    @property
    def refused(self) -> dict[str, int]:
        """What was refused, without zeros."""
        return {reason: count for reason, count in self.engine.refused.items() if count}

    @property
    def hold(self) -> Hold:
        """The bytes that wait for holes to close. Not public: nobody but a test may ask."""
        hold = vars(self.engine)["_hold"]
        assert isinstance(hold, Hold)
        return hold

    def hear(self, *frames: bytes, now: float = 0.0, on: Outlet | None = None) -> None:
        """Receive frames."""
        for frame in frames:
            self.engine.receive(on or self.outlet, frame, now)

    def publish(self, count: int = 1, size: int = 0) -> None:
        """Publish events that say who they are."""
        log = self.engine.log
        for _ in range(count):
            self.engine.append(event(self.engine.epoch, log.last + 1, size))

    def says(self, now: float = 0.0, on: Outlet | None = None) -> list[bytes]:
        """All frames that it has to send now; each is confirmed at once."""
        outlet = on or self.outlet
        frames: list[bytes] = []
        while (frame := self.engine.next_frame(outlet, now)) is not None:
            frames.append(frame)
            self.engine.land(outlet, now)
        return frames

    def tick(self, until: float, since: float = 0.0, step: float = 0.1) -> None:
        """Let time pass, in steps that a healthy process makes."""
        steps = round((until - since) / step)
        for index in range(1, steps + 1):
            self.engine.tick(since + index * step)


def held_frames(node: Node, epoch: int) -> list[bytes]:
    """The frames of one peer that wait for a hole to close. Not public either."""
    held: dict[int, tuple[Header, bytes]] = vars(node.engine.peers[epoch])["_held"]
    return [frame for _, frame in held.values()]


def exchange(one: Node, other: Node, now: float, lose: Callable[[bytes], bool] | None = None) -> int:
    """Carry frames both ways until neither has more to say; returns how many were carried."""
    carried = 0
    busy = True
    while busy:
        busy = False
        for sender, receiver in ((one, other), (other, one)):
            for frame in sender.says(now):
                busy = True
                if lose is None or not lose(frame):
                    carried += 1
                    receiver.hear(frame, now=now)
    return carried


def kinds(frames: Iterable[bytes]) -> list[int]:
    """The kinds of frames, in order."""
    return [wire.parse(frame).kind for frame in frames]


def of_kind(kind: int, frames: list[bytes]) -> list[bytes]:
    return [frame for frame in frames if wire.parse(frame).kind == kind]


def known(last: int = 0, **limits: int) -> Node:
    """A node that knows A, whose log stands at `last` and was heard from the start."""
    node = Node(limits=Limits(**limits))
    node.hear(beat(A, 1, sent_us=1))
    if last:
        node.hear(data(A, 1, last, 2), beat(A, 2, sent_us=3, last=last))
    node.says()
    return node


def asks(node: Node, now: float) -> list[tuple[int, int]]:
    """The ranges that it asks A for now."""
    found: list[tuple[int, int]] = []
    for frame in node.says(now):
        if wire.parse(frame).kind == wire.REQUEST:
            for wanted in control.read_request(frame).wanted:
                assert wanted.epoch == A
                found += wanted.ranges
    return found
