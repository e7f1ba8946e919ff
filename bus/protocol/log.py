"""The numbered log of one sender: outbox and retransmission store in one.

Events are appended once and kept as finished frames (119 bytes for an event of 118; a list of
events would take 222). What was appended since a link last asked is *open*; it becomes an entry
when it fills a frame or when a link takes it, so that an idle bus sends at once and a busy one
sends full frames, without a timer. Full or too old: the oldest entries go, and receivers who still
need them see a Gap ("gone").
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import TYPE_CHECKING

import msgspec

from bus.protocol.frame import BODY_START, MAX_COUNT, TRAILER, events_of, pack_events, parse, trailer_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bus.protocol.frame import Mark
    from bus.protocol.limits import Limits

# Takes the place of an event that no link can carry (rule 16): the event with our tag 1, no fields.
TOMBSTONE = b"\x91\x01"

_raw = msgspec.msgpack.Decoder(list[msgspec.Raw])


# Bytes: what is only counted when appended, and the guess at an event before the first was seen.
LIGHT = 1_024
USUAL = 128


class Oversize(ValueError):
    """One event is larger than `Limits.event`; nothing was appended."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def _size(events: Sequence[bytes], marks: Sequence[Mark]) -> int:
    """Of the frame that they will make."""
    return BODY_START + sum(map(len, events)) + (len(trailer_of(marks)) if marks else 0)


class Lane(list[bytes]):
    """The open part of the log: events that are in no entry yet. `publish` appends here itself.

    It stays the same object. Who appends asks `Log.weigh` when it is `full` or the event is not `light`;
    otherwise the number of the event is `base` and the length.
    """

    __slots__ = ("base", "full", "light", "marks")

    def __init__(self, light: int) -> None:
        super().__init__()
        # Numbers that precede the first one here.
        self.base: int = 0
        self.full: int = 1
        # An event up to this size is only counted; a larger one is weighed when it is appended.
        self.light: int = light
        self.marks: list[Mark] = []


class Entry:
    """Consecutive events: a finished frame, or the encoded events that it will be made of."""

    __slots__ = ("count", "data", "first", "marks", "repeated", "sealed", "size", "start")

    def __init__(self, first: int, count: int, data: bytes | list[bytes], size: int, start: int) -> None:
        self.first: int = first
        self.count: int = count
        self.data: bytes | list[bytes] = data
        self.size: int = size
        # Bytes appended to the log before this entry: the difference of two is what lies between.
        self.start: int = start
        self.sealed: float = inf
        self.repeated: float = -1.0
        # The traces that some of its events belong to.
        self.marks: list[Mark] = []

    @property
    def last(self) -> int:
        """The number of the last event."""
        return self.first + self.count - 1

    @property
    def frame(self) -> bytes:
        """The finished frame; only after the log has sealed the entry."""
        assert isinstance(self.data, bytes)
        return self.data

    def events(self) -> list[bytes]:
        """The encoded events, copied out of the frame when it is one."""
        if isinstance(self.data, list):
            return self.data
        return [bytes(raw) for raw in _raw.decode(events_of(self.data, parse(self.data)))]


