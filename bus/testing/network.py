"""SimNetwork: engines on a virtual clock, over links that do whatever a network may do.

    net = SimNetwork(seed=1, nodes=3)               # "a", "b", "c"
    net.node("a").publish("hello", 42)              # any msgpack values
    net.partition("a", "b")
    net.run(5.0)                                    # virtual seconds, milliseconds of ours
    net.heal()
    net.settle()                                    # until everybody has everything; then judges

Nothing here sleeps, and every random decision comes from the seed: the same script gives the same run. What
each node receives is in `node.received`; it is also judged while it comes (`bus.testing.oracle`): a broken
promise raises `Violation` at the place where it breaks. Every node reads a clock of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from string import ascii_lowercase
from typing import NamedTuple

from bus.protocol import control, frame as wire
from bus.protocol.engine import Engine
from bus.protocol.inbox import Inbox
from bus.protocol.lifecycle import Lifecycle, ProofKind
from bus.protocol.limits import Limits
from bus.protocol.outlet import Sizes
from bus.testing.oracle import Oracle
from bus.testing.simnode import SimNode
from bus.testing.truth import FORGED, Received, Violation

__all__ = ["Core", "Received", "SimNetwork", "SimNode", "Violation"]

# How far a frame may be thrown back by `reorder`, and a duplicate come late (seconds).
STRAY = 2.5


class Core(NamedTuple):
    """The classes that are driven: those of `bus.protocol`, or changed ones to see what breaks."""

    engine: type[Engine] = Engine
    inbox: type[Inbox[Received]] = Inbox
    lifecycle: type[Lifecycle] = Lifecycle


class SimNetwork:
    """`nodes`: how many, or their names. `links`: (shortest, longest) delay of each link in seconds.

    `drop`, `duplicate`, `reorder`, `corrupt` are probabilities per frame and receiver and may be changed
    at any time. `proof`: None makes a connected link READY at once; else each link has a lifecycle that
    must prove it (rule 10). `echo`: own frames come back; None: where they are the proof. `confirm`:
    seconds until the server confirms a frame. `keeps`: the server stamps every frame with its clock, and
    keeps it for so many seconds (see `carry_again`). `tick`: seconds. `keys`: the cluster key of all nodes
    (rule 18), the first of several seals. `typed`: each node has event types of its own, and nobody takes
    events before he knows what they look like (rule 19).
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        nodes: int | Sequence[str] = 3,
        links: Sequence[tuple[float, float]] = ((0.001, 0.005),),
        limits: Limits | None = None,
        sizes: Sizes | None = None,
        proof: ProofKind | None = None,
        echo: bool | None = None,
        drop: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        corrupt: float = 0.0,
        tick: float = 0.05,
        confirm: float = 0.0,
        keeps: float = 0.0,
        keys: Sequence[bytes] = (),
        typed: bool = False,
        core: Core | None = None,
    ) -> None:
        self.random: Random = Random(seed)
        self.now: float = 0.0
        self.links: list[tuple[float, float]] = list(links)
        self.limits: Limits = limits or Limits()
        self.sizes: Sizes = sizes or Sizes()
        self.proof: ProofKind | None = proof
        self.echo: bool = proof == "echo" if echo is None else echo
        self.drop = drop
        self.duplicate = duplicate
        self.reorder = reorder
        self.corrupt = corrupt
        self.tick = tick
        self.confirm = confirm
        self.keeps = keeps
        self.keys: tuple[bytes, ...] = tuple(keys)
        self.typed = typed
        # The server's clock, in seconds ahead of ours.
        self.server_ahead: float = 1e9
        self.core: Core = core or Core()
        self.oracle: Oracle = Oracle(self)
        self.nodes: dict[str, SimNode] = {}
        # How often each broker was restarted: what was in flight then is lost.
        self.restarts: list[int] = [0 for _ in self.links]
        self.sent: int = 0
        # What the servers keep: when it was sent, the link, the frame, the server's stamp.
        self._kept: deque[tuple[float, int, bytes, float]] = deque()
        # Outage -> when it ended; infinite while it lasts. See `was_away`.
        self._outages: dict[tuple[object, ...], float] = {}
        self._cuts: set[tuple[str, str, int]] = set()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        for name in ascii_lowercase[:nodes] if isinstance(nodes, int) else nodes:
            self.add(name)

    # -- nodes and time ----------------------------------------------------------------------------

    def add(self, name: str, alias: str | None = None, keys: Sequence[bytes] | None = None) -> SimNode:
        """Start one more node. `alias`: the node name that it uses, for a twin of another one.

        `keys`: others than those of the network.
        """
        self.nodes[name] = node = SimNode(self, name, alias or name, self.keys if keys is None else keys)
        node.start()
        return node

    def node(self, name: str) -> SimNode:
        """The node of that name, running or not."""
        return self.nodes[name]

    def after(self, delay: float, action: Callable[[], object]) -> None:
        """Call `action` in `delay` virtual seconds."""
        heappush(self._heap, (self.now + delay, next(self._order), action))

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now + seconds
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, action = heappop(heap)
            action()
        self.now = end

    def run_until(self, is_done: Callable[[], bool], limit: float, step: float = 0.25) -> bool:
        """Let time pass until `is_done`, `limit` seconds at most; tells whether it is."""
        end = self.now + limit
        while not is_done():
            if self.now >= end:
                return False
            self.run(step)
        return True

    def settle(self, limit: float = 90.0) -> None:
        """Until every node is at the end of every living log and knows of every dead one's end.

        Heal all faults first. Raises Violation when that takes more than `limit` seconds, or when the
        books do not balance.
        """
        if not self.run_until(lambda: not self.oracle.unsettled(), limit, 0.5):
            raise Violation(f"after {limit:.0f} s still: {'; '.join(self.oracle.unsettled())}")
        self.oracle.balance()

    def has_twins(self, name: str) -> bool:
        """Do several nodes use this name (`add` with `alias`)?"""
        return sum(node.alias == name for node in self.nodes.values()) > 1

    # -- faults ------------------------------------------------------------------------------------

    def cut(self, sender: str, receiver: str, link: int | None = None) -> None:
        """From now on nothing gets from `sender` to `receiver` (the other way it does)."""
        for index in self._indices(link):
            self._cuts.add((sender, receiver, index))
            self.outage_begins("cut", sender, receiver, index)

    def partition(self, one: str, other: str, link: int | None = None) -> None:
        """Cut both ways."""
        self.cut(one, other, link)
        self.cut(other, one, link)

    def heal(self, one: str | None = None, other: str | None = None) -> None:
        """Take back the cuts between two nodes, or all cuts."""
        for sender, receiver, link in sorted(self._cuts):
            if one is None or {sender, receiver} == {one, other}:
                self._cuts.discard((sender, receiver, link))
                self.outage_ends("cut", sender, receiver, link)

    def broker_down(self, link: int | None = None) -> None:
        """The server dies: all its connections break, what was in flight is lost."""
        for index in self._indices(link):
            self.restarts[index] += 1
            self.outage_begins("broker", index)
            for node in self.nodes.values():
                node.lose(index)

    def broker_up(self, link: int | None = None, within: float = 0.4) -> None:
        """The server is back; each node reconnects at a random moment `within` seconds."""
        for index in self._indices(link):
            self.outage_ends("broker", index)
            for node in self.nodes.values():
                node.connect_soon(index, within)

    def is_broker_up(self, link: int) -> bool:
        """Does the server of this link take connections?"""
        return not self.is_out("broker", link)

    def inject(self, receiver: str, frame: bytes, link: int = 0, stamp: float | None = None) -> None:
        """Deliver these bytes to one node now; `stamp` is the broker's timestamp in seconds."""
        self.nodes[receiver].arrive(link, self.restarts[link], frame, False, stamp)

    def forge(
        self, sender: str, receiver: str, first: int, amount: int = 1, stamp: float | None = None
    ) -> None:
        """Deliver a DATA frame with valid checksum and false content, as if from `sender`'s log.

        Without the seal nobody can tell it from a true one when the log gets there; the oracle counts
        that in `forged_deliveries` instead of calling it a violation. With it, it is one.
        """
        life = self.nodes[sender].life
        sent_us = self.nodes[sender].engine.log.newest_us
        frame = wire.pack_events(life.epoch, first, sent_us, [FORGED] * amount)
        if not self.keys:
            life.forged.append((first, first + amount - 1))
        self.inject(receiver, frame, stamp=stamp)

    def lie(self, sender: str, receiver: str, ahead: int, link: int = 0) -> None:
        """Deliver a heartbeat as if from `sender`, with more events than it has published."""
        node = self.nodes[sender]
        last = node.life.last + ahead
        beat = control.Heartbeat(
            name=node.alias, counter=1, uptime_us=int((self.now - node.life.born) * 1e6), last=last, sent=last
        )
        stamp = node.engine.log.newest_us + 1
        self.inject(receiver, wire.pack(wire.HEARTBEAT, 0, node.epoch, stamp, control.encode(beat)), link)

    def carry_again(self, receiver: str, before: float = inf) -> None:
        """The server delivers once more to one node what it got `before` then, with the same stamps."""
        for at, link, frame, stamp in list(self._kept):
            if at < before:
                self.nodes[receiver].arrive(link, self.restarts[link], frame, True, stamp)

    def _indices(self, link: int | None) -> Sequence[int]:
        return range(len(self.links)) if link is None else (link,)

    # -- what happened, for the oracle -------------------------------------------------------------

    def outage_begins(self, *what: object) -> None:
        """Note that something is away now."""
        self._outages[what] = inf

    def outage_ends(self, *what: object) -> None:
        """Note that it is back."""
        if self._outages.get(what) == inf:
            self._outages[what] = self.now

    def is_out(self, *what: object) -> bool:
        """Is it away now?"""
        return self._outages.get(what) == inf

    def was_cut(self, asker: str, asked: str, within: float) -> bool:
        """Was there lately no link on which `asker` could both ask and be answered?

        On one link at least the way of the requests was cut, and no other link worked both ways:
        repeats come on the link that they were asked on.
        """
        cut = [self._since(within, "cut", asker, asked, link) for link in self._indices(None)]
        return any(cut) and all(
            cut[link] or self._was_broken(asked, asker, link, within) for link in self._indices(None)
        )

    def was_away(self, sender: str, receiver: str, within: float) -> bool:
        """May `receiver` have heard nothing from `sender` at some moment of the last `within` seconds?

        Whether the receiver itself was frozen does not count: a frozen node judges nobody (rule 5).
        """
        return self._since(within, "frozen", sender) or all(
            self._was_broken(sender, receiver, link, within) for link in self._indices(None)
        )

    def _was_broken(self, sender: str, receiver: str, link: int, within: float) -> bool:
        return (
            self._since(within, "cut", sender, receiver, link)
            or self._since(within, "broker", link)
            or self._since(within, "unplugged", sender, link)
            or self._since(within, "unplugged", receiver, link)
        )

    def _since(self, within: float, *what: object) -> bool:
        return self._outages.get(what, -inf) >= self.now - within

    @property
    def longest_delay(self) -> float:
        """No frame travels longer than this (seconds)."""
        stray = STRAY if self.reorder or self.duplicate else 0.0
        return max(high for _, high in self.links) + stray

    # -- the wire ----------------------------------------------------------------------------------

    def transmit(self, sender: SimNode, link: int, frame: bytes) -> None:
        """Carry one frame to all others (and back, where the backend's proof is the echo)."""
        self.sent += 1
        chance = self.random.random
        low, high = self.links[link]
        stamp = self.now + self.server_ahead if self.keeps else None
        if stamp is not None:
            self._keep(link, frame, stamp)
        for receiver in self.nodes.values():
            if receiver is sender and not self.echo:
                continue
            if (sender.name, receiver.name, link) in self._cuts or chance() < self.drop:
                continue
            at = self.now + low + (high - low) * chance()
            if self.reorder and chance() < self.reorder:
                self._carry(at + STRAY * chance(), receiver, link, frame, stamp)
            else:
                # One connection keeps the order.
                at = max(at, sender.arrivals.get((receiver.name, link), 0.0))
                sender.arrivals[receiver.name, link] = at
                self._carry(at, receiver, link, frame, stamp)
            if self.duplicate and chance() < self.duplicate:
                self._carry(at + STRAY * chance(), receiver, link, frame, stamp)

    def _keep(self, link: int, frame: bytes, stamp: float) -> None:
        self._kept.append((self.now, link, frame, stamp))
        while self._kept[0][0] < self.now - self.keeps:
            self._kept.popleft()

    def _carry(self, at: float, receiver: SimNode, link: int, frame: bytes, stamp: float | None) -> None:
        is_genuine = not self.corrupt or self.random.random() >= self.corrupt
        if not is_genuine:
            frame = self.damaged(frame)
        restarts = self.restarts[link]
        if receiver.lag:
            at += receiver.lag - at % receiver.lag
        heappush(
            self._heap,
            (at, next(self._order), lambda: receiver.arrive(link, restarts, frame, is_genuine, stamp)),
        )

    def damaged(self, frame: bytes) -> bytes:
        """The frame cut short, with one bit flipped, or garbage instead of it."""
        kind = self.random.randrange(4)
        if kind == 0:
            return frame[: self.random.randrange(len(frame))]
        if kind == 1:
            return self.random.randbytes(self.random.randrange(200))
        bit = self.random.randrange(len(frame) * 8)
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        return bytes(damaged)
