"""A length of time as configurations write it: integer milliseconds, or text such as "1m30s".

Milliseconds inside, because that is what the JSON form carries and what compares exactly; seconds
only on request, because that is what Python's clocks and timeouts take.
"""

from __future__ import annotations

import re

from bus.errors import ConfigError

DURATION_ALLOWED = 'a positive number of milliseconds, or text like "5s", "1m30s", "250ms"'

# Larger numbers are not exact in the JSON of other languages.
MAX_MS = 2**53 - 1

# Largest first, as the canonical text wants them.
_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
# "ms" stands before "m": the first alternative that matches wins.
_PART = re.compile(r"\s*([0-9]{1,16})\s*(ms|d|h|m|s)\s*", re.IGNORECASE)
_MILLISECONDS = re.compile(r"\s*[0-9]{1,16}\s*")


class Duration:
    """A positive length of time: `Duration(5000)` = `Duration("5s")`. Immutable, ordered, hashable.

    Text is one or more numbers with unit (d, h, m, s, ms), or digits alone for milliseconds.
    Raises ConfigError for anything else, for zero, and from 2^53 ms on.
    """

    __slots__ = ("_ms",)
    _ms: int

    def __init__(self, value: int | str) -> None:
        ms = _parse(value) if isinstance(value, str) else value
        # bool is an int to Python, but True is no duration.
        if type(ms) is not int or not 0 < ms <= MAX_MS:
            raise ConfigError(f"not a duration: {_shown(value)}; allowed: {DURATION_ALLOWED}")
        object.__setattr__(self, "_ms", ms)

    @property
    def ms(self) -> int:
        """In milliseconds."""
        return self._ms

    @property
    def seconds(self) -> float:
        """In seconds."""
        return self._ms / 1000

    def __str__(self) -> str:
        rest, text = self._ms, ""
        for unit, size in _UNITS.items():
            count, rest = divmod(rest, size)
            if count:
                text += f"{count}{unit}"
        return text

    def __repr__(self) -> str:
        return f'Duration("{self}")'

    def __eq__(self, other: object) -> bool:
        return self._ms == other._ms if isinstance(other, Duration) else NotImplemented

    def __lt__(self, other: Duration) -> bool:
        return self._ms < other._ms

    def __le__(self, other: Duration) -> bool:
        return self._ms <= other._ms

    def __hash__(self) -> int:
        return hash(self._ms)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Duration is immutable: cannot set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Duration is immutable: cannot delete {name}")

    def __reduce__(self) -> tuple[type[Duration], tuple[int]]:
        # Without it copy and pickle would set the slot, which __setattr__ refuses.
        return Duration, (self._ms,)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f'"{value[:40]}"'
    # Python refuses to print an int of more than 4300 digits.
    big = isinstance(value, int) and abs(value) > 2**70
    return "a number of many digits" if big else repr(value)[:40]


def _parse(text: str) -> int | None:
    """Milliseconds of a text, None if it is no duration."""
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    total, end = 0, 0
    while part := _PART.match(text, end):
        total += int(part[1]) * _UNITS[part[2].lower()]
        end = part.end()
    return total if end == len(text) and total else None