class Log:
    """Numbers `first` ... `last` are held; `last + 1` is the next. Nothing here ever waits."""

    def __init__(self, epoch: int, limits: Limits, frame_size: int = 65_536) -> None:
        self.epoch = epoch
        self.first: int = 1
        self.newest_us: int = 0
        self.appended: int = 0
        self._limits = limits
        self.lane: Lane = Lane(min(LIGHT, limits.event))
        self._heavy = 0
        self.resize(frame_size)
        self._open_since = (0, 0.0)
        self._entries: list[Entry] = []
        self._firsts: list[int] = []
        self._head = 0
        self._bytes = 0

    @property
    def last(self) -> int:
        """The number of the newest event; 0 when there was none."""
        return self.lane.base + len(self.lane)

    def held_bytes(self) -> int:
        """How many bytes it holds."""
        return self._bytes + sum(map(len, self.lane))

    def published_bytes(self) -> int:
        """Bytes of all events that were ever appended."""
        return self.appended + sum(map(len, self.lane))

    def append(self, event: bytes) -> int:
        """Number one encoded event and keep it. Raises Oversize when it is larger than `Limits.event`."""
        lane = self.lane
        lane.append(event)
        count = len(lane)
        if count >= lane.full or len(event) > lane.light:
            return self.weigh(len(event))
        return lane.base + count

    def mark(self, traceparent: str) -> None:
        """The event that was appended last belongs to this trace; called before anything else is appended."""
        lane = self.lane
        if lane:
            lane.marks.append((len(lane) - 1, traceparent))
        else:  # it has filled the entry that it is in, and no link has taken that yet
            entry = self._entries[-1]
            before = len(trailer_of(entry.marks))
            entry.marks.append((entry.count - 1, traceparent))
            more = len(trailer_of(entry.marks)) - before
            entry.size += more
            self._bytes += more

    def stamp(self, now: float) -> int:
        """The next `sent_us`: microseconds of `now`, strictly increasing (rule 8)."""
        self.newest_us = stamp = max(self.newest_us + 1, int(now * 1e6))
        return stamp

    def resize(self, frame_size: int) -> None:
        """From now on entries are made for frames of this size."""
        self._room = frame_size - BODY_START
        # What is open is not weighed: it must stay small beside the whole log.
        self._most = max(
            1, min(MAX_COUNT, self._limits.log_bytes // (4 * LIGHT), self._limits.log_events // 4)
        )
        self.lane.full = min(self._most, max(1, self._room // USUAL))

    def take(self, seq: int, limit: int, now: float) -> Entry | None:
        """The sealed entry that holds `seq`, or the first one held after it.

        Its frame has at most `limit` bytes, unless it is a single event. None when there is nothing
        at or above `seq`.
        """
        # All may have grown too old: then what is open is the first that is held.
        if seq < self.first:
            seq = self.first
        if seq > self.lane.base:
            if seq > self.last:
                return None
            self._ripen(now)
        index = bisect_right(self._firsts, seq, self._head) - 1
        entry = self._entries[index]
        if entry.size > limit and entry.count > 1:
            self._split(index, limit, now)
            return self.take(seq, limit, now)
        self._seal(entry, now)
        return entry

    def following(self, entry: Entry, limit: int, now: float) -> Iterator[Entry]:
        """The entries behind a sealed one that fit into one frame of `limit` bytes with it; sealed.

        An idle bus makes small entries, and so does a link that was lost several times. One by one, a
        link that carries some ten frames a second would need longer for them than receivers wait.
        """
        size, count, flags = entry.size, entry.count, entry.frame[4]
        for index in range(bisect_right(self._firsts, entry.last, self._head), len(self._entries)):
            entry = self._entries[index]
            self._seal(entry, now)
            size, count, flags = size + entry.size - BODY_START, count + entry.count, flags | entry.frame[4]
            if size > limit or count > MAX_COUNT or flags & TRAILER:
                return
            yield entry

    def bury(self, seq: int) -> None:
        """Put a tombstone in the place of one event that is too large for a link (rule 16)."""
        if not self.first <= seq <= self.last:
            return
        if seq > self.lane.base:
            self._ripen()
        entry = self._entries[bisect_right(self._firsts, seq, self._head) - 1]
        events = entry.events()
        events[seq - entry.first] = TOMBSTONE
        self._bytes -= entry.size
        entry.data, entry.size = events, _size(events, entry.marks)
        self._bytes += entry.size

    def unsent(self, cursor: int) -> int:
        """Bytes of the events at and above `cursor` (rounded to entries)."""
        cursor = max(cursor, self.first)
        if cursor > self.lane.base:
            return sum(map(len, self.lane)) if cursor <= self.last else 0
        entry = self._entries[bisect_right(self._firsts, cursor, self._head) - 1]
        return self.appended + sum(map(len, self.lane)) - entry.start

    def unsent_at_most(self, cursor: int) -> int:
        """A bound of `unsent` that weighs nothing: cheap enough for every `room()`."""
        cursor = max(cursor, self.first)
        light = self._heavy + len(self.lane) * self.lane.light
        if cursor > self.lane.base:
            return light if cursor <= self.last else 0
        entry = self._entries[bisect_right(self._firsts, cursor, self._head) - 1]
        return self.appended + light - entry.start

    def tick(self, now: float) -> None:
        """Seal what no link asked for (it gets an age and takes less memory); drop the old."""
        open_first = self.lane.base + 1
        if self.lane and self._open_since[0] != open_first:
            self._open_since = (open_first, now)
        elif self.lane and now - self._open_since[1] >= 1.0:
            self._ripen()
        for index in range(len(self._entries) - 1, self._head - 1, -1):
            if isinstance(self._entries[index].data, bytes):
                break
            self._seal(self._entries[index], now)
        oldest = now - self._limits.log_age
        while self._head < len(self._entries) and self._entries[self._head].sealed < oldest:
            self._drop()

    def weigh(self, size: int) -> int:
        """The event just appended is a large one, or the open part may fill a frame; returns its number.

        Raises Oversize, and takes the event out again, when it is larger than `Limits.event`.
        """
        lane = self.lane
        if size > self._limits.event:
            lane.pop()
            raise Oversize(size)
        last = self.last
        if size > lane.light:
            if self._heavy + size > self._room and len(lane) > 1:
                event = lane.pop()
                self._ripen()
                lane.append(event)
            self._heavy += size
        if len(lane) >= lane.full:
            self._ripen()
        return last

    def _ripen(self, now: float | None = None) -> None:
        """Close the open part into an entry, sealed when a link waits for it; drop what is over limits."""
        lane = self.lane
        first, count = lane.base + 1, len(lane)
        if now is None:
            entry = Entry(first, count, list(lane), _size(lane, lane.marks), self.appended)
        else:
            # The usual way. To weigh the events before they are joined would cost as much as joining them.
            frame = pack_events(self.epoch, first, self.stamp(now), lane, lane.marks)
            entry = Entry(first, count, frame, len(frame), self.appended)
            entry.sealed = now
        if lane.marks:
            entry.marks, lane.marks = lane.marks, []
        lane.clear()
        lane.base += count
        self._heavy = 0
        self._entries.append(entry)
        self._firsts.append(first)
        self._bytes += entry.size
        size = entry.size - BODY_START
        self.appended += size
        # How many events of this size fill a frame: so none of the next ones has to be weighed.
        full = self._room * count // size
        lane.full = self._most if full > self._most else full or 1
        limits = self._limits
        while (self._bytes > limits.log_bytes or lane.base - self.first >= limits.log_events) and len(
            self._entries
        ) - self._head > 1:
            self._drop()

    def _drop(self) -> None:
        entry = self._entries[self._head]
        self._bytes -= entry.size
        entry.data = b""
        self._head += 1
        self.first = entry.last + 1
        # Deleting from the front of a list is O(n): do it rarely, for many at once.
        if self._head > 512 and self._head * 2 > len(self._entries):
            del self._entries[: self._head], self._firsts[: self._head]
            self._head = 0

    def _seal(self, entry: Entry, now: float) -> None:
        if isinstance(entry.data, list):
            entry.data = pack_events(self.epoch, entry.first, self.stamp(now), entry.data, entry.marks)
            # A tombstone does not make the rest of its entry younger.
            entry.sealed = min(entry.sealed, now)

    def _split(self, index: int, limit: int, now: float) -> None:
        """Replace one entry by several of at most `limit` bytes: a link has smaller frames.

        Its marks are gone then: there are few of them, and this is rare.
        """
        whole = self._entries[index]
        parts: list[Entry] = []
        events: list[bytes] = []
        first, start, size = whole.first, whole.start, BODY_START

        def finish() -> None:
            nonlocal first, start, events, size
            part = Entry(first, len(events), events, size, start)
            # Each part has an age from now on, or one that no link takes would never grow old.
            part.sealed = min(whole.sealed, now)
            parts.append(part)
            first, start = first + len(events), start + size - BODY_START
            events, size = [], BODY_START

        for event in whole.events():
            if events and size + len(event) > limit:
                finish()
            events.append(event)
            size += len(event)
        finish()
        self._bytes += sum(part.size for part in parts) - whole.size
        self._entries[index : index + 1] = parts
        self._firsts[index : index + 1] = [part.first for part in parts]
