"""The numbered log of one sender: outbox and retransmission store in one.

Events are appended once and kept as finished frames (119 bytes for an event of 118; a list of
events would take 222). What was appended since a link last asked is *open*: encoded events behind
each other in one buffer. It becomes an entry when it fills a frame or when a link takes it, so that
an idle bus sends at once and a busy one sends full frames. Full or too old: the
oldest entries go, and receivers who still need them see a Gap ("gone").
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import TYPE_CHECKING, Final, cast

import msgspec

from bus.protocol.frame import (
    BODY_START,
    MAX_COUNT,
    TRAILER,
    array_of,
    events_of,
    pack_body,
    parse,
    trailer_of,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bus.protocol.frame import Mark
    from bus.protocol.limits import Limits

# Takes the place of an event that no link can carry (rule 16): the event with our tag 1, no fields.
TOMBSTONE = b"\x91\x01"

_raw = msgspec.msgpack.Decoder(list[msgspec.Raw])


class Oversize(ValueError):
    """One event is larger than `Limits.event`; nothing was appended."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


# Stands for the buffer of the lane while an event is being encoded into it. See `Lane`.
BUSY: Final = cast("bytearray", None)


class Lane:
    """The open part of the log: events that are in no entry yet. `Bus.publish` writes here itself.

    What counts is `size` and `last`: they change together, when a whole event stands in the buffer; bytes
    beyond `size` are of one that did not get that far. Until then the buffer is `BUSY`: code of the user may
    run meanwhile (a `tzinfo` that is encoded, a finalizer, the handler of a signal), and what it publishes
    would overwrite that event, or move the memory that is being written.
    """

    __slots__ = ("base", "bound", "buffer", "is_watched", "last", "marks", "size")

    def __init__(self) -> None:
        self.buffer: bytearray = bytearray()
        # Bytes of the events here.
        self.size: int = 0
        # The number of the newest event, and of the newest one that is not here.
        self.last: int = 0
        self.base: int = 0
        # Who appends asks `Log.weigh` when that makes more bytes than these.
        self.bound: int = 0
        # Somebody wants to know of every event: the bound is below any size.
        self.is_watched: bool = False
        self.marks: list[Mark] = []


class Entry:
    """Consecutive events: a finished frame, or (a bytearray) the encoded events that it will be made of."""

    __slots__ = ("count", "data", "first", "marks", "repeated", "sealed", "size", "start")

    def __init__(self, first: int, count: int, data: bytes | bytearray, size: int, start: int) -> None:
        self.first: int = first
        self.count: int = count
        self.data: bytes | bytearray = data
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
        """The encoded events, copied out."""
        if isinstance(self.data, bytearray):
            array: bytes | memoryview = array_of(self.count) + self.data
        else:
            array = events_of(self.data, parse(self.data))
        return [bytes(raw) for raw in _raw.decode(array)]


