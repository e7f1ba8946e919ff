"""What the engine knows of one link: the cursor into the log, what waits to be sent, what was
proven.

An outlet outlives the connections made for it: a rebuilt link goes on where the cursor stood (rule
2).
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

import msgspec

from bus.protocol.frame import HEADER_SIZE, REPORT, REQUEST, SEAL_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.protocol.log import Entry
    from bus.protocol.peer import Peer
    from bus.protocol.seal import Sealer

WINDOW = 2
MAX_BEATS = 8
# Seconds: a server that has confirmed within this time is near enough to wait for, but not for longer than
# that. See `Outlet.gathers`.
NEAR, NEAR_LIMIT = 0.002, 0.020
# Bytes of a frame of several events that only a sender in full flight makes; seconds that the next is worth.
BULK, BULK_WAIT = 8_192, 0.001
SLOW_CONFIRM = 0.250
FAST_CONFIRM = 0.050
# Below this a smaller frame helps nobody: a server that is slow whatever the size would carry nothing.
MIN_FRAME = 4_096
# Seconds of full frames on one connection before twice the size at which it lived is tried; longer each
# time that the larger size kills it.
TRUST = 10.0
MOST_TRUST = 900.0
HEARTBEAT_INTERVAL = 1.0
ANSWER_INTERVAL = 0.1
REPEAT_SHARE = 4


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a frame on one link: start and ceiling of the batching, and what it can carry at all."""

    frame: int = 65_536
    max_frame: int = 262_144
    max_message: int = 1 << 20


class Flight(msgspec.Struct, gc=False):
    """One frame handed over and not yet confirmed; `first` and `last` are 0 unless it is new data.

    `limit`: up to which size frames were made then.
    """

    first: int
    last: int
    size: int
    sent_at: float
    limit: int
    is_beat: bool = False

    @property
    def is_full(self) -> bool:
        """It makes use of the size: only of such a one what becomes of it says what a server bears."""
        return self.size * 2 > self.limit


