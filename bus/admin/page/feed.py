"""What happens on the bus, for all who look at once; nothing of it exists while nobody does.

Four times a second it takes what has come, turns at most `LOOK` events into text, and counts the rest.
Everyone who looks has a place in one ring of items: who reads too slowly finds that it was overwritten.

    id: <feed>-<number>      event: items    {"items": [...], "more": n, "unseen": n}
                             event: gap      {"missed": n, or null: unknown}
                             event: status   the document of `cluster`, once a second
                             event: end      {"reason": "session"}: log in again
"""

# A Bus offers its users neither its engine nor its router; who watches a node needs both, here only.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from bus.admin.jmap import ijson
from bus.admin.page import items
from bus.admin.page.cluster import Census
from bus.admin.page.items import Allowance, Item, Source, is_wanted
from bus.admin.page.tap import Frame, Tap
from bus.admin.signal import Signal
from bus.event import tag_of
from bus.protocol import frame as wire
from bus.protocol.log import TOMBSTONE
from bus.quiet import quiet

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject
    from bus.bus import Bus

# Seconds between two looks; looks between two documents.
PAUSE, LOOKS = 0.25, 4
# Events that one look makes text of, and bytes that it looks into.
LOOK, LOOK_BYTES = 100, 1 << 20
RING = 512
MAX_TOPIC = 200

_raws = msgspec.msgpack.Decoder(list[msgspec.Raw])
_TOMBSTONE = msgspec.Raw(TOMBSTONE)


class Feed:
    """The live view of one node."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._log = quiet("bus.admin")
        self._id = ""
        self._tap = Tap()
        self._ring: deque[tuple[int, Item]] = deque(maxlen=RING)
        self._number = 0
        self._seen = 0
        self._room = 0
        self._fields: dict[int | str, tuple[str, ...]] = {}
        self._document = b"{}"
        self._look_number = 0
        self._task: asyncio.Task[None] | None = None
        self._streams = 0
        # Clients that were cut off since they did not read.
        self.dropped = 0
        self.news: Signal = Signal()

    async def stream(
        self, topic: str | None, last_id: str | None, is_open: Callable[[], bool], closing: asyncio.Event
    ) -> AsyncGenerator[bytes]:
        """The pieces of one stream, until the server is stopped or `is_open` says no. Wakes up by `news`."""
        try:
            self._enter()
            place, missed = self._place(last_id)
            allowance = Allowance()
            yield b"retry: 2000\n\n"
            if last_id and missed != 0:
                yield _event("gap", {"missed": missed})
            looked = -1
            with self.news.listen() as news:
                while not closing.is_set():
                    news.clear()
                    if not is_open():
                        yield _event("end", {"reason": "session"})
                        return
                    if looked != self._look_number // LOOKS:
                        looked = self._look_number // LOOKS
                        yield b"event: status\ndata: %s\n\n" % self._document
                    lost = self._oldest() - place
                    if lost > 0:
                        yield _event("gap", {"missed": lost})
                        place += lost
                    found = [item for number, item in self._ring if number >= place]
                    if found:
                        place = self._number
                        piece = allowance.pick([item for item in found if is_wanted(item, topic)])
                        if piece is not None:
                            yield _event("items", piece, f"{self._id}-{place - 1}")
                    await news.wait()
        finally:
            self._leave()

    # -- while somebody looks ----------------------------------------------------------------------

    def _enter(self) -> None:
        self._streams += 1
        if self._streams > 1:
            return
        node = self._bus.node
        self._id = secrets.token_hex(4)
        self._ring.clear()
        self._seen = node.engine.log.last
        self._census = Census(self._bus)
        self._tap.take()
        node.router.tap = self._tap
        self._look()
        self._task = asyncio.create_task(self._run(), name="bus.admin.feed")

    def _leave(self) -> None:
        self._streams -= 1
        if self._streams:
            return
        self._bus.node.router.tap = None
        self._tap.take()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            try:
                self._look()
            except Exception:  # noqa: BLE001  # ours: whoever looks must not end what others see
                self._log.exception("the live view could not be made")

    def _look(self) -> None:
        notes, unseen = self._tap.take()
        self._room = LOOK_BYTES
        self._fields = {
            tag: cls.__struct_encode_fields__
            for cls in self._bus._types.known
            if (tag := tag_of(cls)) is not None
        }
        own = self._bus.node.engine.log.last - self._seen
        # The newest are looked into, of this node and of the others alike.
        early = max(0, sum(_count(note) for note in notes) - max(LOOK // 4, LOOK - own))
        for note in notes:
            if not isinstance(note, Frame):
                self._add(items.told(note))
                continue
            passed = min(_count(note), early)
            early -= passed
            unseen += passed
            if passed < _count(note):
                self._open(note, passed)
        unseen += self._own(LOOK // 4 if notes else LOOK)
        if unseen:
            self._add(items.unseen(unseen))
        if self._look_number % LOOKS == 0:
            self._document = ijson.write(
                self._census.look() | {"streams": self._streams, "streamsDropped": self.dropped}
            )
        self._look_number += 1
        self.news.set()

    def _open(self, note: Frame, passed: int) -> None:
        """The events of one frame, without the first ones."""
        skip = note.skip + passed
        with suppress(msgspec.MsgspecError, wire.FrameError, RecursionError, UnicodeDecodeError):
            raws = _raws.decode(wire.events_of(note.data, note.header))
            for offset in range(skip, len(raws)):
                # In place of what was too large for a link a loss is told, which has its own note.
                if raws[offset] != _TOMBSTONE:
                    self._event(Source(note.node, note.epoch, note.header.first_seq + offset), raws[offset])

    def _own(self, most: int) -> int:
        """What this node has published since the last look; how much of it is not shown."""
        node = self._bus.node
        log, now = node.engine.log, node.loop.now()
        at = max(self._seen + 1, log.last - most + 1, log.first)
        unseen = max(0, at - self._seen - 1)
        while at <= log.last:
            entry = log.take(at, 1 << 30, now)
            if entry is None:
                break
            for offset, event in enumerate(entry.events()):
                if entry.first + offset >= at:
                    self._event(Source(node.name, node.epoch, entry.first + offset), event)
            at = entry.last + 1
        self._seen = log.last
        return unseen

    def _event(self, source: Source, raw: msgspec.Raw | bytes) -> None:
        size = len(memoryview(raw))
        if size > self._room:
            self._add(items.heavy(source, size))
        else:
            self._room -= size
            self._add(items.event(source, raw, self._fields))

    # -- places in the ring ------------------------------------------------------------------------

    def _add(self, item: Item) -> None:
        self._ring.append((self._number, item))
        self._number += 1

    def _oldest(self) -> int:
        return self._ring[0][0] if self._ring else self._number

    def _place(self, last_id: str | None) -> tuple[int, int | None]:
        """Where a stream begins, and how many items it has missed; None: nobody knows."""
        feed, _, number = (last_id or "").partition("-")
        if feed != self._id or not (number.isascii() and number.isdecimal() and len(number) < 16):
            return self._oldest(), None if last_id else 0
        return min(int(number) + 1, self._number), 0


def _count(note: object) -> int:
    return note.header.count - note.skip if isinstance(note, Frame) else 0


def _event(kind: str, data: JsonObject, id: str | None = None) -> bytes:
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {kind}\ndata: ".encode() + ijson.write(data) + b"\n\n"
