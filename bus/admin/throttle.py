"""How often, and how many at a time: token buckets by key, and places that are taken and given back."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager

# Keys that are remembered; an address that was forgotten starts anew.
MAX_KEYS = 1_024


class Buckets:
    """For each key `size` at once, refilled by `rate` per second."""

    def __init__(self, size: int, rate: float, now: Callable[[], float]) -> None:
        self.size = size
        self._rate = rate
        self._now = now
        # Key -> (left, when).
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def level(self, key: str) -> float:
        """How many are left."""
        left, since = self._levels.get(key, (float(self.size), self._now()))
        return min(self.size, left + (self._now() - since) * self._rate)

    def take(self, key: str, amount: float = 1) -> bool:
        """Take one, or `amount`; False when there is not so much."""
        left = self.level(key)
        is_there = left >= amount
        self._levels[key] = (left - amount if is_there else left, self._now())
        self._levels.move_to_end(key)
        if len(self._levels) > MAX_KEYS:
            self._levels.popitem(last=False)
        return is_there

    def wait(self, key: str, amount: float = 1) -> int:
        """Whole seconds until there is one, or `amount`; at least 1."""
        return max(1, math.ceil((amount - self.level(key)) / self._rate))


class Places:
    """At most `most` at a time for each key."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken: Counter[str] = Counter()

    def is_full(self, key: str) -> bool:
        """Whether all places are taken."""
        return self._taken[key] >= self.most

    @contextmanager
    def one(self, key: str) -> Generator[bool]:
        """Hold a place in the block; False when there was none."""
        if self.is_full(key):
            yield False
            return
        self._taken[key] += 1
        try:
            yield True
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
