"""Events: what a user defines, and the table that turns them into bytes and back.

An event is a frozen msgspec Struct, encoded as a msgpack array [tag, field, ...]. Fields may be
appended with a default, never inserted, reordered or removed: old and new releases then read each
other. The tag never changes. A frame carries one array of events, decoded by one C call; only a
frame with an unknown or broken event is taken apart event by event.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Union, dataclass_transform

import msgspec

from bus import schema
from bus.errors import UnknownEventType
from bus.protocol.catalog import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RESERVED_TAGS = 16

# Writes an event into a buffer, from this place on; what was behind it is gone.
Write = Callable[["Event", bytearray, int], None]


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class EventMeta(msgspec.StructMeta):
    """Tells type checkers that event classes are frozen without saying so each time."""


class Event(msgspec.Struct, metaclass=EventMeta, array_like=True, frozen=True, gc=False):
    """Base of all events: `class CacheInvalidated(Event, tag="cache.invalidated"): account: int`.

    `tag` is a short string, or an int from 16 up (0-15 are ours); a subclass must name its own.
    """


class Message(Event, tag=0):
    """The untyped event: a topic of words joined by dots, and bytes.

    `Bus.subscribe(Message, topic="mail.*.new")`: `*` stands for one word, `>` for one or more at
    the end.
    """

    topic: str
    body: bytes


class Tombstone(Event, tag=1):
    """Stands in the log for an event that no link could carry; receivers are told a Gap (rule 16)."""


class Spoiled(msgspec.Struct, frozen=True):
    """No event here; its type, when the tag is known (`Tombstone` for ours)."""

    type: type[Event] | None


def tag_of(cls: type[Event]) -> int | str | None:
    """The tag of an event class."""
    return cls.__struct_config__.tag


class EventTypes:
    """Tag <-> type of one bus, with the decoders made from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_tag: dict[int | str, type[Event]] = {}
        # The known types, and what appends an event of theirs to a buffer.
        self.known: dict[type[Event], Write] = {}
        # Grows with `known`; and what all nodes are told of it, without what is ours (`bus.schema`).
        self.version: int = 0
        self.described: Mapping[int | str, bytes] = {}
        self.digest: int = schema.digest({})
        self.encoder: msgspec.msgpack.Encoder = msgspec.msgpack.Encoder()
        self._raw = msgspec.msgpack.Decoder(list[msgspec.Raw])
        self._one: dict[type[Event], msgspec.msgpack.Decoder[Event]] = {}
        # The one type that `decode` can return, if there is but one.
        self.only: type[Event] | None = None
        self._fast: msgspec.msgpack.Decoder[list[Event]] | None = None
        for cls in (Message, Tombstone):
            self._one[cls] = msgspec.msgpack.Decoder(cls)
            self.known[cls] = self.encoder.encode_into
            self._by_tag[_tag(cls)] = cls

    def add(self, types: Iterable[type[Event]]) -> None:
        """Make types known. Raises UnknownEventType for a tag that is missing, inherited or taken."""
        with self._lock:  # publish_from_thread makes types known, too
            self._add([cls for cls in types if cls not in self.known])

    def _add(self, fresh: list[type[Event]]) -> None:
        try:
            for cls in fresh:
                self._check(cls)
                self._enter(cls)
        finally:
            if fresh:
                self._compile()

    def _compile(self) -> None:
        # msgspec unions take tags of one kind only: the users' strings or ints, whichever are
        # more. Frames of the other kind, and mixed ones, are decoded event by event.
        texts = [cls for tag, cls in self._by_tag.items() if isinstance(tag, str)]
        # A tombstone is told, not delivered: its frame is taken apart.
        numbers = [cls for tag, cls in self._by_tag.items() if isinstance(tag, int) and cls is not Tombstone]
        chosen = texts if len(texts) >= len(numbers) else numbers
        self.only = None
        # Made at run time, so it cannot be written as `A | B`.
        self._fast = msgspec.msgpack.Decoder(list[Union[tuple(chosen)]])  # type: ignore[misc]  # noqa: UP007
        self.only = chosen[0] if len(chosen) == 1 else None

    def decode(self, body: memoryview) -> list[Event] | None:
        """All events of one frame by one C call; None when it has to be taken apart."""
        if self._fast is None:
            return None
        try:
            return self._fast.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):  # T24
            return None

    def decode_apart(self, body: memoryview) -> list[Event | Spoiled]:
        """Event by event, in order; one that is unknown or broken becomes `Spoiled`.

        Raises ValueError when the bytes are no array of events at all.
        """
        try:
            raws = self._raw.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError("no array of events") from error
        return [self._decode_one(raw) for raw in raws]

    def _decode_one(self, raw: msgspec.Raw) -> Event | Spoiled:
        cls = self._by_tag.get(_peek_tag(raw))
        if cls is None or cls is Tombstone:
            return Spoiled(cls)
        try:
            return self._one[cls].decode(raw)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return Spoiled(cls)

    def _enter(self, cls: type[Event]) -> None:
        """All of it or nothing; in this order, since the event loop may look at it meanwhile."""
        tag = _tag(cls)
        try:
            decoder, description = msgspec.msgpack.Decoder(cls), _description(cls)
        except (TypeError, ValueError, NameError) as error:
            name = f"{cls.__module__}.{cls.__qualname__}"
            raise UnknownEventType(f"{name} has a field that cannot be read from a frame: {error}") from error
        self.described = {**self.described, tag: description}
        self.digest = schema.digest(self.described)
        self._one[cls] = decoder
        self.known[cls] = self.encoder.encode_into
        self.version += 1
        self._by_tag[tag] = cls

    def _check(self, cls: type[Event]) -> None:
        if not isinstance(cls, type) or not issubclass(cls, Event):
            raise UnknownEventType(
                f"{cls!r} is no event type: derive a class from bus.Event and give it a tag"
            )
        name = f"{cls.__module__}.{cls.__qualname__}"
        tag = tag_of(cls)
        if tag is None:
            raise UnknownEventType(f'{name} has no tag: write class {cls.__name__}(Event, tag="...")')
        for base in cls.__mro__[1:]:
            if issubclass(base, Event) and base is not Event and tag_of(base) == tag:
                raise UnknownEventType(
                    f"{name} has inherited the tag {tag!r} of {base.__qualname__}: "
                    "a subclass must name its own tag"
                )
        if isinstance(tag, int) and not RESERVED_TAGS <= tag < 1 << 63:
            raise UnknownEventType(
                f"{name} has the tag {tag}: ints below {RESERVED_TAGS} are reserved; "
                f"use {RESERVED_TAGS} or more, or a string"
            )
        other = self._by_tag.get(tag)
        if other is not None:
            raise UnknownEventType(
                f"the tag {tag!r} is used twice: by {other.__module__}.{other.__qualname__} and by {name}; "
                "every event type needs a tag of its own"
            )


