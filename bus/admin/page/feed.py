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
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from bus.admin.jmap import ijson
from bus.admin.page import shown
from bus.admin.page.cluster import Census
from bus.admin.page.tap import Frame, Tap
from bus.admin.signal import Signal
from bus.event import Tombstone, tag_of
from bus.protocol import frame as wire
from bus.routing import matches
from bus.signals import Down, Duplicate, Gap, Overflow, Restarted, Resync, Up

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject
    from bus.bus import Bus
    from bus.signals import Change, Loss

log = logging.getLogger("bus.admin")

# Seconds between two looks; looks between two documents.
PAUSE, LOOKS = 0.25, 4
# Events that one look makes text of, and bytes that it looks into.
LOOK, LOOK_BYTES = 100, 2 << 20
RING = 512
# Items a second for each stream, and how many at once after a quiet time.
RATE, BURST = 20, 40
MAX_TOPIC = 200

_raws = msgspec.msgpack.Decoder(list[msgspec.Raw])
_TOMBSTONE = tag_of(Tombstone)


class Item(NamedTuple):
    """One line of the live view."""

    number: int
    kind: Literal["event", "loss", "change", "unseen"]
    # What a filter compares: the topic of a Message, else the type.
    topic: str
    data: JsonObject


class Feed:
    """The live view of one node."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._id = ""
        self._tap = Tap()
        self._ring: deque[Item] = deque(maxlen=RING)
        self._number = 0
        self._seen = 0
        self._room = 0
        self._document = b"{}"
        self._look_number = 0
        self._task: asyncio.Task[None] | None = None
        self._streams = 0
        # Clients that were cut off since they did not read.
        self.dropped = 0
        self.news = Signal()

    async def stream(
        self, topic: str | None, last_id: str | None, is_open: Callable[[], bool], closing: asyncio.Event
    ) -> AsyncGenerator[bytes]:
        """The pieces of one stream, until the server is stopped or `is_open` says no. Wakes up by `news`."""
        self._enter()
        try:
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
                    found = [item for item in self._ring if item.number >= place]
                    if found:
                        place = found[-1].number + 1
                        piece = allowance.pick([item for item in found if _is_wanted(item, topic)])
                        if piece is not None:
                            yield _event("items", piece, f"{self._id}-{place - 1}")
                    await news.wait()
        finally:
            self._leave()

    async def close(self) -> None:
        """Every stream ends: the caller has set their `closing`."""
        self.news.set()

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
            except Exception:  # ours: whoever looks must not end what others see
                log.exception("the live view could not be made")

    def _look(self) -> None:
        notes, unseen = self._tap.take()
        self._room = LOOK_BYTES
        own = self._bus.node.engine.log.last - self._seen
        # The newest are looked into, of this node and of the others alike.
        share = max(LOOK // 4, LOOK - own)
        early = max(0, sum(_count(note) for note in notes) - share)
        for note in notes:
            if not isinstance(note, Frame):
                self._tell(note)
                continue
            passed = min(_count(note), early)
            early -= passed
            unseen += passed
            if passed < _count(note):
                self._open(note, passed)
        unseen += self._own(LOOK // 4 if len(notes) else LOOK)
        if unseen:
            self._add("unseen", "", {"count": unseen})
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
                self._event(note.node, note.epoch, note.header.first_seq + offset, raws[offset])

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
                    self._event(node.name, node.epoch, entry.first + offset, event)
            at = entry.last + 1
        self._seen = log.last
        return unseen

    def _event(self, node: str, epoch: int, seq: int, raw: msgspec.Raw | bytes) -> None:
        size = len(memoryview(raw))
        data: JsonObject = {"node": shown.name(node), "epoch": f"{epoch:016x}", "seq": seq, "size": size}
        if size > self._room:
            self._add("event", "", data | {"type": "?", "text": "too much to look into"})
            return
        self._room -= size
        event = shown.read(raw, self._fields())
        if event is None:
            self._add("event", "", data | {"type": "?", "text": "not readable"})
        elif event.type == _TOMBSTONE:
            self._add("loss", "", data | {"loss": "Gap", "text": f"#{seq} was too large for a link"})
        else:
            text = shown.value(event.body)
            kind = shown.name(str(event.type))
            topic = None if event.topic is None else shown.name(event.topic)
            data |= {"type": kind, "topic": topic, "text": text.text, "whole": text.whole}
            self._add("event", event.topic if event.topic is not None else str(event.type), data)

    def _fields(self) -> dict[int | str, tuple[str, ...]]:
        """The names of the fields of the types that this node knows."""
        return {
            tag: cls.__struct_encode_fields__
            for cls in self._bus._types.known
            if (tag := tag_of(cls)) is not None
        }

    def _tell(self, note: Loss | Change) -> None:
        match note:
            case Gap(node=node, ranges=ranges, reason=reason):
                spans = ", ".join(
                    f"#{first}" if first == last else f"#{first} to #{last}" for first, last in ranges
                )
                self._lost(node, "Gap", f"{note.count:,} lost ({reason}): {spans}")
            case Resync(node=node, after=after, reason=reason):
                since = "" if after is None else f" after #{after}"
                self._lost(node or "everybody", "Resync", f"unknown loss{since} ({reason})")
            case Overflow(count=count):
                self._lost("", "Overflow", f"{count:,} dropped")
            case Up(node=node):
                self._changed(node, "is here")
            case Down(node=node):
                self._changed(node, "is gone")
            case Restarted(node=node):
                self._changed(node, "was restarted")
            case Duplicate(node=node, epochs=epochs):
                self._changed(node, f"is the name of {len(epochs)} processes")
            case _:
                self._changed("", repr(note))

    def _lost(self, node: str, loss: str, text: str) -> None:
        self._add("loss", "", {"node": shown.name(node), "loss": loss, "text": text})

    def _changed(self, node: str, text: str) -> None:
        self._add("change", "", {"node": shown.name(node), "text": text})

    def _add(self, kind: Literal["event", "loss", "change", "unseen"], topic: str, data: JsonObject) -> None:
        stamped: JsonObject = {"kind": kind, "at": int(time.time() * 1e3), **data}
        self._ring.append(Item(self._number, kind, topic, stamped))
        self._number += 1

    # -- places in the ring ------------------------------------------------------------------------

    def _oldest(self) -> int:
        return self._ring[0].number if self._ring else self._number

    def _place(self, last_id: str | None) -> tuple[int, int | None]:
        """Where a stream begins, and how many items it has missed; None: nobody knows."""
        feed, _, number = (last_id or "").partition("-")
        if feed != self._id or not (number.isascii() and number.isdecimal() and len(number) < 16):
            return self._oldest(), None if last_id else 0
        place = min(int(number) + 1, self._number)
        return place, 0


class Allowance:
    """How much of what is wanted one stream gets: a page that shows 50,000 lines a second shows none."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = time.monotonic()

    def pick(self, items: list[Item]) -> JsonObject | None:
        """Every loss, and the newest of the rest; None when there is nothing to say."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * RATE)
        self._at = now
        unseen = sum(int(str(item.data["count"])) for item in items if item.kind == "unseen")
        items = [item for item in items if item.kind != "unseen"]
        room = max(0, int(self._left) - sum(item.kind == "loss" for item in items))
        chosen: list[Item] = []
        for item in reversed(items):
            if item.kind == "loss" and len(chosen) < BURST:
                chosen.append(item)
            elif room > 0:
                room -= 1
                chosen.append(item)
        self._left = max(0.0, self._left - len(chosen))
        if not chosen and not unseen and not items:
            return None
        return {
            "items": [item.data for item in reversed(chosen)],
            "more": len(items) - len(chosen),
            "unseen": unseen,
        }


def _count(note: object) -> int:
    return note.header.count - note.skip if isinstance(note, Frame) else 0


def _is_wanted(item: Item, topic: str | None) -> bool:
    return topic is None or item.kind != "event" or matches(topic, item.topic)


def _event(kind: str, data: JsonObject, id: str | None = None) -> bytes:
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {kind}\ndata: ".encode() + ijson.write(data) + b"\n\n"
