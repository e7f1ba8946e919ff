"""How late the event loop was: each look goes into one of a few classes, as plain ints."""

from __future__ import annotations

from bisect import bisect_left

from bus.signals import Histogram

# Seconds. Below the first nobody notices; above the last the proof of life is in danger (rule 5).
BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Lag:
    """Counts, from one look to the next."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._total = 0.0

    def note(self, seconds: float) -> None:
        """The loop came so much later than it was asked to; a clock that is early counts as in time."""
        late = max(0.0, seconds)
        self._counts[bisect_left(BOUNDS, late)] += 1
        self._total += late

    def histogram(self) -> Histogram:
        """All looks so far."""
        return Histogram(BOUNDS, tuple(self._counts), self._total)
