"""Waiting for a condition, and the stream of membership changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from bus.errors import UsageError
from bus.isolation import Waker
from bus.protocol.inbox import Inbox
from bus.signals import Change, Loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bus.isolation import Loop

MEMBERSHIP_CAPACITY = 4_096


class Watchers:
    """Tasks that wait for something about the bus to become true."""

    def __init__(self) -> None:
        self._wakers: dict[Waker, None] = {}

    def changed(self) -> None:
        """Let everybody look again; free while nobody waits."""
        for waker in self._wakers:
            waker.set()

    async def until(self, loop: Loop, is_true: Callable[[], bool], timeout: float) -> bool:
        """Wait at most `timeout` seconds; the last value of `is_true`."""
        waker = Waker(loop)
        self._wakers[waker] = None
        try:
            with anyio.move_on_after(timeout):
                while not is_true():
                    await waker.wait()
        finally:
            del self._wakers[waker]
        return is_true()


class Membership:
    """Async iterator over `Up`, `Down`, `Restarted` and `Duplicate`; starts with an `Up` for who is
    here.

    Bounded: a reader that is 4,096 changes behind loses the oldest; `Bus.status()` has the whole
    picture.
    """

    def __init__(self, loop: Loop, present: Iterable[Change]) -> None:
        self._inbox: Inbox[Change] = Inbox(MEMBERSHIP_CAPACITY, 1 << 30)
        self._waker = Waker(loop)
        self._is_reading = False
        for change in present:
            self.offer(change)

    def offer(self, change: Change) -> None:
        """One more change."""
        self._inbox.offer([change], 1)
        self._waker.set()

    def end(self) -> None:
        """The bus is closed."""
        self._inbox.close()
        self._waker.set()

    def __aiter__(self) -> Membership:
        return self

    async def __anext__(self) -> Change:
        while True:
            while not self._inbox:
                if self._inbox.is_closed:
                    raise StopAsyncIteration
                await self._sleep()
            item = self._inbox.take()
            if not isinstance(item, Loss):
                return item

    async def _sleep(self) -> None:
        if self._is_reading:
            raise UsageError("two tasks read one membership: give each its own bus.membership()")
        self._is_reading = True
        try:
            await self._waker.wait()
        finally:
            self._is_reading = False
