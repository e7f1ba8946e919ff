"""The judge of a SimNetwork: knows what every node published, and checks all that every node is told.

Per receiver and epoch of a sender: numbers in order, none twice, none missing untold, the right content, no
echo; a younger log from its first event on; a Gap only over what really cannot be had; a Resync or Down
only of a node that was away; the end of a killed log told before its successor's first event. When all has
settled: everybody has everything, and the engines' own books say the same as ours.

Excused is what the promise and the rules themselves excuse (docs/protocol.md):
    a Gap(timeout) where the receiver's requests were cut off on every link
    losses of a sender that is dead or was closing
    a killed log whose end was told before it died, when nothing of it was heard since (rule 6: told once)
    false content with a valid checksum, which only the seal can tell from true content: counted in
    `forged_deliveries`, and only where exactly the content of `SimNetwork.forge` comes at its numbers
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import TYPE_CHECKING

import msgspec

from bus.protocol.frame import BODY_START, DATA, HEADER_SIZE, HEARTBEAT, Header
from bus.protocol.log import TOMBSTONE
from bus.protocol.outlet import MIN_FRAME
from bus.protocol.peer import DOWN, TOLD
from bus.signals import Change, Down, Duplicate, Gap, Loss, Restarted, Resync, Up
from bus.testing.truth import FORGED, Life, Received, Violation

if TYPE_CHECKING:
    from bus.protocol.peer import Peer
    from bus.testing.network import SimNetwork
    from bus.testing.simnode import SimNode

# The tick that judges counts at most 0.5 s, and a part of that was before the frame that was heard last.
STEP = 0.6

_raw = msgspec.msgpack.Decoder(list[msgspec.Raw])


class Stream:
    """What one receiver got of one epoch."""

    def __init__(self, life: Life, baseline: int, now: float) -> None:
        self.life = life
        self.next = baseline
        self.delivered = 0
        self.lost = 0
        self.taken = 0
        self.heard_at = now
        # When the last Resync was told.
        self.told_at: float = -inf

    @property
    def is_end_told(self) -> bool:
        """The log has ended, and a Resync since then says so: nothing that it said can be lost untold."""
        return self.life.end is not None and self.told_at >= self.life.ended_at


class Oracle:
    """All lives that there ever were, and the final judgement."""

    def __init__(self, net: SimNetwork) -> None:
        self.net = net
        self.lives: dict[int, Life] = {}
        self.forged_deliveries = 0

    def unsettled(self) -> list[str]:
        """What still keeps the network from being settled."""
        return [
            f"{node.name} {what} of {life.label}"
            for node in self.net.nodes.values()
            if node.is_running and not node.is_closing
            for life in self.lives.values()
            if life is not node.life and (what := self._lacks(node, life))
        ]

    def _lacks(self, node: SimNode, life: Life) -> str:
        peer = node.engine.peers.get(life.epoch)
        if life.end is not None:
            stream = node.life.witness.streams.get(life.epoch)
            # Told lost and not heard since: whether it lives cannot be known, and it is told once (rule 6).
            if stream is None or stream.is_end_told or stream.told_at >= stream.heard_at:
                return ""
            if life.end == "close" and stream.next > life.last:
                return ""
            return "was not told the end"
        if peer is None:
            return "knows nothing"
        if peer.next != life.last + 1 or peer.in_hole:
            return f"is at {peer.next - 1}, target {peer.target}, of {life.last}"
        if peer.is_told or peer.is_down:
            return "still misses a newer heartbeat"
        if node.life.witness.up.get(life.node) != life.epoch and not self.net.has_twins(life.node):
            return "was not told the rise"
        return ""

    def balance(self) -> None:
        """Compare the engines' books with ours. Raises Violation."""
        for node in self.net.nodes.values():
            if node.is_running:
                for epoch, stream in node.life.witness.streams.items():
                    if (peer := node.engine.peers.get(epoch)) is not None:
                        self._audit(node, stream, peer)
                for subscriber in node.subscribers:
                    subscriber.drain()

    def _audit(self, node: SimNode, stream: Stream, peer: Peer) -> None:
        account = peer.account()
        told = (stream.next - 1, stream.delivered, stream.lost)
        booked = (account.position, account.delivered, account.lost)
        where = f"{node.name} of {stream.life.label}"
        if told != booked:
            raise Violation(f"{where}: (position, delivered, lost) booked {booked}, told {told}")
        if stream.told_at == -inf:
            if account.baseline + account.delivered + account.lost != account.position + 1:
                raise Violation(f"{where}: the ledger does not balance: {account}")
            # Every event that came in was delivered, was a duplicate, or waits; or there was no room.
            waiting = stream.taken - account.delivered - account.duplicates
            has_room = self.net.limits.hold_bytes >= 1 << 20
            if waiting != 0 and has_room and not peer.in_hole and not stream.life.forged:
                raise Violation(f"{where}: {waiting} events came in and are in no book: {account}")


