"""What a subscriber holds: an async iterator over one bounded inbox, or a handle on a callback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from bus.errors import Closed, UsageError
from bus.event import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from bus.isolation import Waker
    from bus.protocol.inbox import Inbox
    from bus.signals import Loss

E_co = TypeVar("E_co", bound=Event, covariant=True)

# Every 64th item lets the loop run.
FAIR = 63
END = "the subscription is closed and its iteration has ended; make a new one to go on"


class Subscription(Generic[E_co]):
    """The events of some types, in order, with every loss in its place.

    `async with bus.subscribe(A) as inbox`, then `async for item in inbox` or `await inbox.batch()`.
    Receiving starts with `subscribe`. One task reads at a time. Leaving it, or closing the bus,
    ends the iteration normally; operations after that raise `Closed`.
    """

    def __init__(
        self, inbox: Inbox[E_co], waker: Waker, leave: Callable[[], None],
        breathe: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._inbox = inbox
        self._waker = waker
        self._leave = leave
        self._breathe = breathe
        self._taken = 0
        self._is_reading = False
        self._has_ended = False

    async def __aenter__(self) -> Subscription[E_co]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Receive nothing more and end the iteration; what waits is dropped. Idempotent."""
        self._leave()
        self.end()
        self._inbox.take_all()

    def end(self) -> None:
        """Nothing more will come; what waits can still be read."""
        self._inbox.close()
        self._waker.set()

    @property
    def waiting(self) -> int:
        """Events that wait to be read."""
        return self._inbox.count

    @property
    def dropped(self) -> int:
        """Events that were dropped at this inbox because its reader was too slow."""
        return self._inbox.dropped

    def __aiter__(self) -> Subscription[E_co]:
        return self

    async def __anext__(self) -> E_co | Loss:
        inbox = self._inbox
        while not inbox.items:
            if inbox.is_closed:
                if self._has_ended:
                    raise Closed(END)
                self._has_ended = True
                raise StopAsyncIteration
            self._begin()
            try:
                await self._waker.wait()
            finally:
                self._is_reading = False
        self._taken += 1
        if self._taken & FAIR == 0:
            # Items that wait are handed out without suspending: the loop must get its turn, too.
            await self._breathe()
            if not inbox.items:
                return await self.__anext__()
        return inbox.take()

    async def batch(self) -> list[E_co | Loss]:
        """Everything that waits, at least one item. Raises Closed when the subscription has ended."""
        inbox = self._inbox
        while not inbox.items:
            if inbox.is_closed:
                raise Closed(END)
            self._begin()
            try:
                await self._waker.wait()
            finally:
                self._is_reading = False
        return inbox.take_all()

    def _begin(self) -> None:
        if self._is_reading:
            raise UsageError("two tasks read one subscription: give each its own bus.subscribe()")
        self._is_reading = True


class Callback:
    """The handle of `bus.on`: `close()` ends the calls."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave

    def close(self) -> None:
        """Call no more. Idempotent."""
        self._leave()
