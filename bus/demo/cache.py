"""The local cache of one node, and the judge of what it returns.

The cache knows no versions: it holds what was loaded until it is told to drop it. The judge knows
only which versions were announced, and says when a read returned less. So a mistake of the one
cannot hide in the other.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bus.demo.database import Record

Ticket = tuple[int, int]


class Cache:
    """Key -> record. Loading: `ticket`, then load, then `fill`."""

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}
        self._invalidations: Counter[int] = Counter()
        self._clears = 0

    def get(self, key: int) -> Record | None:
        """The record, or None: it must be loaded."""
        return self._records.get(key)

    def ticket(self, key: int) -> Ticket:
        """Take one before loading; `fill` wants it."""
        return self._clears, self._invalidations[key]

    def fill(self, key: int, ticket: Ticket, record: Record) -> bool:
        """Keep what was loaded. False: the key was invalidated meanwhile, load it again."""
        if ticket != self.ticket(key):
            return False
        self._records[key] = record
        return True

    def invalidate(self, key: int) -> None:
        """The row has changed."""
        self._invalidations[key] += 1
        self._records.pop(key, None)

    def clear(self) -> None:
        """Something was lost: nothing that is cached or being loaded can be trusted."""
        self._clears += 1
        self._records.clear()


class Judge:
    """Stale = a version lower than one whose invalidation this node has delivered."""

    def __init__(self) -> None:
        self._announced: dict[int, int] = {}

    def announced(self, key: int, version: int) -> None:
        """The invalidation of this version was delivered here."""
        if version > self._announced.get(key, 0):
            self._announced[key] = version

    def is_stale(self, key: int, version: int) -> bool:
        """Whether a read that returned `version` was stale."""
        return version < self._announced.get(key, 0)
