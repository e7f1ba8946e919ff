"""One node of the protocol: log, peers, outlets. Frames in, frames out, time as an argument.

The caller (bus.py, or SimNetwork) drives it with five calls:
    append(event)                   publish one encoded event
    receive(outlet, frame, now)     a frame came in; True = something may be waiting to be sent now
    next_frame(outlet, now)         what to send next on this link, or None
    land(outlet, now)               the oldest frame in flight is confirmed
    tick(now)                       about every 50 ms, also when nothing happens
What comes of it goes to the sink, in order. The engine never raises on anything that a peer sent:
what is wrong is counted in `refused` and otherwise as if never received.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bus.protocol import control, frame as wire
from bus.protocol.beat import compose
from bus.protocol.catalog import Catalog
from bus.protocol.control import Entry, Heartbeat
from bus.protocol.frame import BYE, DATA, HEARTBEAT, HELLO, OBSERVER, REPORT, REQUEST, TYPES, FrameError
from bus.protocol.ledger import Ledger
from bus.protocol.log import Log
from bus.protocol.names import Names
from bus.protocol.outlet import HEARTBEAT_INTERVAL, REPEAT_SHARE, Outlet, Sizes
from bus.protocol.peer import DOWN, TOLD, Hold, Peer, Sink
from bus.protocol.repair import Repair
from bus.protocol.seal import Guard
from bus.signals import Down, Duplicate, Restarted, Resync, Up

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.protocol.frame import Header
    from bus.protocol.limits import Limits
    from bus.protocol.seal import Sealer

MAX_STEP = 0.5
STALE = 30.0


class Engine:
    """All rules of the protocol for one node; see the module for how it is driven."""

    def __init__(
        self, node: str, epoch: int, limits: Limits, sink: Sink, now: float,
        random: Callable[[int], int], observer: bool = False, seal: Sealer | None = None,
    ) -> None:  # fmt: skip
        self.node = node
        self.epoch = epoch
        self.observer = observer
        self.generation = 0
        self.refused: Counter[str] = Counter()
        self.log: Log = Log(epoch, limits)
        self.append: Callable[[bytes], int] = self.log.append
        self.outlets: list[Outlet] = []
        self.peers: dict[int, Peer] = {}
        self._limits = limits
        self._sink = sink
        self._random = random
        self._born = now
        self._ticked = now
        self._counter = 0
        self._hold = Hold(limits.hold_bytes)
        self._repair = Repair(self.log, self.outlets)
        self.ledger: Ledger = Ledger(self.log, self.peers, self._repair)
        self.catalog: Catalog = Catalog(self.log, self._repair, self.peers, random, asks=not observer)
        self._names = Names()
        self._names.beat(node, epoch, now)
        # Peers that the clocks still run for; the dead and the departed cost nothing per tick.
        self._live: dict[int, Peer] = {}
        # Who speaks no version of ours: epoch -> name.
        self.foreign: dict[int, str] = {}
        self._seal = seal
        self._guard = Guard(seal, self.outlets, self.peers) if seal is not None else None

    # -- links -------------------------------------------------------------------------------------

    def attach(self, sizes: Sizes) -> Outlet:
        """Add a link. Its cursor starts where the furthest one stands (rule 2)."""
        outlet = Outlet(sizes, self._random(1 << 16), self._seal)
        outlet.cursor = max((other.cursor for other in self.outlets), default=self.log.first)
        self.outlets.append(outlet)
        self._resize()
        return outlet

    def detach(self, outlet: Outlet) -> None:
        """Take a link away for good."""
        outlet.is_up = outlet.is_ready = False
        self.outlets.remove(outlet)
        self._resize()

    def up(self, outlet: Outlet) -> None:
        """A connection was made and is positioned."""
        outlet.up(self.log.newest_us)

    def down(self, outlet: Outlet) -> None:
        """The connection is gone. Twice the death of a link while in flight = too large for it (rule 16)."""
        for seq in outlet.down():
            self.log.bury(seq)
        self._resize()

    def land(self, outlet: Outlet, now: float) -> None:
        """The server confirmed the oldest frame in flight (or `send` returned, where nothing confirms)."""
        before = outlet.limit
        outlet.land(now)
        if outlet.limit != before:
            self._resize()

    def _resize(self) -> None:
        self.log.resize(min((outlet.limit for outlet in self.outlets), default=65_536))

    @property
    def expects_peers(self) -> bool:
        """Somebody was heard who neither said goodbye nor was told lost."""
        if self._guard is not None and self._guard.expects_peers:
            return True
        return any(not peer.is_bye for peer in self._live.values())

    # -- out ---------------------------------------------------------------------------------------

    def next_frame(self, outlet: Outlet, now: float) -> bytes | None:
        """The next frame for this link: control first, then a share of repeats, then data (rules 3, 9)."""
        if outlet.is_beat_due:
            return outlet.launch(self._heartbeat(outlet, now), now, is_beat=True)
        if outlet.is_shut:
            return None
        if self._repair.asking:
            request = self._repair.request(outlet)
            if request is not None and not self.observer:  # which gives up as others do, but asks nobody
                asked = wire.pack(REQUEST, 0, self.epoch, self.log.stamp(now), control.encode(request))
                return outlet.launch(asked, now)
        if outlet.types_told != self.catalog.ours.digest:
            self.catalog.tell(outlet, now)
        if (waiting := outlet.next_control()) is not None:
            kind, body = waiting
            return outlet.launch(wire.pack(kind, 0, self.epoch, self.log.stamp(now), body), now)
        if (question := self.catalog.ask(outlet, now)) is not None:
            return outlet.launch(question, now)
        log, room = self.log, outlet.room(now)
        is_done = outlet.cursor > log.last
        is_idle = is_done or (outlet.cursor > log.lane.base and outlet.gathers(now))
        if outlet.repeats and (is_idle or outlet.frames_since_repeat + 1 >= REPEAT_SHARE):
            outlet.frames_since_repeat = 0
            frames = self._repair.repeats(outlet, now)
            if not outlet.repeats and outlet.beat_after_repeats:
                outlet.beat_after_repeats, outlet.beat_in = False, 0.0
            if frames:
                return outlet.launch(wire.as_repeat(*frames), now)
        if not is_idle:
            entry = log.take(outlet.cursor, room, now)
            if entry is None:  # all of it grew too old while the link was away
                outlet.cursor = log.last + 1
                return self.next_frame(outlet, now)
            if entry.size > outlet.sizes.max_message:
                log.bury(entry.first)
                return self.next_frame(outlet, now)
            outlet.frames_since_repeat += 1
            frame, last = entry.frame, entry.last
            if last < log.last and (rest := list(log.following(entry, room, now))):
                frame, last = wire.joined([frame, *(one.frame for one in rest)]), rest[-1].last
            outlet.cursor = last + 1
            return outlet.launch(frame, now, entry.first, last)
        if outlet.byes and is_done:
            outlet.byes -= 1
            return outlet.launch(self._heartbeat(outlet, now, BYE), now)
        return None

    def say_bye(self) -> None:
        """Every link that is up says goodbye twice, after its last data (rule 7)."""
        for outlet in self.outlets:
            outlet.byes = 2 if outlet.is_up else 0

    def _heartbeat(self, outlet: Outlet, now: float, flags: int = 0) -> bytes:
        self._counter += 1
        if self._names.beat(self.node, self.epoch, now) is not None:
            self._judge_name(self.node)
        if outlet.hello:
            flags |= HELLO
        if self.observer:
            flags |= OBSERVER
        outlet.beat_in, outlet.beat_at = HEARTBEAT_INTERVAL, now
        named = self._guard.choose(outlet, bool(self._live)) if self._guard is not None else []
        chosen = outlet.choose(list(self._live.values()), control.MAX_ENTRIES - len(named))
        state = Heartbeat(
            name=self.node, counter=self._counter, uptime_us=int((now - self._born) * 1e6),
            last=self.log.last, held=self.log.first, sent=outlet.cursor - 1,
            digest=self.catalog.digest_on(outlet), generation=self.generation,
        )  # fmt: skip
        body = compose(state, outlet, chosen, named)
        return wire.pack(HEARTBEAT, flags, self.epoch, self.log.stamp(now), body)

    # -- in ----------------------------------------------------------------------------------------

    def receive(self, outlet: Outlet, frame: bytes, now: float, stamp: float | None = None) -> bool:
        """Take one frame; `stamp` is the broker's timestamp in seconds. True = look for work to send."""
        try:
            header = wire.parse(frame)
            if header.epoch == self.epoch:
                if (
                    stamp is not None or not outlet.echoed if self._guard is None
                    else self._guard.is_ours(header, frame)
                ):  # fmt: skip
                    outlet.echo(header.sent_us, self.log.newest_us, stamp)
                self.refused["own"] += 1
                return False
            if stamp is not None and stamp < outlet.echo_stamp - STALE:
                raise FrameError("stale")
            if self._guard is None:
                wire.check(frame, header)
            else:
                frame = self._guard.open(outlet, header, frame)
            if header.kind == DATA:
                return self._receive_data(outlet, header, frame)
            if header.kind == HEARTBEAT:
                self._receive_heartbeat(outlet, header, control.read_heartbeat(frame), now)
            elif header.kind == REQUEST:
                # Who is unknown may be anybody, and many: they share one turn.
                asker = header.epoch if header.epoch in self.peers else 0
                self._repair.answer(outlet, asker, control.read_request(frame), now)
            elif header.kind == REPORT:
                self.ledger.receive(outlet, header.epoch, control.read_report(frame), now)
            elif header.kind == TYPES:
                body = control.read_types(frame)
                self.catalog.receive(outlet, header.epoch, header.sent_us, body, now)
            else:
                raise FrameError("kind")
        except FrameError as error:
            self.refused[error.reason] += 1
            return False
        return True

    def _receive_data(self, outlet: Outlet, header: Header, frame: bytes) -> bool:
        peer = self.peers.get(header.epoch)
        if peer is None:
            raise FrameError("unknown")
        self._heard(peer, outlet, header)
        peer.data(header, frame)
        if peer.is_unjudged:
            self.catalog.want(peer)
        if peer.next <= peer.target:
            self._repair.asking[peer.epoch] = peer
            return True
        return False

    def _heard(self, peer: Peer, outlet: Outlet, header: Header) -> None:
        if header.sent_us > peer.newest_us:
            peer.newest_us = header.sent_us
            peer.via = outlet
        elif self._guard is not None:
            return  # perhaps a recording: it says nothing about now
        peer.unheard = peer.silent = 0.0
        if peer.epoch not in self._live:
            self._live[peer.epoch] = peer
        if peer.is_down and not peer.is_bye:
            peer.is_down = False
            self._raise(peer)

    def _raise(self, peer: Peer) -> None:
        if peer.node not in self._names.up:
            self._names.up[peer.node] = peer.epoch
            self._sink.change(Up(peer.node, peer.epoch))

    def _lower(self, peer: Peer) -> None:
        peer.is_down, peer.lists_us = True, False
        if self._names.up.get(peer.node) == peer.epoch:
            del self._names.up[peer.node]
            self._sink.change(Down(peer.node, peer.epoch))

    def _receive_heartbeat(self, outlet: Outlet, header: Header, beat: Heartbeat, now: float) -> None:
        if header.flags & HELLO:
            outlet.beat_soon(now)
        # What we never sent nobody can have heard: believed, it would stand above all that is true.
        named, ours = self._ours(beat.strangers), self._ours(beat.entries)
        is_listed = bool(named or ours) and outlet.is_listed(max(entry.sent_us for entry in named + ours))
        if (guard := self._guard) is not None:
            if header.epoch not in self.peers and not guard.admit(outlet, header, named + ours, now):
                if header.flags & OBSERVER:
                    return
                raise FrameError("stranger")
            guard.greet(outlet, header.epoch, now, again=bool(named))
        if header.flags & OBSERVER:
            return
        if beat.min_version > wire.VERSION or beat.max_version < wire.VERSION:
            self._refuse_version(header.epoch, beat.name)
            return
        peer = self.peers.get(header.epoch)
        is_new = peer is None
        if peer is None:
            peer = self._meet(header.epoch, beat, now)
        outlet.heard = True
        # Nobody lists an observer: that it hears is all the proof of a link that it can have (rule 10).
        outlet.listed |= self.observer
        if is_listed:
            outlet.listed_by.add(peer.epoch)
        if header.sent_us > outlet.heard_of.get(peer.epoch, (0, 0))[1]:
            outlet.heard_of[peer.epoch] = (int(now * 1e6), header.sent_us)
        if header.sent_us > peer.beat_us and not peer.is_bye:
            # A late goodbye does not take the name back from its successor.
            if is_new or not header.flags & BYE:
                if (old := self._names.beat(peer.node, peer.epoch, now)) is not None:
                    self._succeed(peer, old, is_new)
                self._raise(peer)
            for entry in ours:
                peer.lists(entry, header.sent_us, now)
        digest = peer.digest
        peer.born = min(peer.born, now - beat.uptime_us / 1e6)
        peer.beat(beat, header.sent_us, bool(header.flags & BYE))
        if peer.digest != digest:
            self.catalog.look(peer)
        self._heard(peer, outlet, header)
        if peer.is_bye and not peer.is_down:
            self._lower(peer)
        if peer.in_hole:
            self._repair.asking[peer.epoch] = peer

    def _ours(self, entries: list[Entry]) -> list[Entry]:
        return [
            entry for entry in entries if entry.epoch == self.epoch
            and entry.sent_us <= self.log.newest_us and entry.position <= self.log.last
        ]  # fmt: skip

    def _meet(self, epoch: int, beat: Heartbeat, now: float) -> Peer:
        """A new peer. Younger than us: its whole log is ours; older: from here on (rule 1)."""
        if len(self.peers) >= self._limits.epochs:
            self._forget()
        young = beat.uptime_us <= int((now - self._born) * 1e6)
        peer = Peer(beat, epoch, 1 if young else beat.last + 1, self._sink, self._hold)
        self.peers[epoch] = self._live[epoch] = peer
        return peer

    def _succeed(self, peer: Peer, old: int, is_new: bool) -> None:
        """Another epoch of its name was current: a restart, or one of two twins (rules 6, 13)."""
        if is_new:
            # The order that matters: the ends of old logs are told before the new one's first event.
            for other in self.peers.values():
                if other.node == peer.node and other is not peer and not other.is_bye:
                    if other.epoch == old:
                        # Told by its silence, it may have gone on unheard and died only then.
                        other.is_told = False
                    other.tell("restarted")
            former = self.peers.get(old)
            if former is not None and not former.is_bye:
                self._names.up[peer.node] = peer.epoch
                self._sink.change(Restarted(peer.node, old, peer.epoch))
        self._judge_name(peer.node)

    def _judge_name(self, name: str) -> None:
        if epochs := self._names.duplicates(name):
            self._sink.change(Duplicate(name, epochs))

    def _refuse_version(self, epoch: int, name: str) -> None:
        self.refused["version"] += 1
        if epoch not in self.foreign:
            if len(self.foreign) >= self._limits.epochs:
                del self.foreign[next(iter(self.foreign))]
            self.foreign[epoch] = name
            self._sink.loss(Resync(name, epoch, None, "version"))

    # -- time --------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Advance all clocks. A frozen process judges nobody: a step counts at most 0.5 s (rule 5)."""
        step = min(max(0.0, now - self._ticked), MAX_STEP)
        self._ticked = now
        attended = any(outlet.is_ready for outlet in self.outlets)
        for outlet in self.outlets:
            outlet.beat_in -= step
        for peer in list(self._live.values()):
            peer.tick(step, attended, self._limits.repair_timeout)
            if peer.in_hole:
                self._repair.asking[peer.epoch] = peer
            elif peer.is_bye:
                del self._live[peer.epoch]
            if peer.is_unjudged:
                self.catalog.want(peer)
            if peer.silent >= DOWN and not peer.is_down:
                self._lower(peer)
            if peer.silent >= TOLD:
                # Who said goodbye is no longer among the live by now.
                peer.tell("silent")
                self._live.pop(peer.epoch, None)
                self._repair.asking.pop(peer.epoch, None)
        if self._guard is not None:
            self._guard.tick(step)
        self.catalog.tick(step)
        self.log.tick(now)

    def _forget(self) -> None:
        """Room for one more epoch: an ended one goes first; a live one costs a Resync."""
        victim = max(self.peers.values(), key=lambda peer: (peer.is_over, peer.is_told, peer.silent))
        if not victim.is_over:
            victim.tell("forgotten")
        victim.release()
        for table in (self.peers, self._live, self._repair.asking):
            table.pop(victim.epoch, None)
        for outlet in self.outlets:
            outlet.forget(victim.epoch)
        self._names.forget(victim.node, victim.epoch)
