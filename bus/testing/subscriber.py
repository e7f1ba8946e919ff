"""A reader of a SimNetwork node with a bounded inbox, and the judge of that inbox (rule 11).

Every event that is offered comes out in order, or is counted by an Overflow exactly where it is missing;
every number of a Gap comes out in the place where its events would have been.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bus.signals import Gap, Loss, Overflow, Resync
from bus.testing.truth import Received, Violation

if TYPE_CHECKING:
    from bus.protocol.inbox import Inbox


class Subscriber:
    """A reader with a bounded inbox; `read` and `drain` raise Violation where it loses something untold."""

    def __init__(self, name: str, inbox: Inbox[Received]) -> None:
        self.inbox = inbox
        self._name = name
        self._offered: deque[Received] = deque()
        self._gaps_told = 0
        self._gaps_taken = 0
        self._overflown = 0
        self._many = False
        # Epoch -> how far events and Gaps got.
        self._positions: dict[int, int] = {}

    def offer(self, events: list[Received], size: int) -> None:
        """The events of one frame."""
        if not self.inbox.is_closed:
            self._offered += events
            self.inbox.offer(events, size)

    def tell(self, loss: Loss) -> None:
        """One loss."""
        if not self.inbox.is_closed:
            self._gaps_told += loss.count if isinstance(loss, Gap) else 0
            self.inbox.tell(loss)

    def read(self, most: int) -> list[Received | Loss]:
        """Take up to `most` items, one by one."""
        items: list[Received | Loss] = []
        while self.inbox and len(items) < most:
            items.append(self.inbox.take())
            self._check(items[-1])
        return items

    def drain(self) -> list[Received | Loss]:
        """Take all that waits; then nothing may be missing."""
        items = self.inbox.take_all()
        for item in items:
            self._check(item)
        if len(self._offered) != self._overflown:
            raise Violation(f"{self._name}: {len(self._offered)} events vanished, {self._overflown} told")
        if self._gaps_told != self._gaps_taken and not self._many:
            raise Violation(f"{self._name}: Gaps over {self._gaps_told}, came over {self._gaps_taken}")
        return items

    def _check(self, item: Received | Loss) -> None:
        if isinstance(item, Overflow):
            self._overflown += item.count
        elif isinstance(item, Resync):
            self._many |= item.reason == "many gaps"
            if item.reason == "implausible" and item.epoch is not None and item.after is not None:
                self._positions[item.epoch] = item.after
        elif isinstance(item, Gap):
            self._gaps_taken += item.count
            for first, last in item.ranges:
                self._advance(item.epoch, first, last, item)
        else:
            assert isinstance(item, Received)
            skipped = 0
            while self._offered and self._offered[0] is not item:
                self._offered.popleft()
                skipped += 1
            if not self._offered or skipped != self._overflown:
                raise Violation(
                    f"{self._name}: {skipped} events missing before {item}, {self._overflown} told"
                )
            self._offered.popleft()
            self._overflown = 0
            self._advance(item.epoch, item.seq, item.seq, item)

    def _advance(self, epoch: int, first: int, last: int, item: object) -> None:
        if first <= self._positions.get(epoch, 0):
            raise Violation(f"{self._name}: {item} after {self._positions[epoch]}")
        self._positions[epoch] = last
