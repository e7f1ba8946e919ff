"""Which epoch runs under a name now, and whether two live processes share the name (rule 13).

A restart makes a new epoch current once. Twins take the name from each other again and again: when
superseded epochs became current again three times, it is a duplicate. Late frames of a dead epoch
return once at most, so counting every change instead would call four restarts a duplicate.
"""

from __future__ import annotations

from math import inf

RETURNS = 3
# Late frames of a dead epoch come for a while when one link is slower than another; only who goes on lives.
PAUSE = 2.0


class Names:
    """Name -> current epoch, its former ones, and how often a former one returned."""

    def __init__(self) -> None:
        self._current: dict[str, int] = {}
        self._former: dict[str, set[int]] = {}
        self._returns: dict[str, int] = {}
        self._counted: dict[str, float] = {}
        # Name -> the epoch that was told as up. Not always the current one: late frames of a dead epoch
        # may take the name for a moment, but say nothing about who lives.
        self.up: dict[str, int] = {}

    def current(self, name: str) -> int | None:
        """The epoch that beat last under this name."""
        return self._current.get(name)

    def beat(self, name: str, epoch: int, now: float) -> int | None:
        """A newer heartbeat of `epoch`: returns the epoch that it supersedes, if any."""
        old = self._current.get(name)
        if old == epoch:
            return None
        self._current[name] = epoch
        if old is None:
            return None
        former = self._former.setdefault(name, set())
        if epoch in former and now - self._counted.get(name, -inf) >= PAUSE:
            self._counted[name] = now
            self._returns[name] = self._returns.get(name, 0) + 1
        former.add(old)
        return old

    def duplicates(self, name: str) -> tuple[int, ...]:
        """The epochs that share the name, at the moment when this becomes certain; else empty."""
        if self._returns.get(name, 0) < RETURNS:
            return ()
        epochs = tuple(sorted({self._current[name], *self._former[name]}))
        # Counted anew: as long as they go on, it is told again, not once per heartbeat.
        self._returns[name] = -12
        return epochs

    def forget(self, name: str, epoch: int) -> None:
        """The epoch is no longer known (bounded memory)."""
        self._former.get(name, set()).discard(epoch)
        if self.up.get(name) == epoch:
            del self.up[name]
        if self._current.get(name) == epoch:
            del self._current[name]
            self._former.pop(name, None)
            self._returns.pop(name, None)
            self._counted.pop(name, None)