class Outlet:
    """One link as the engine sees it."""

    def __init__(self, sizes: Sizes, rotation: int, seal: Sealer | None = None) -> None:
        self._seal = seal
        self.limit: int = sizes.frame
        # What frames grow to: after a death with large frames less than the link may carry, however fast
        # they are confirmed. A server may confirm a frame, and cut off whoever listens because of it.
        self.bound: int = sizes.max_frame
        self._trust = TRUST
        self._trusted_since: float | None = None
        self._is_trial = False
        self.fit(sizes)
        self.cursor: int = 1
        self.confirmed: int = 0
        self.is_up: bool = False
        self.is_ready: bool = False
        self.hello: bool = True
        self.beat_in: float = 0.0
        self.beat_at: float = -inf
        self.byes = 0
        # Kind and body of control frames that wait; stamped when they go (rule 8).
        self.control: deque[tuple[int, bytes]] = deque()
        # The digest of the event types that this connection was told last, and when.
        self.types_told: int = 0
        self.types_at: float = -inf
        # Asker -> the entries that it waits for, by their first numbers, descending.
        self.repeats: dict[int, list[int]] = {}
        # The union of these, without what was repeated for another asker meanwhile.
        self.unrepeated: set[int] = set()
        self.beat_after_repeats: bool = False
        self.frames_since_repeat = 0
        self.flights: deque[Flight] = deque()
        self.beats: int = 0
        # The last ones that were confirmed: a server may confirm a frame, and die of it, or cut off all
        # who listen.
        self._landed: deque[Flight] = deque(maxlen=WINDOW)
        self.fastest: float = inf
        self._next_bulk: float = -inf
        self.suspects: frozenset[int] = frozenset()
        # The newest frame of ours that came back: our stamp, and the broker's (rule 14).
        self._echo_us = 0
        self.echo_stamp: float = -inf
        # Evidence since the supervisor last looked (rule 10).
        self.echoed: bool = False
        self.heard: bool = False
        self.listed: bool = False
        # Who lists us on this link: proves it both ways, for `reconfigure` (rule 9).
        self.listed_by: set[int] = set()
        # Our `sent_us` when the connection was made, and the newest one that a peer says it has heard on it.
        self._up_us = 0
        self._proven_us = 0
        # Peer epoch -> (our time, its `sent_us`) of its newest heartbeat on this link; what we last
        # said.
        self.heard_of: dict[int, tuple[int, int]] = {}
        self.said: dict[int, int] = {}
        # (Epoch, kind) -> its newest request or report on this link, with a key (rule 18).
        self.asked: dict[tuple[int, int], int] = {}
        self._rotation = rotation

    def fit(self, sizes: Sizes) -> None:
        """The sizes of the next connection: one server may carry less than another (rule 16)."""
        if self._seal is not None:
            # What is sealed on its way out must still fit.
            sizes = Sizes(
                frame=sizes.frame, max_frame=sizes.max_frame - SEAL_SIZE,
                max_message=sizes.max_message - SEAL_SIZE,
            )  # fmt: skip
        self.sizes = sizes
        # A frame of several events never exceeds what the link carries: only a single event can.
        self._ceiling = min(sizes.max_frame, sizes.max_message)
        self.limit = min(self.limit, self._ceiling)

    def up(self, newest_us: int) -> None:
        """A new connection: it starts with HELLO; nothing is in flight, nobody was heard on it."""
        self.is_up = True
        self._up_us = self._proven_us = newest_us
        self.hello = True
        self.beat_in = 0.0
        self.types_told = 0
        self.flights.clear()
        self.beats = 0
        self._landed.clear()
        self.fastest = inf
        self.repeats.clear()
        self.unrepeated.clear()
        self.heard_of.clear()
        self.listed_by.clear()
        self.said.clear()
        self.echoed = self.heard = self.listed = False

    def echo(self, sent_us: int, newest_us: int, stamp: float | None) -> None:
        """A frame with our epoch came in; `newest_us` is the newest that we made, `stamp` the broker's.

        One from before this connection, which a broker may carry again, proves nothing (rule 10). The
        newest tells the broker's time, not the highest stamp: clocks are set back, leaders change.
        """
        if sent_us > newest_us:
            return  # not ours, whatever it says
        if sent_us > self._up_us:
            self.echoed = True
        if stamp is not None and sent_us > self._echo_us:
            self._echo_us, self.echo_stamp = sent_us, stamp

    def is_listed(self, sent_us: int) -> bool:
        """Somebody says which heartbeat of ours it heard last on this link: is that of this connection?

        One from before proves nothing, and one that was listed before is no news: who has become deaf
        goes on listing us for a while (rule 9).
        """
        if sent_us <= self._up_us:
            return False
        self.hello = False
        if sent_us > self._proven_us:
            self._proven_us = sent_us
            self.listed = True
        return True

    def down(self) -> frozenset[int]:
        """The connection is gone: halve the frames, for a while, and send again what no server confirmed.

        So is a large event that was confirmed just before. Returns the events that are too large: such a
        frame of their own, and over the size, at two losses in a row.
        """
        self.is_up = self.is_ready = False
        newest = (*self._landed, *self.flights)
        large = [
            flight for flight in newest
            if flight.first and flight.first == flight.last and flight.size > MIN_FRAME
        ]  # fmt: skip
        again = (flight.first for flight in (*large, *self.flights) if flight.first)
        self.cursor = min([self.cursor, *again])
        lone = frozenset(flight.first for flight in large if flight.size > self.limit)
        guilty = lone & self.suspects
        self.suspects = lone
        if full := [flight.limit for flight in newest if flight.is_full]:
            self.bound = max(MIN_FRAME, min(self.limit, max(full)) // 2)
            self._trust = min(MOST_TRUST, self._trust * 2) if self._is_trial else TRUST
            self._is_trial = False
        self._trusted_since = None
        self._halve()
        self.limit = min(self.limit, self.bound)
        return guilty

    @property
    def is_beat_due(self) -> bool:
        """A heartbeat is to go now.

        It does not wait for the window: what others send us may keep that closed for long, by delaying all
        confirms, and nobody would hear us.
        """
        return self.is_up and self.beat_in <= 0 and self.beats < MAX_BEATS

    @property
    def is_shut(self) -> bool:
        """It is down, or so many frames wait for their confirm that no other may go."""
        return not self.is_up or len(self.flights) - self.beats >= WINDOW

    def room(self, now: float) -> int:
        """Bytes of the next frame: few while a confirm is late, whatever the last ones said.

        What a slow link has not yet carried is in front of every heartbeat. A far server confirms all late.
        """
        is_late = self.flights and now - self.flights[0].sent_at > SLOW_CONFIRM + self.fastest
        return min(self.limit, MIN_FRAME) if is_late else self.limit

    def gathers(self, now: float) -> bool:
        """New events wait for the confirm of the last ones, unless they fill a frame.

        A busy sender then makes few large frames instead of many small ones, each of which costs the server
        and every receiver as much; a lone event still goes at once. A far server would add its way there
        and back to the latency of every second event. In full flight even a near one is too quick for large
        frames: they wait a millisecond from one to the next.
        """
        if now < self._next_bulk:
            return True
        return self.fastest < NEAR and any(
            flight.first and now - flight.sent_at < NEAR_LIMIT for flight in self.flights
        )

    def pause(self, now: float) -> float:
        """Seconds until what gathers may go, if no confirm lets it go before; 0.0 when only that does."""
        return max(0.0, self._next_bulk - now)

    def launch(
        self, frame: bytes, now: float, first: int = 0, last: int = 0, *, is_beat: bool = False
    ) -> bytes:
        """Note a frame that is being handed over, and seal it: each time anew (rule 18)."""
        self.beats += is_beat
        if last > first and len(frame) >= BULK:
            self._next_bulk = now + BULK_WAIT
        self.flights.append(Flight(first, last, len(frame), now, self.limit, is_beat))
        return frame if self._seal is None else self._seal.seal(frame)

    @property
    def control_room(self) -> int:
        """Bytes of the largest body of a control frame that the link carries."""
        return self.sizes.max_message - HEADER_SIZE

    def next_control(self) -> tuple[int, bytes] | None:
        """Kind and body of the next control frame. One that is too large would only kill the link."""
        while self.control:
            kind, body = self.control.popleft()
            if len(body) <= self.control_room:
                return kind, body
        return None

    def beat_soon(self, now: float) -> None:
        """One heartbeat answers all that was asked within a tenth of a second (rule 9)."""
        self.beat_in = min(self.beat_in, max(0.0, self.beat_at + ANSWER_INTERVAL - now))

    def land(self, now: float) -> None:
        """The oldest frame in flight is confirmed: adapt the size to what the server bears."""
        if not self.flights:
            return
        flight = self.flights.popleft()
        self.beats -= flight.is_beat
        self._landed.append(flight)
        if flight.last > self.confirmed:
            self.confirmed = flight.last
        took = now - flight.sent_at
        if took < self.fastest:
            self.fastest = took
        # A far server is slow whatever the size: smaller frames would only carry less.
        extra = took - self.fastest
        is_full = flight.size * 2 > self.limit
        if extra > SLOW_CONFIRM and is_full:
            self._halve()
        elif extra > SLOW_CONFIRM and flight.size > MIN_FRAME:
            # Slow already with this one: a larger one would hold up everybody for longer.
            self.limit = flight.size
        elif extra < FAST_CONFIRM and is_full:
            self._grow(now)

    def _halve(self) -> None:
        self.limit = min(self.limit, max(MIN_FRAME, self.limit // 2))

    def _grow(self, now: float) -> None:
        """Up to the bound at once; above it, only when the connection has lived with that for long enough."""
        if self._trusted_since is None:
            self._trusted_since = now
        if self.limit >= self.bound and now - self._trusted_since >= self._trust:
            self._is_trial = self.bound < self._ceiling
            self.bound *= 2
            self._trusted_since = now
        self.limit = min(self.bound, self._ceiling, self.limit * 2)

    def forget(self, epoch: int) -> None:
        """The epoch is no longer known."""
        for table in (self.heard_of, self.said):
            table.pop(epoch, None)
        self.listed_by.discard(epoch)
        for kind in (REQUEST, REPORT):
            self.asked.pop((epoch, kind), None)

    def queue_repeats(self, asker: int, entries: Sequence[Entry]) -> None:
        """Repeat these, then say where we stand."""
        if entries:
            firsts = {entry.first for entry in entries}
            self.unrepeated |= firsts
            # The lowest goes first: what waits behind it is held by the asker.
            self.repeats[asker] = sorted(firsts.union(self.repeats.get(asker, ())), reverse=True)
        self.beat_after_repeats = True

    def choose(self, peers: Sequence[Peer], most: int) -> list[Peer]:
        """Whom the next heartbeat lists: who is new first, then half of the changed, half in
        rotation.

        Changed ones must not take every place: in a cluster with nine busy nodes an idle one would
        never be listed, and would take itself for deaf outwards.
        """
        heard = [peer for peer in peers if peer.epoch in self.heard_of]
        if len(heard) <= most:
            return heard
        start = self._rotation % len(heard)
        ring = heard[start:] + heard[:start]
        new = [peer for peer in ring if peer.epoch not in self.said]
        changed = [peer for peer in ring if self.said.get(peer.epoch, peer.next) != peer.next]
        chosen = dict.fromkeys(new[:most])
        chosen.update(dict.fromkeys(changed[: (most - len(chosen)) // 2]))
        for peer in ring:  # pragma: no branch  # it holds more than fit
            if len(chosen) >= most:
                break
            chosen[peer] = None
            self._rotation += 1
        return list(chosen)