def _tag(cls: type[Event]) -> int | str:
    tag = tag_of(cls)
    assert tag is not None
    return tag


def _description(cls: type[Event]) -> bytes:
    """What others compare with theirs; of a very large type only its fingerprint."""
    whole = schema.encoded(schema.describe(cls))
    if len(whole) <= LARGEST:
        return whole
    return schema.encoded([("fields", ["custom", schema.fingerprint(whole)], True)])


def _peek_tag(raw: msgspec.Raw) -> int | str:
    """The tag of an encoded event: its first element, read without decoding the rest; "" if there is none."""
    view = memoryview(raw)
    head = view[0] if len(view) else 0
    start = 1 if 0x90 < head <= 0x9F else 3 if head == 0xDC else 5 if head == 0xDD else 0
    if not start or len(view) <= start:
        return ""
    lead = view[start]
    if lead < 0x80:
        return int(lead)
    size = 1 + {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(lead, -1)
    if size:
        return int.from_bytes(view[start + 1 : start + size], "big")
    at, size = (
        (start + 1, lead & 0x1F)
        if 0xA0 <= lead < 0xC0
        else (start + 2, view[start + 1])
        if lead == 0xD9
        else (0, 0)
    )
    try:
        return str(view[at : at + size], "utf-8")
    except UnicodeDecodeError:
        return ""
