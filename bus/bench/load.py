"""The counting at the receivers, and what the two ends of a side are.

Ours and the others do the same work for each event: build it, encode and send it, decode it, add its
number to a checksum.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from bus import Gap, Overflow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from bus import Bus, Loss
    from bus.bench.window import Window
    from bus.bench.work import CacheInvalidated, Sized, Work

OFTEN = 64
"""Who takes events one by one reports this often: much finer than any window."""


class UntoldLoss(Exception):
    """The bus could not say what was lost: the repetition cannot be counted."""


class Tally:
    """What one subscriber received in one repetition."""

    def __init__(self, expected: int, window: Window | None = None) -> None:
        self.expected = expected
        self.count: int = 0
        self.checksum: int = 0
        self.lost: int = 0
        self.began: float = 0.0
        self.ended: float = 0.0
        self.delays: list[int] = []
        # (when it came, when it was due) in ns, where the work wants it.
        self.log: list[tuple[int, int]] | None = None
        self._window = window

    @property
    def is_complete(self) -> bool:
        """Everything came or was told lost."""
        return self.count + self.lost >= self.expected

    @property
    def left(self) -> int:
        """Events that neither came nor were told."""
        return self.expected - self.count - self.lost

    def copies(self, subscribers: int) -> list[Tally]:
        """This one and one more for each further subscriber of the process."""
        return [self, *(Tally(self.expected) for _ in range(1, subscribers))]

    def add(self, count: int, checksum: int) -> None:
        """Some events were handled just now."""
        if not count:
            return
        self.ended = time.perf_counter()
        if not self.count:
            self.began = self.ended
        self.count += count
        self.checksum += checksum
        self._show()

    def time(self, due: int) -> None:
        """One event of a paced run was handled just now; it was due at `due` ns of `perf_counter`."""
        now = time.perf_counter_ns()
        self.delays.append(now - due)
        if self.log is not None:
            self.log.append((now, due))

    def tell(self, loss: Loss) -> None:
        """Events that the bus says are lost. Raises UntoldLoss when it cannot say how many."""
        if not isinstance(loss, Gap | Overflow):
            raise UntoldLoss(f"the bus told {loss!r}: how many events that is nobody knows")
        self.lost += loss.count
        self._show()

    def _show(self) -> None:
        if self._window is not None:
            self._window.show(self.count + self.lost)


class Counter:
    """For who takes events one by one: adds them to a tally now and then, and when it is complete.

    `got` is called for each event. It is a closure, since it stands in the measured path of every side.
    """

    def __init__(self, tally: Tally, is_timed: bool) -> None:
        self.over: asyncio.Event = asyncio.Event()
        # The same for who asks after each event: a call of `is_set` would be a tenth of the measured path.
        self.is_over: bool = False
        count = checksum = 0
        mark = 1

        def settle() -> None:
            nonlocal count, checksum, mark
            tally.add(count, checksum)
            count = checksum = 0
            mark = min(OFTEN, max(1, tally.left))
            if tally.is_complete:
                self._end()

        def got(event: CacheInvalidated | Sized) -> None:
            nonlocal count, checksum
            count += 1
            checksum += event.account
            if count >= mark:
                settle()

        def got_timed(event: CacheInvalidated | Sized) -> None:
            tally.time(event.account)
            tally.add(1, event.account)
            if tally.is_complete:
                self._end()

        def told(loss: Loss) -> None:
            tally.tell(loss)
            settle()

        self.got: Callable[[CacheInvalidated | Sized], None] = got_timed if is_timed else got
        self.told = told
        self.settle = settle

    def _end(self) -> None:
        self.is_over = True
        self.over.set()


async def together(tallies: list[Tally], receives: Sequence[Coroutine[object, object, None]]) -> None:
    """Receive by several subscribers; the first one's tally then ends when the slowest did.

    Raises UntoldLoss when one of them did not get what the others got.
    """
    await asyncio.gather(*receives)
    main = tallies[0]
    main.ended = max(tally.ended for tally in tallies)
    if len({(tally.count, tally.checksum, tally.lost) for tally in tallies}) > 1:
        raise UntoldLoss("the subscribers of one process did not receive the same")


class Publisher(Protocol):
    """The sending end of a side."""

    async def bulk(self, work: Work, window: Window) -> None:
        """Publish events 0 .. count - 1, `burst` in each turn of the loop, as fast as it goes."""
        ...

    def publish(self, event: CacheInvalidated | Sized, /) -> object:
        """Publish one event, for paced runs."""
        ...


class Subscriber(Protocol):
    """The receiving end of a side."""

    patience: float
    """Seconds of silence after the last publish that mean: nothing more will come."""

    def listen(self, tally: Tally, work: Work) -> Coroutine[object, object, None]:
        """Subscribe now; the result receives until the tally is complete."""
        ...

    def settle(self) -> None:
        """Nothing more will come: add to the tally what was not yet added."""
        ...


class Ends:
    """The ends of a side that one process holds, and its bus if it has one."""

    def __init__(
        self, publisher: Publisher | None = None, subscriber: Subscriber | None = None,
        bus: Bus | None = None,
    ) -> None:  # fmt: skip
        self.publisher = publisher
        self.subscriber = subscriber
        self.bus = bus
