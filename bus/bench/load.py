"""What every side sends and counts: one event type, one tally, and the two ends of a side.

Ours and raw do the same work for each event: build it, encode and send it, decode it, add its number
to a checksum. The sum shows that the right events came and not only as many.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal, Protocol

from bus import Event, Gap, Overflow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bus import Loss

BURST = 100
"""Events published in one turn of the event loop."""

FAN = 10
"""Subscribers of one process in the row "fan"."""

Delivery = Literal["batch", "callback", "delay", "fan"]
"""How a subscriber takes events; "delay" is batch with a clock reading for each, "fan" batch by many."""


class CacheInvalidated(Event, tag="cache.invalidated"):
    """About 127 bytes encoded. `account` is its number, or in paced runs when it was due (ns)."""

    account: int
    kind: str
    keys: tuple[str, ...]


KIND = "email"
KEYS = ("mailbox/inbox/3f9a0c77e1b2", "thread/00000000000000482913", "quota/2026-11/account/usage/postmaster")


class UntoldLoss(Exception):
    """The bus could not say what was lost: the repetition cannot be counted."""


class Tally:
    """What one subscriber received in one repetition."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.count = 0
        self.checksum = 0
        self.lost = 0
        self.began = 0.0
        self.ended = 0.0
        self.delays: list[int] = []

    @property
    def is_complete(self) -> bool:
        """Everything came or was told lost."""
        return self.count + self.lost >= self.expected

    def add(self, count: int, checksum: int) -> None:
        """Some events were handled just now."""
        self.ended = time.perf_counter()
        if not self.count:
            self.began = self.ended
        self.count += count
        self.checksum += checksum

    def tell(self, loss: Loss) -> None:
        """Events that the bus says are lost. Raises UntoldLoss when it cannot say how many."""
        if not isinstance(loss, Gap | Overflow):
            raise UntoldLoss(f"the bus told {loss!r}: how many events that is nobody knows")
        self.lost += loss.count


async def gather(main: Tally, receive: Callable[[Tally], Coroutine[object, object, None]]) -> None:
    """Receive by `FAN` subscribers; `main` is the first one's tally, and ends when the slowest does.

    Raises UntoldLoss when one of them did not get what the others got.
    """
    tallies = [main, *(Tally(main.expected) for _ in range(FAN - 1))]
    await asyncio.gather(*(receive(tally) for tally in tallies))
    main.ended = max(tally.ended for tally in tallies)
    if len({(tally.count, tally.checksum, tally.lost) for tally in tallies}) > 1:
        raise UntoldLoss("the subscribers of one process did not receive the same")


class Publisher(Protocol):
    """The sending end of a side."""

    async def bulk(self, count: int) -> None:
        """Publish events 0 .. count - 1, `BURST` in each turn of the loop, as fast as it goes."""
        ...

    def publish(self, event: CacheInvalidated) -> object:
        """Publish one event, for paced runs."""
        ...


class Subscriber(Protocol):
    """The receiving end of a side."""

    patience: float
    """Seconds of silence after the last publish that mean: nothing more will come."""

    def listen(self, tally: Tally, delivery: Delivery) -> Coroutine[object, object, None]:
        """Subscribe now; the result receives until the tally is complete."""
        ...


class Ends:
    """The ends of a side that one process holds."""

    def __init__(self, publisher: Publisher | None = None, subscriber: Subscriber | None = None) -> None:
        self.publisher = publisher
        self.subscriber = subscriber
