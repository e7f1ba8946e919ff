"""What one repetition does, and the events it is done with; the same for every side.

A `Work` goes to every process of a side as JSON. Every event carries a number: the receivers add these
up, and the sum shows that the right events came and not only as many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from bus import Event

if TYPE_CHECKING:
    from collections.abc import Callable

BURST = 100
"""Events published in one turn of the event loop, where nothing else is said."""

SLOW_EVENTS = 1_000
"""Who is slow on purpose sleeps after so many."""

Delivery = Literal["batch", "callback", "iterator"]
"""How a subscriber takes events."""


class CacheInvalidated(Event, tag="cache.invalidated"):
    """The usual event, about 126 bytes. `account` is its number, or in paced runs when it was due (ns)."""

    account: int
    kind: str
    keys: tuple[str, ...]


class Sized(Event, tag="s"):
    """An event of any size from 16 bytes on."""

    account: int
    body: bytes


KIND = "email"
KEYS = ("mailbox/inbox/3f9a0c77e1b2", "thread/00000000000000482913", "quota/2026-11/account/usage/postmaster")
# A number as it stands for most of a run: five bytes.
USUAL = 1_000_000


class Work(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One repetition: `count` events of each publisher, and how the subscribers take them."""

    count: int
    delivery: Delivery = "batch"
    # Of each receiving process.
    subscribers: int = 1
    # Hand over to each of them even where there is but one.
    fan: bool = False
    burst: int = BURST
    # 0: as fast as it goes; else each event is due at a time, and delays count from there.
    per_second: int = 0
    # 0: the usual event.
    size: int = 0
    # Events that the publisher may be ahead of the slowest receiving process; 0: open loop, no back-pressure.
    window: int = 0
    # Seconds that the subscriber sleeps after each `SLOW_EVENTS`: a slow consumer.
    pause: float = 0.0
    # Note when each event came: the gaps of an outage.
    is_logged: bool = False

    @property
    def is_timed(self) -> bool:
        """Delays are taken."""
        return self.per_second > 0


def event_type(size: int) -> type[CacheInvalidated] | type[Sized]:
    """The type of the events of this size; 0 is the usual one."""
    return Sized if size else CacheInvalidated


def event_of(size: int) -> Callable[[int], CacheInvalidated | Sized]:
    """Makes the event with a number. Raises ValueError below 16 bytes."""
    if not size:
        return lambda account: CacheInvalidated(account, KIND, KEYS)
    if size < 16:
        raise ValueError(f"an event of {size} bytes is asked for; with its tag and number it has 16 or more")
    body = b""
    for _ in range(3):  # the length of the length changes once or twice
        body = bytes(len(body) + size - encoded_size(Sized(USUAL, body)))
    return lambda account: Sized(account, body)


def encoded_size(event: Event) -> int:
    """Bytes of one event as published."""
    return len(msgspec.msgpack.encode(event))
