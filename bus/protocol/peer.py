"""The receiver's half of one epoch: put its log together again, or say exactly what is missing.

Two numbers of ours, two of its newest word, and three clocks of attended time (rules 1-8):
    next     next number to deliver
    target   highest number that must have come; `next <= target` is a hole, the only recovery there is
    last     highest number that it has published, by its newest heartbeat
    held     lowest number that it can still repeat, by its newest heartbeat
    silent   seconds since any frame of it was heard, while we were READY; judges Down and told
    unheard  the same, READY or not: a sender that is not there cannot be waited for
    stuck    seconds without progress in a hole, while it is heard; judges Gap(timeout)

A frame at or below `next` is delivered (the overlap is dropped from the header), one that is seen
is dropped, one that is ahead is held. Nothing is ever closed: a peer that was told lost and comes
back goes on in place.
"""

from __future__ import annotations

from bisect import insort
from math import inf
from typing import TYPE_CHECKING, Protocol

from bus.protocol.control import MAX_RANGES, Account
from bus.protocol.frame import MAX_SEQ, REPEAT
from bus.signals import Change, Gap, GapReason, Loss, Resync

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bus.protocol.control import Entry, Heartbeat
    from bus.protocol.frame import Header

# Seconds from one request to the next while nothing comes (rule 3); the last one repeats.
ASK_AGAIN = (0.1, 0.2, 0.4, 0.8, 1.0)
MIN_TRIES = 10
NOT_HEARD = 3.0
DOWN = 10.0
TOLD = 30.0
BYE_TIMEOUT = 1.0
# Epochs that a peer may speak of before the older half is forgotten: a forged heartbeat names any number.
MAX_HEARS = 512


class Sink(Protocol):
    """Where the core puts its results; called in stream order, must not raise."""

    def events(self, peer: Peer, header: Header, frame: bytes, skip: int) -> bool | None:
        """Deliver the events of a DATA frame, without the first `skip`.

        True: not yet, what they are is not known; they are offered again. Not where `peer.is_final`.
        """
        ...

    def loss(self, loss: Loss) -> None:
        """Tell a loss to every subscriber."""
        ...

    def change(self, change: Change) -> None:
        """Tell a change of membership."""
        ...


