"""`bus bench ...`: the same as `python -m bus.bench ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(words: Sequence[str]) -> int:
    """Run it; the exit code."""
    from bus.bench.__main__ import main as bench

    return bench(words)