class Witness:
    """The sink of one engine: checks every item while it comes, then hands it to the application."""

    def __init__(self, oracle: Oracle, node: SimNode) -> None:
        self.streams: dict[int, Stream] = {}
        # Node name -> the epoch that was told as up.
        self.up: dict[str, int] = {}
        self._oracle = oracle
        self._net = oracle.net
        self._node = node
        self._life = node.life
        # No event that fits into a frame of this size is ever too large.
        self._smallest = min(MIN_FRAME, oracle.net.sizes.frame, oracle.net.sizes.max_message)

    # -- what the engine is given ------------------------------------------------------------------

    def arriving(self, frame: bytes) -> None:
        """An undamaged frame is about to be handed to the engine."""
        epoch = int.from_bytes(frame[8:16], "little")
        if epoch in self._life.engine.peers and frame[3] in (DATA, HEARTBEAT):
            stream = self._stream(epoch)
            # With a key, what is no news may be a recording, and says nothing about now (rule 18).
            newest_us = self._life.engine.peers[epoch].newest_us
            if not self._net.keys or int.from_bytes(frame[24:32], "little") > newest_us:
                stream.heard_at = self._net.now
            if frame[3] == DATA:
                stream.taken += frame[6] | frame[7] << 8

    # -- what it says ------------------------------------------------------------------------------

    def events(self, peer: Peer, header: Header, frame: bytes, skip: int) -> bool:
        """Events of one frame. True: not before it is known what they look like."""
        if self._net.typed and not peer.is_final:
            if peer.types is None:
                return True
            if peer.node not in peer.types:
                self._fail(self._stream(header.epoch).life, f"is judged by the types {list(peer.types)}")
        first, last = header.first_seq + skip, header.first_seq + header.count - 1
        stream = self._stream(header.epoch)
        life = stream.life
        if first != stream.next or last < first:
            self._fail(life, f"events {first}-{last} where {stream.next} was due")
        if stream.next == 1 or not stream.delivered:
            self._check_former(life)
        true = life.events[header.first_seq - 1 : last]
        if frame[BODY_START:] == b"".join(true) and len(true) == header.count:
            bodies = life.bodies
            batch = [Received(life.node, life.epoch, n, bodies[n - 1]) for n in range(first, last + 1)]
            self._hand_over(batch, len(frame))
        else:
            self._one_by_one(life, first, _raw.decode(frame[HEADER_SIZE:])[skip:])
        stream.next = last + 1
        stream.delivered += last - first + 1
        return False

    def loss(self, loss: Loss) -> None:
        """A Gap or a Resync."""
        assert isinstance(loss, Gap | Resync)
        if isinstance(loss, Resync) and loss.reason == "version":
            pass
        elif isinstance(loss, Gap):
            self._gap(loss)
        else:
            self._resync(loss)
        self._node.received.append(loss)
        for subscriber in self._node.subscribers:
            subscriber.tell(loss)

    def change(self, change: Change) -> None:
        """A change of membership: up and down alternate, and nobody is called down without cause."""
        self._node.changes.append(change)
        if isinstance(change, Duplicate):
            if not self._net.has_twins(change.node):
                raise Violation(f"{self._net.now:.3f} s: {self._life.label} is told {change}")
            return
        if isinstance(change, Restarted):
            self._stream(change.new)
            self.up[change.node] = change.new
            return
        assert isinstance(change, Up | Down)
        stream = self._stream(change.epoch)
        if isinstance(change, Up):
            if change.node in self.up:
                self._fail(stream.life, f"{change}, but {self.up[change.node]} is up")
            self.up[change.node] = change.epoch
        elif self.up.pop(change.node, None) != change.epoch:
            self._fail(stream.life, f"{change}, but it was not up")
        if isinstance(change, Down) and stream.life.end is None:
            if self._net.now - stream.heard_at < DOWN - STEP:
                self._fail(stream.life, f"Down, but heard {self._net.now - stream.heard_at:.1f} s ago")
            if not self._net.was_away(stream.life.place, self._node.name, 12 + self._unattended(12)):
                self._fail(stream.life, "Down, but nothing kept it from being heard")

    # -- judgement ---------------------------------------------------------------------------------

    def _fail(self, life: Life, what: str) -> None:
        raise Violation(f"{self._net.now:.3f} s: {self._life.label} of {life.label}: {what}")

    def _stream(self, epoch: int) -> Stream:
        stream = self.streams.get(epoch)
        if stream is not None:
            return stream
        life = self._oracle.lives.get(epoch)
        if life is None:
            raise Violation(f"{self._net.now:.3f} s: {self._life.label} made up the epoch {epoch}")
        if life is self._life:
            self._fail(life, "echo of its own log")
        baseline = self._life.engine.peers[epoch].baseline
        # No history from before our birth, but for what a late heartbeat cannot know (rule 1).
        slack = self._net.longest_delay + self._node.lag + self._unattended(1e9)
        before = bisect_right(life.times, self._life.born - slack)
        if life.born >= self._life.born and baseline != 1:
            self._fail(life, f"a younger log starts at {baseline}")
        if not before < baseline <= life.last + 1:
            self._fail(life, f"starts at {baseline}, {before} events are older than the receiver")
        stream = self.streams[epoch] = Stream(life, baseline, self._net.now)
        return stream

    def _check_former(self, life: Life) -> None:
        """The end of a killed log is told before its successor's first event (rule 6)."""
        for former in self.streams.values():
            # Streams are in the order in which their epochs were met.
            if former.life is life:
                return
            if former.life.node == life.node and former.life.end == "crash" and not former.is_end_told:
                self._fail(life, f"first event before the end of {former.life.label} was told")

    def _one_by_one(self, life: Life, first: int, raws: list[msgspec.Raw]) -> None:
        for seq, raw in enumerate(raws, first):
            event = bytes(raw)
            true = life.events[seq - 1] if seq <= life.last else b""
            if event == true:
                self._hand_over([Received(life.node, life.epoch, seq, life.bodies[seq - 1])], len(event))
            elif event == TOMBSTONE and len(true) > self._smallest - BODY_START:
                gap = Gap(life.node, life.epoch, ((seq, seq),), "too_large_for_link")
                self._node.received.append(gap)
                for subscriber in self._node.subscribers:
                    subscriber.tell(gap)
            elif event == FORGED and any(low <= seq <= high for low, high in life.forged):
                self._oracle.forged_deliveries += 1
                self._hand_over([Received(life.node, life.epoch, seq, "forged")], len(event))
            else:
                self._fail(life, f"wrong content of {seq}: {event[:40]!r}")

    def _hand_over(self, batch: list[Received], size: int) -> None:
        self._node.received += batch
        for subscriber in self._node.subscribers:
            subscriber.offer(batch, size)

    def _gap(self, gap: Gap) -> None:
        stream = self._stream(gap.epoch)
        life, log = stream.life, stream.life.engine.log
        for first, last in gap.ranges:
            if first != stream.next or last < first or last > life.last:
                self._fail(life, f"{gap} where {stream.next} was due and {life.last} are published")
            stream.next = last + 1
            stream.lost += last - first + 1
        if gap.reason == "gone":
            if gap.ranges[-1][1] >= log.first:
                self._fail(life, f"{gap}, but the log holds {log.first}-{log.last}")
        elif gap.reason == "ended":
            if life.end != "close":
                self._fail(life, f"{gap} of a sender that did not say goodbye")
        elif gap.reason != "timeout":
            self._fail(life, f"{gap}: the core does not know this reason")
        elif life.end is None and not self._net.was_cut(
            self._node.name, life.place, 15 + self._unattended(15)
        ):
            self._fail(life, f"{gap}, but nothing kept our requests from it")

    def _resync(self, resync: Resync) -> None:
        assert resync.epoch is not None
        stream = self._stream(resync.epoch)
        life = stream.life
        if resync.reason == "implausible":
            if not life.forged:
                self._fail(life, f"{resync} without forgery")
            assert resync.after is not None
            stream.next = resync.after + 1
        elif resync.after != stream.next - 1:
            self._fail(life, f"{resync} where {stream.next} was due")
        if resync.reason == "silent" and life.end is None:
            if self._net.now - stream.heard_at < TOLD - STEP:
                self._fail(life, f"{resync}, but heard {self._net.now - stream.heard_at:.1f} s ago")
            if not self._net.was_away(life.place, self._node.name, 32 + self._unattended(32)):
                self._fail(life, f"{resync}, but nothing kept it from being heard")
        if resync.reason == "restarted" and not any(
            other.node == life.node and other is not life for other in self._oracle.lives.values()
        ):
            self._fail(life, f"{resync} of the only epoch of that name")
        stream.told_at = self._net.now

    def _unattended(self, within: float) -> float:
        """Seconds that this node was frozen lately: its own clocks did not run then."""
        life = self._life
        return life.frozen_for if self._net.now - life.thawed_at <= within else 0.0
