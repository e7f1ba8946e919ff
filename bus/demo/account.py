"""The account of one sender epoch at one receiver: which numbers came, what was said of the others.

Pure. It uses the epoch and sequence that each event carries, not the bus' own count.
"""

from __future__ import annotations

import msgspec


class Account(msgspec.Struct):
    """Every number from `baseline` to `position` is one of: delivered, told, skipped, open."""

    epoch: int
    baseline: int
    position: int
    # Taken from the inbox by the handler.
    delivered: int = 0
    # In a Gap.
    told: int = 0
    # Passed over without a word: only an Overflow, which names no sender, can explain these.
    skipped: int = 0
    # Passed over after a Resync about this epoch, which told so (or dropped by an Overflow, too).
    open: int = 0
    # Came, or were told lost, after they had been accounted for.
    twice: int = 0
    # 1 + the `after` of the latest Resync; 0 = there was none.
    resync: int = 0

    @classmethod
    def since(cls, epoch: int, baseline: int) -> Account:
        """A new one: the numbers from `baseline` on are due."""
        return cls(epoch, baseline, baseline - 1)

    @property
    def is_resynced(self) -> bool:
        """Whatever does not come any more has been told."""
        return self.resync > 0

    def take(self, sequence: int) -> None:
        """The handler has this event."""
        if sequence <= self.position:
            self.twice += 1
            return
        self._pass_over(sequence - 1)
        self.delivered += 1
        self.position = sequence

    def gap(self, first: int, last: int) -> None:
        """These were told lost, inclusive."""
        self.twice += max(0, min(last, self.position) - first + 1)
        if last > self.position:
            self._pass_over(first - 1)
            self.told += last - self.position
            self.position = last

    def resynced(self, after: int | None) -> None:
        """Whatever is above `after` may never come (None: above what was taken)."""
        if after is None:
            after = self.position
        self._pass_over(after)
        self.resync = after + 1

    def _pass_over(self, upto: int) -> None:
        count = max(0, upto - self.position)
        if self.is_resynced:
            self.open += count
        else:
            self.skipped += count
        self.position += count
