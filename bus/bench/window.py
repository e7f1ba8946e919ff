"""How far a publisher may be ahead of the slowest receiver: shared memory, one number for each.

Without it, whoever has no back-pressure of his own loses what a slower subscriber did not take, and a rate
would be that of losing. Both sides of a pair are paced alike: "0 lost" in a paced row means "when paced".
"""

from __future__ import annotations

import asyncio
import mmap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = 64
NUMBER = 8
# Shorter than the window takes to run dry: 50,000 events last 25 ms at two millions a second.
WAIT = 0.001
# Nobody has had anything for so long: what is missing is lost, and the publisher goes on.
STALLED = 0.5


class Window:
    """The file of one side: each receiving process writes its own number, publishers read all."""

    def __init__(self, path: Path, slot: int) -> None:
        with path.open("a+b") as file:
            file.truncate(SLOTS * NUMBER)
            self._map = mmap.mmap(file.fileno(), SLOTS * NUMBER)
        self._numbers = memoryview(self._map).cast("Q")
        self._slot = slot
        self._watched: tuple[int, ...] = ()
        self._senders = 1
        self._missing = 0

    def show(self, count: int) -> None:
        """This process has had so many events of the repetition."""
        self._numbers[self._slot] = count

    def watch(self, slots: tuple[int, ...], senders: int) -> None:
        """Who receives in the repetition that begins, and from how many that publish alike."""
        self._watched, self._senders, self._missing = slots, senders, 0

    async def room(self, sent: int, size: int) -> None:
        """Wait while the slowest receiver is more than `size` events behind; 0 = never."""
        if not size or self._behind(sent) <= size:
            return
        since, before = time.perf_counter(), -1
        while (behind := self._behind(sent)) > size:
            if behind != before:
                since, before = time.perf_counter(), behind
            elif time.perf_counter() - since > STALLED:
                self._missing += behind
            await asyncio.sleep(WAIT)

    def _behind(self, sent: int) -> int:
        numbers = self._numbers
        least = min(numbers[slot] for slot in self._watched)
        return sent * self._senders - least - self._missing

    def close(self) -> None:
        """Give the memory back."""
        self._numbers.release()
        self._map.close()
