"""The lines of the live view: events, losses and changes as text, and how many of them one stream gets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, NamedTuple

from bus.admin.page import shown
from bus.event import Tombstone, tag_of
from bus.routing import matches
from bus.signals import Down, Duplicate, Gap, Overflow, Restarted, Resync, Up

if TYPE_CHECKING:
    import msgspec

    from bus.admin.jmap.ijson import JsonObject
    from bus.signals import Change, Loss

# Lines a second for each stream, and how many at once after a quiet time.
RATE, BURST = 20, 40

_TOMBSTONE = tag_of(Tombstone)


class Item(NamedTuple):
    """One line."""

    kind: Literal["event", "loss", "change", "unseen"]
    # What a filter compares: the topic of a Message, else the type.
    topic: str
    data: JsonObject

    def as_json(self) -> JsonObject:
        """For the page."""
        return {"kind": self.kind, **self.data}


class Source(NamedTuple):
    """Whose event, which one."""

    node: str
    epoch: int
    seq: int


def event(source: Source, raw: msgspec.Raw | bytes, fields: dict[int | str, tuple[str, ...]]) -> Item:
    """One encoded event; `fields` are the names of those types that are known here."""
    data = _stamped(source.node) | {
        "epoch": f"{source.epoch:016x}", "seq": source.seq, "size": len(memoryview(raw)),
    }  # fmt: skip
    found = shown.read(raw, fields)
    if found is None:
        return Item("event", "", data | {"type": "?", "text": "not readable"})
    if found.type == _TOMBSTONE:
        return Item("loss", "", data | {"loss": "Gap", "text": f"#{source.seq} was too large for a link"})
    text = shown.value(found.body)
    topic = None if found.topic is None else shown.name(found.topic)
    data |= {"type": shown.name(str(found.type)), "topic": topic, "text": text.text, "whole": text.whole}
    return Item("event", found.topic if found.topic is not None else str(found.type), data)


def heavy(source: Source, size: int) -> Item:
    """An event that is not looked into, since others of its moment were large enough."""
    data = _stamped(source.node) | {"epoch": f"{source.epoch:016x}", "seq": source.seq, "size": size}
    return Item("event", "", data | {"type": "?", "text": "too much to look into"})


def unseen(count: int) -> Item:
    """So many events came that are only counted."""
    return Item("unseen", "", {"count": count})


def told(note: Loss | Change) -> Item:
    """A loss or a change of membership."""
    match note:
        case Gap(node=node, ranges=ranges, reason=reason):
            spans = [f"#{first}" if first == last else f"#{first} to #{last}" for first, last in ranges]
            return _loss(node, "Gap", f"{note.count:,} lost ({reason}): {', '.join(spans)}")
        case Resync(node=node, after=after, reason=reason):
            since = "" if after is None else f" after #{after}"
            return _loss(node or "everybody", "Resync", f"unknown loss{since} ({reason})")
        case Overflow(count=count):
            return _loss("", "Overflow", f"{count:,} dropped")
        case Up(node=node):
            return _change(node, "is here")
        case Down(node=node):
            return _change(node, "is gone")
        case Restarted(node=node):
            return _change(node, "was restarted")
        case Duplicate(node=node, epochs=epochs):
            return _change(node, f"is the name of {len(epochs)} processes")
        case _:
            return _change("", shown.name(repr(note)))


def is_wanted(item: Item, pattern: str | None) -> bool:
    """Whether a stream with this filter gets it: losses and changes concern everybody."""
    return pattern is None or item.kind != "event" or matches(pattern, item.topic)


class Allowance:
    """How much of what is wanted one stream gets: a page that shows 50,000 lines a second shows none."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = time.monotonic()

    def pick(self, items: list[Item]) -> JsonObject | None:
        """Every loss (`BURST` at once), and the newest of the rest; None when there is nothing to say."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * RATE)
        self._at = now
        hidden = sum(int(str(item.data["count"])) for item in items if item.kind == "unseen")
        items = [item for item in items if item.kind != "unseen"]
        losses = min(BURST, sum(item.kind == "loss" for item in items))
        room = {True: losses, False: max(0, int(self._left) - losses)}
        chosen: list[Item] = []
        for item in reversed(items):
            is_loss = item.kind == "loss"
            if room[is_loss]:
                room[is_loss] -= 1
                chosen.append(item)
        self._left = max(0.0, self._left - len(chosen))
        if not items and not hidden:
            return None
        left_out = len(items) - len(chosen)
        return {"items": [item.as_json() for item in reversed(chosen)], "more": left_out, "unseen": hidden}


def _stamped(node: str) -> JsonObject:
    return {"at": int(time.time() * 1e3), "node": shown.name(node)}


def _loss(node: str, loss: str, text: str) -> Item:
    return Item("loss", "", _stamped(node) | {"loss": loss, "text": text})


def _change(node: str, text: str) -> Item:
    return Item("change", "", _stamped(node) | {"text": text})
