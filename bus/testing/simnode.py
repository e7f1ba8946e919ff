"""One node of a SimNetwork: an engine that can be frozen, killed, restarted and closed.

It does for the engine what the bus does in real life: ticks, connects, pumps frames out, hands frames
in, and, where the network asks for proof, drives a lifecycle per link. A restart is a new epoch under the
same name.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from bus.protocol.engine import STALE
from bus.protocol.frame import DATA, HEARTBEAT, REPEAT, REPORT, REQUEST, SEAL_SIZE, TYPES
from bus.seal import Seal
from bus.signals import Change, Loss
from bus.testing.oracle import Witness
from bus.testing.subscriber import Subscriber
from bus.testing.truth import Life, Received, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bus.protocol.engine import Engine
    from bus.protocol.inbox import DropPolicy
    from bus.protocol.lifecycle import Lifecycle
    from bus.protocol.outlet import Outlet
    from bus.testing.network import SimNetwork

# With seal (rule 9): what is sent in the clear is smaller by that.
LARGEST_HEARTBEAT = 512
_KINDS = {DATA: "data", HEARTBEAT: "heartbeat", REQUEST: "request", REPORT: "report", TYPES: "types"}

encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode


class SimLink:
    """One link of one node: its outlet, its lifecycle if any, and which connection this is."""

    def __init__(self, outlet: Outlet, lifecycle: Lifecycle | None) -> None:
        self.outlet = outlet
        self.lifecycle = lifecycle
        self.connections = 0
        # The connection broke while the process was frozen: it finds out when it runs again.
        self.is_broken = False


class SimTypes:
    """The event types of one node: one, that all of its name have."""

    def __init__(self, name: str) -> None:
        self.described: dict[int | str, bytes] = {name: encode([[name, "int", True]])}
        self.digest: int = crc32(name.encode()) + 1


class SimNode:
    """Made by `SimNetwork`. `received` and `changes` are what its application was told, over all epochs."""

    engine: Engine
    life: Life

    def __init__(self, net: SimNetwork, name: str, alias: str, keys: Sequence[bytes] = ()) -> None:
        self.net = net
        self.name = name
        self.alias = alias
        self.keys: tuple[bytes, ...] = tuple(keys)
        self.seal: Seal | None = None
        self.received: list[Received | Loss] = []
        self.changes: list[Change] = []
        self.subscribers: list[Subscriber] = []
        self.links: list[SimLink] = []
        self.lives: list[Life] = []
        # Frames sent, by kind: "data", "repeat", "heartbeat", "request", "report".
        self.sent: Counter[str] = Counter()
        self.is_running: bool = False
        self.is_frozen: bool = False
        self.is_closing: bool = False
        # Seconds between two looks at the network: a slow node finds its frames late, and many at once.
        self.lag: float = 0.0
        # (receiver, link) -> arrival of the last frame, so that one connection keeps the order.
        self.arrivals: dict[tuple[str, int], float] = {}
        self._ahead = net.random.uniform(1, 1e6)
        self._backlog: list[tuple[int, bytes, bool, float | None]] = []
        self._keep: int | None = None

    @property
    def clock(self) -> float:
        """Its own monotonic clock."""
        return self.net.now + self._ahead

    @property
    def epoch(self) -> int:
        """The epoch of its present or last run."""
        return self.life.epoch

    # -- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Run with a new epoch and an empty log."""
        net = self.net
        epoch = net.random.getrandbits(64)
        self.life = Life(self.name, self.alias, epoch, net.now)
        witness = Witness(net.oracle, self)
        self.seal = Seal(self.keys, "bus.sim", epoch, net.random.randbytes) if self.keys else None
        self.engine = self.life.engine = net.core.engine(
            self.alias, epoch, net.limits, witness, self.clock, net.random.randrange, seal=self.seal
        )
        if net.typed:
            self.engine.catalog.ours = SimTypes(self.alias)
        self.life.witness = witness
        self.lives.append(self.life)
        net.oracle.lives[epoch] = self.life
        self.is_running, self.is_frozen, self.is_closing = True, False, False
        self.links = [
            SimLink(
                self.engine.attach(net.sizes),
                net.core.lifecycle(net.proof, net.random.uniform) if net.proof else None,
            )
            for _ in net.links
        ]
        for index in range(len(self.links)):
            self.connect_soon(index, 0.02)
        life = self.life
        net.after(net.random.uniform(0, net.tick), lambda: self._ticks(life))

    def restart(self) -> None:
        """The process is started again after `crash` or `close`."""
        if not self.is_running:
            self.start()

    def crash(self) -> None:
        """SIGKILL: nothing more comes from it."""
        if self.is_running:
            self._end("crash")

    def close(self, linger: float = 0.5) -> None:
        """Say goodbye, answer requests for `linger` seconds more, then end."""
        if self.is_running and not self.is_frozen and not self.is_closing:
            self.is_closing = True
            self.life.ends("close", self.net.now)
            self.engine.say_bye()
            self.pump()
            life = self.life
            self.net.after(linger, lambda: self._end("close") if life is self.life else None)

    def _end(self, how: str) -> None:
        self.is_running = self.is_frozen = False
        self.life.ends(how, self.net.now)
        self.net.outage_ends("frozen", self.name)
        self._backlog.clear()
        # A subscription ends with the process; what it could still take must be all that was told.
        for subscriber in self.subscribers:
            subscriber.drain()
        self.subscribers = []

    def freeze(self, keep: int | None = None) -> None:
        """SIGSTOP. The server keeps the first `keep` frames for it; None: all."""
        if self.is_running and not self.is_frozen:
            self.is_frozen = True
            self._keep = keep
            self.life.froze_at = self.net.now
            self.net.outage_begins("frozen", self.name)

    def thaw(self, tick_first: bool = False) -> None:
        """SIGCONT. `tick_first`: the clock is looked at before the frames that waited."""
        if not self.is_frozen:
            return
        self.is_frozen = False
        self.life.frozen_for += self.net.now - self.life.froze_at
        self.life.thawed_at = self.net.now
        self.net.outage_ends("frozen", self.name)
        backlog, self._backlog = self._backlog, []
        if tick_first:
            self._tick()
        for index, frame, is_genuine, stamp in backlog:
            self._receive(self.links[index], frame, is_genuine, stamp)
        for index, link in enumerate(self.links):
            if link.is_broken:
                link.is_broken = False
                self.lose(index)
                self.connect_soon(index, 0.4)
        self.pump()

    def renew(self, *keys: bytes) -> None:
        """Its operator gives it other keys while it runs."""
        self.keys = keys
        assert self.seal is not None
        self.seal.renew(keys)

    # -- the application ---------------------------------------------------------------------------

    def publish(self, *bodies: object) -> int:
        """Publish in one go; returns the number of the last event."""
        for body in bodies:
            event = encode(body)
            self.life.published(event, body, self.net.now)
            if self.engine.append(event) != self.life.last:
                raise Violation(f"{self.name} numbered an event wrongly")
        self.pump()
        return self.life.last

    def subscribe(
        self, capacity: int = 65_536, max_bytes: int = 1 << 26, drop: DropPolicy = "oldest"
    ) -> Subscriber:
        """A bounded inbox on everything that this node receives from now on, until it ends."""
        inbox = self.net.core.inbox(capacity, max_bytes, drop)
        subscriber = Subscriber(f"inbox of {self.name}", inbox)
        self.subscribers.append(subscriber)
        return subscriber

    def losses(self) -> list[Loss]:
        """The losses among what was received."""
        return [item for item in self.received if isinstance(item, Loss)]

    def events(self, sender: str) -> list[Received]:
        """The events of one node among what was received."""
        return [item for item in self.received if isinstance(item, Received) and item.node == sender]

    # -- links -------------------------------------------------------------------------------------

    def unplug(self, link: int | None = None) -> None:
        """Its own connection to the server breaks and cannot be made again until `plug`."""
        for index in range(len(self.links)) if link is None else (link,):
            self.net.outage_begins("unplugged", self.name, index)
            self.lose(index)

    def plug(self, link: int | None = None) -> None:
        """The network cable is back."""
        for index in range(len(self.links)) if link is None else (link,):
            self.net.outage_ends("unplugged", self.name, index)
            self.connect_soon(index, 0.4)

    def connect_soon(self, index: int, within: float) -> None:
        """Try to connect at a random moment; a lifecycle that is in BACKOFF has its own plan."""
        if self.is_running:
            link = self.links[index]
            if link.lifecycle is None or link.lifecycle.state == "CONNECTING":
                self.net.after(self.net.random.uniform(0, within), lambda: self._connect(index, link))

    def lose(self, index: int) -> None:
        """The connection breaks."""
        link = self.links[index]
        if not self.is_running or not link.outlet.is_up:
            return
        if self.is_frozen:
            link.is_broken = True
            return
        self.engine.down(link.outlet)
        if link.lifecycle is not None:
            link.lifecycle.lost(fatal=False)

    def _connect(self, index: int, link: SimLink) -> None:
        if link is not self.links[index] or not self.is_running or link.outlet.is_up:
            return
        if self.is_frozen:
            self.net.after(0.1, lambda: self._connect(index, link))
        elif self._reaches(index):
            link.connections += 1
            self.engine.up(link.outlet)
            if link.lifecycle is None:
                link.outlet.is_ready = True
            else:
                link.lifecycle.connected()
            self.pump()
        elif link.lifecycle is not None:
            link.lifecycle.lost(fatal=False)

    def _reaches(self, index: int) -> bool:
        return self.net.is_broker_up(index) and not self.net.is_out("unplugged", self.name, index)

    def _prove(self, index: int, link: SimLink, lifecycle: Lifecycle, step: float) -> None:
        """What the supervisor does on every tick (rule 10)."""
        outlet = link.outlet
        lifecycle.evidence(
            proven=outlet.echoed if self.net.proof == "echo" else outlet.is_up,
            heard=outlet.heard,
            listed=outlet.listed,
        )
        outlet.echoed = outlet.heard = outlet.listed = False
        action = lifecycle.tick(step, expects_peers=self.engine.expects_peers)
        # By name: a changed core has an Action of its own.
        if action.name == "REBUILD":
            self.engine.down(outlet)
        elif action.name == "CONNECT":
            self.net.after(0.01, lambda: self._connect(index, link))
        outlet.is_ready = lifecycle.state == "READY"

    # -- what the bus does -------------------------------------------------------------------------

    def _ticks(self, life: Life) -> None:
        if life is not self.life or not self.is_running:
            return
        if not self.is_frozen:
            self._tick()
        self.net.after(self.net.tick, lambda: self._ticks(life))

    def _tick(self) -> None:
        self.engine.tick(self.clock)
        for index, link in enumerate(self.links):
            if link.lifecycle is not None:
                self._prove(index, link, link.lifecycle, self.net.tick)
        self.pump()

    def arrive(
        self,
        index: int,
        restarts: int,
        frame: bytes,
        is_genuine: bool = True,
        stamp: float | None = None,
    ) -> None:
        """A frame reaches this node, if the server is still the one that it was sent to."""
        if not self.is_running or restarts != self.net.restarts[index]:
            return
        link = self.links[index]
        if not link.outlet.is_up or link.is_broken:
            return
        if not self.is_frozen:
            self._receive(link, frame, is_genuine, stamp)
        elif self._keep is None or len(self._backlog) < self._keep:
            self._backlog.append((index, frame, is_genuine, stamp))

    def _receive(self, link: SimLink, frame: bytes, is_genuine: bool, stamp: float | None) -> None:
        if is_genuine and (stamp is None or stamp >= link.outlet.echo_stamp - STALE):
            self.life.witness.arriving(frame)
        if self.engine.receive(link.outlet, frame, self.clock, stamp):
            self.pump()

    def pump(self) -> None:
        """Send what there is to send."""
        if not self.is_running or self.is_frozen:
            return
        net, engine, now = self.net, self.engine, self.clock
        for index, link in enumerate(self.links):
            outlet = link.outlet
            while (frame := engine.next_frame(outlet, now)) is not None:
                room = LARGEST_HEARTBEAT if self.seal is not None else LARGEST_HEARTBEAT - SEAL_SIZE
                if len(frame) > room and frame[3] == HEARTBEAT:
                    raise Violation(f"{self.name} sends a heartbeat of {len(frame)} bytes")
                self._check_stamp(frame)
                self.sent[_KINDS[frame[3]] if not frame[4] & REPEAT else "repeat"] += 1
                net.transmit(self, index, frame)
                if net.confirm:
                    self._land_later(link, self.life)
                else:
                    engine.land(outlet, now)

    def _check_stamp(self, frame: bytes) -> None:
        """`sent_us` strictly increases (rule 8); data keeps the stamp of when it was made."""
        sent_us = int.from_bytes(frame[24:32], "little")
        if frame[3] != DATA and sent_us <= self.life.newest_us:
            raise Violation(f"{self.name} stamps two frames with {sent_us}")
        self.life.newest_us = max(self.life.newest_us, sent_us)

    def _land_later(self, link: SimLink, life: Life) -> None:
        connection = link.connections

        def land() -> None:
            if life is self.life and link.outlet.is_up and connection == link.connections:
                if self.is_frozen:
                    self.net.after(0.1, land)
                    return
                self.engine.land(link.outlet, self.clock)
                self.pump()

        self.net.after(self.net.confirm, land)