class Hold:
    """Bytes of all frames that wait for a hole to close, over all peers: bounded (`Limits.hold_bytes`)."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.used: int = 0


class Peer:
    """One epoch of one node, from its first heartbeat on (rule 1)."""

    def __init__(self, beat: Heartbeat, epoch: int, next_seq: int, sink: Sink, hold: Hold) -> None:
        self.node: str = beat.name
        self.epoch = epoch
        self.baseline = next_seq
        self.next: int = next_seq
        self.target: int = next_seq - 1
        self.last: int = 0
        self.held: int = 1
        # When its newest heartbeat was sent, and its newest frame of any kind.
        self.beat_us: int = -1
        self.newest_us = 0
        self.via: object = None
        self.unheard: float = 0.0
        self.silent: float = 0.0
        self.stuck: float = 0.0
        self.ask_in: float = 0.0
        self.tries: int = 0
        self.is_down = False
        self.is_told: bool = False
        self.is_bye: bool = False
        self.lists_us: bool = False
        self.uptime_us: int = 0
        # When it was started, by the clock of this node; what travelled fastest is nearest to the truth.
        self.born = inf
        self.digest: int = 0
        self.generation: int = 0
        # Its event types (tag -> description), once they are known; see `catalog`.
        self.types: Mapping[int | str, bytes] | None = None
        # What the sink has found out about them; the core does not look at it, only takes it away.
        self.vetting: object = None
        self.vetted: int = -1
        # Its next events wait until their types are known; `is_final`: no longer.
        self.is_unjudged: bool = False
        self.is_final: bool = False
        self.position: int = 0  # how far it has heard us, by its own words
        self.lost_of_us: int = 0
        self.latency: float | None = None
        self.delivered: int = 0
        self.repaired: int = 0
        self.lost: int = 0
        self.duplicates: int = 0
        self.implausible: int = 0
        self.gaps: list[tuple[int, int]] = []
        self.account_of_us: Account | None = None
        # Whom it hears, by its own words: epoch -> (its stamp when it said so, what it said).
        self.hears: dict[int, tuple[int, Entry]] = {}
        self._sink = sink
        self._hold = hold
        self._held: dict[int, tuple[Header, bytes]] = {}
        self._ahead: list[int] = []

    # -- what comes in -----------------------------------------------------------------------------

    def data(self, header: Header, frame: bytes) -> None:
        """One DATA frame of this epoch."""
        end = header.first_seq + header.count
        if end - 1 > self.target:
            self.target = end - 1
        if header.first_seq <= self.next:
            if end <= self.next:
                self.duplicates += header.count
                return
            if self.is_unjudged or not self._deliver(header, frame):
                self._keep(header, frame)
                return
            if self._ahead:
                self._drain()
            self._progress()
        else:
            self._keep(header, frame)

    def beat(self, beat: Heartbeat, sent_us: int, is_bye: bool) -> None:
        """One heartbeat, in any order. `newest_us` must not yet include it (rule 8)."""
        if sent_us > self.beat_us:
            self.beat_us = sent_us
            self.is_told = False
            self.digest, self.generation = beat.digest, beat.generation
            self.uptime_us = beat.uptime_us
            # Not the highest that was ever said: an untrue heartbeat must not stand for ever.
            self.last, self.held = beat.last, beat.held
            for entry in beat.entries:
                self.hears[entry.epoch] = (sent_us, entry)
            if len(self.hears) > MAX_HEARS:
                self._forget_old_words()
        self.target = max(self.target, min(beat.sent, self.last))
        if sent_us > self.newest_us:
            self._refute()
        if is_bye and not self.is_bye:
            self.is_bye = True
            self.stuck, self.tries, self.ask_in = 0.0, 0, 0.0
        if self.is_bye:
            self.target = self.last
        if self.held > self.next:
            self._give_up(self.held - 1, "gone")
        if not self.tries:
            # Repeats came, and a heartbeat follows the last of them: ask for the rest at once.
            self.ask_in = 0.0

    def lists(self, entry: Entry, sent_us: int, now: float) -> None:
        """Its newest heartbeat, of `sent_us` by its clock, says how far it has heard us."""
        self.lists_us = True
        self.position = max(self.position, entry.position)
        self.lost_of_us = entry.lost
        # Four times of two clocks: the round trip without what the peer kept it (skew falls out).
        trip = (int(now * 1e6) - entry.sent_us) - (sent_us - entry.heard_us)
        if trip >= 0:
            self.latency = trip / 2e6

    def tick(self, step: float, attended: bool, timeout: float) -> None:
        """`step` attended seconds passed; `attended`: a link of ours was READY meanwhile (rule 5)."""
        self.unheard += step
        if attended:
            self.silent += step
        if self.next > self.target:
            return
        self.ask_in -= step
        if self.unheard < NOT_HEARD or self.is_bye:
            self.stuck += step
        if self.is_bye and self.stuck >= BYE_TIMEOUT:
            self._give_up(self.last, "ended")
        elif self.stuck >= timeout and self.tries >= MIN_TRIES:
            before_ahead = max(self._ahead[0] - 1, self.next) if self._ahead else self.target
            self._give_up(min(before_ahead, self.last), "timeout")

    def tell(self, reason: str) -> None:
        """Say once that its end is unknown: Resync. Closes nothing, but frees what was held (rule 6)."""
        self.release()
        if not self.is_told:
            self.is_told = True
            self._sink.loss(Resync(self.node, self.epoch, self.next - 1, reason))

    def release(self) -> None:
        """Free what is held: it is asked for again if the sender comes back."""
        self._drop(self._ahead)
        self._ahead = []

    def unvet(self) -> None:
        """Its event types are others than it said before."""
        self.vetting, self.vetted = None, -1

    def retry(self) -> None:
        """Its event types are known, or known better, now: what waits for that goes on."""
        self.unvet()
        self.is_final = False
        if self.is_unjudged:
            self.is_unjudged = False
            before = self.next
            self._drain()
            if self.next > before:
                self._progress()

    def spoil(self, first: int, last: int) -> None:
        """Numbers that came but hold no event: delivered before, lost now."""
        self.delivered -= last - first + 1
        self._note_lost(first, last)

    # -- what goes out -----------------------------------------------------------------------------

    @property
    def in_hole(self) -> bool:
        """Something that must have come is missing (rule 2)."""
        return self.next <= self.target

    @property
    def is_over(self) -> bool:
        """It said goodbye and nothing of it is missing."""
        return self.is_bye and not self.in_hole

    def holes(self, most: int = MAX_RANGES) -> list[tuple[int, int]]:
        """The missing ranges, inclusive, ascending."""
        ranges: list[tuple[int, int]] = []
        at = self.next
        for first in self._ahead:
            if len(ranges) == most:
                return ranges
            if first > at:
                ranges.append((at, first - 1))
            header = self._held[first][0]
            at = max(at, first + header.count)
        if at <= self.target and len(ranges) < most:
            ranges.append((at, self.target))
        return ranges

    def asked(self) -> None:
        """A request for its holes was sent: when is the next one due?"""
        self.ask_in = ASK_AGAIN[min(self.tries, len(ASK_AGAIN) - 1)]
        self.tries += 1

    def account(self) -> Account:
        """The ledger of this epoch."""
        return Account(
            self.epoch, self.baseline, self.next - 1, self.delivered, self.repaired,
            self.lost, self.duplicates, list(self.gaps),
        )  # fmt: skip

    # -- inside ------------------------------------------------------------------------------------

    def _deliver(self, header: Header, frame: bytes) -> bool:
        """False: the sink cannot judge it yet."""
        skip = self.next - header.first_seq
        if self._sink.events(self, header, frame, skip) and not self.is_final:
            self.is_unjudged = True
            return False
        count = header.count - skip
        self.duplicates += skip
        self.delivered += count
        if header.flags & REPEAT:
            self.repaired += count
        self.next += count
        return True

    def _progress(self) -> None:
        self.stuck = 0.0
        self.tries = 0
        # Repeats are on their way: ask for the rest when they have stopped coming.
        self.ask_in = ASK_AGAIN[0] if self.next <= self.target else 0.0

    def _keep(self, header: Header, frame: bytes) -> None:
        """Hold a frame that is ahead. A full hold drops it: repair fetches it again."""
        known = self._held.get(header.first_seq)
        if known is not None and known[0].count >= header.count:
            self.duplicates += header.count
            return
        if self._hold.used + len(frame) > self._hold.limit:
            return
        if known is None:
            insort(self._ahead, header.first_seq)
        else:
            self.duplicates += known[0].count
            self._hold.used -= len(known[1])
        self._held[header.first_seq] = (header, frame)
        self._hold.used += len(frame)

    def _drain(self) -> None:
        """Deliver held frames as far as they join on."""
        done = 0
        for first in self._ahead:
            if first > self.next:
                break
            header, frame = self._held[first]
            if first + header.count <= self.next:
                self.duplicates += header.count
            elif self.is_unjudged or not self._deliver(header, frame):
                break
            del self._held[first]
            self._hold.used -= len(frame)
            done += 1
        del self._ahead[:done]

    def _drop(self, firsts: list[int]) -> None:
        for first in firsts:
            self._hold.used -= len(self._held.pop(first)[1])

    def _give_up(self, upto: int, reason: GapReason) -> None:
        """Go on after `upto`: what is held is delivered, what is missing becomes a Gap, in order.

        `upto` is never above what the sender itself announced (rule 4).
        """
        while self.next <= upto:
            if not self.is_unjudged:
                self._lose(self.next, min(upto, self._ahead[0] - 1) if self._ahead else upto, reason)
            elif reason == "gone":
                return  # it is here, and only waits
            else:
                self.is_final, self.is_unjudged = True, False
            self._drain()
        self.target = max(self.target, self.next - 1)
        self._progress()

    def _lose(self, first: int, last: int, reason: GapReason) -> None:
        self._note_lost(first, last)
        self.next = last + 1
        self._sink.loss(Gap(self.node, self.epoch, ((first, last),), reason))

    def _note_lost(self, first: int, last: int) -> None:
        # Untrue heartbeats can lose the same numbers again, and heartbeats of ours carry the sum.
        self.lost = min(self.lost + last - first + 1, MAX_SEQ - 1)
        self.gaps = [*self.gaps[1 - MAX_RANGES :], (first, last)]

    def _forget_old_words(self) -> None:
        """Epochs come and go: the newer half of what it said of them is enough."""
        by_age = sorted(self.hears.items(), key=lambda said: said[1][0])
        self.hears = dict(by_age[len(by_age) // 2 :])

    def _refute(self) -> None:
        """The newest word of the sender: no number above its `last` can be true (rule 8)."""
        self.target = min(self.target, self.last)
        false = [first for first in self._ahead if first + self._held[first][0].count - 1 > self.last]
        if false:
            self.implausible += sum(self._held[first][0].count for first in false)
            self._drop(false)
            self._ahead = [first for first in self._ahead if first in self._held]
        if self.next > self.last + 1:
            self.implausible += self.next - self.last - 1
            self._sink.loss(Resync(self.node, self.epoch, self.last, "implausible"))
            self.next = self.last + 1