class Log:
    """Numbers `first` ... `last` are held; `last + 1` is the next. Nothing here ever waits."""

    def __init__(self, epoch: int, limits: Limits, frame_size: int = 65_536) -> None:
        self.epoch = epoch
        self.first: int = 1
        self.newest_us: int = 0
        self.appended: int = 0
        self._limits = limits
        self.lane: Lane = Lane()
        self.resize(frame_size)
        self._open_since = (0, 0.0)
        self._entries: list[Entry] = []
        self._firsts: list[int] = []
        self._head = 0
        self._bytes = 0

    @property
    def last(self) -> int:
        """The number of the newest event; 0 when there was none."""
        return self.lane.last

    def held_bytes(self) -> int:
        """How many bytes it holds."""
        return self._bytes + self.lane.size

    def published_bytes(self) -> int:
        """Bytes of all events that were ever appended."""
        return self.appended + self.lane.size

    def append(self, event: bytes) -> int:
        """Number one encoded event and keep it. Raises Oversize when it is larger than `Limits.event`."""
        lane = self.lane
        buffer, lane.buffer = lane.buffer, BUSY
        buffer[lane.size :] = event
        return self.weigh(buffer)

    def _release(self, buffer: bytearray) -> None:
        """Whoever was interrupted leaves the lane busy: this is its open part, unless that was closed."""
        lane = self.lane
        if lane.buffer is BUSY:
            lane.buffer = buffer if lane.size else bytearray()

    def mark(self, traceparent: str) -> None:
        """The event that was appended last belongs to this trace; called before anything else is appended."""
        lane = self.lane
        if lane.last > lane.base:
            lane.marks.append((lane.last - lane.base - 1, traceparent))
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
        # What is open comes on top of the bounds of the log: it must stay small beside them.
        self._room = max(1, min(frame_size - BODY_START, self._limits.log_bytes // 4))
        self._most = max(1, min(MAX_COUNT, self._limits.log_events // 4))
        self._bind()

    def watch(self, is_watched: bool) -> None:
        """From now on `publish` asks `weigh` for every event, or only when it must."""
        self.lane.is_watched = is_watched
        self._bind()

    def _bind(self) -> None:
        """Up to which size neither bytes nor number of the events here, nor of one, can be too many."""
        lane = self.lane
        # An event has at least one byte.
        most = lane.size + min(self._limits.event, self._most - (lane.last - lane.base) - 1)
        lane.bound = -1 if lane.is_watched else min(self._room, most)

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
        entry.data = bytearray().join(events)
        entry.size = BODY_START + len(entry.data) + (len(trailer_of(entry.marks)) if entry.marks else 0)
        self._bytes += entry.size

    def unsent(self, cursor: int) -> int:
        """Bytes of the events at and above `cursor` (rounded to entries)."""
        cursor = max(cursor, self.first)
        lane = self.lane
        if cursor > lane.base:
            return lane.size if cursor <= lane.last else 0
        entry = self._entries[bisect_right(self._firsts, cursor, self._head) - 1]
        return self.appended + lane.size - entry.start

    def tick(self, now: float) -> None:
        """Seal what no link asked for (it gets an age and takes less memory); drop the old."""
        open_first, is_open = self.lane.base + 1, self.lane.last > self.lane.base
        if is_open and self._open_since[0] != open_first:
            self._open_since = (open_first, now)
        elif is_open and now - self._open_since[1] >= 1.0:
            self._ripen()
        for index in range(len(self._entries) - 1, self._head - 1, -1):
            if isinstance(self._entries[index].data, bytes):
                break
            self._seal(self._entries[index], now)
        oldest = now - self._limits.log_age
        while self._head < len(self._entries) and self._entries[self._head].sealed < oldest:
            self._drop()

    def weigh(self, buffer: bytearray) -> int:
        """Number the event that was written into the buffer of the lane, now `BUSY`, behind the others.

        It may fill a frame with them, or not fit into it any more. Raises Oversize, and takes the event out
        again, when it is larger than `Limits.event`.
        """
        try:
            return self._number(buffer)
        finally:
            self._release(buffer)

    def _number(self, buffer: bytearray) -> int:
        lane = self.lane
        size = len(buffer) - lane.size
        if size > self._limits.event:
            del buffer[lane.size :]
            raise Oversize(size)
        if len(buffer) > self._room and lane.last > lane.base:
            event = buffer[lane.size :]
            self._close(buffer)
            buffer = event
        lane.size += size
        lane.last = seq = lane.last + 1
        lane.buffer = buffer
        if lane.size >= self._room or seq - lane.base >= self._most:
            self._ripen()
        else:
            self._bind()
        return seq

    def _ripen(self, now: float | None = None) -> None:
        """Close the open part into an entry, sealed when a link waits for it; drop what is over limits."""
        lane = self.lane
        buffer, lane.buffer = lane.buffer, BUSY
        try:
            self._close(buffer, now)
        finally:
            self._release(buffer)

    def _close(self, buffer: bytearray, now: float | None = None) -> None:
        lane = self.lane
        marks = lane.marks
        del buffer[lane.size :]
        first, count = lane.base + 1, lane.last - lane.base
        if now is None:
            size = BODY_START + lane.size + (len(trailer_of(marks)) if marks else 0)
            entry = Entry(first, count, buffer, size, self.appended)
        else:
            frame = pack_body(self.epoch, first, count, self.stamp(now), buffer, marks)
            entry = Entry(first, count, frame, len(frame), self.appended)
            entry.sealed = now
        if marks:
            entry.marks, lane.marks = marks, []
        self.appended += lane.size
        lane.base, lane.size = lane.last, 0
        self._bind()
        self._entries.append(entry)
        self._firsts.append(first)
        self._bytes += entry.size
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
        if isinstance(entry.data, bytearray):
            stamp = self.stamp(now)
            entry.data = pack_body(self.epoch, entry.first, entry.count, stamp, entry.data, entry.marks)
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
            part = Entry(first, len(events), bytearray().join(events), size, start)
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
