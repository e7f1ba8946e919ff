"""Replay one random seed of the simulation: `python -m bus.testing.replay SEED [SEED ...]`.

Prints the schedule, then what went wrong, if anything, and what every node was told of losses and
membership. Exit code 1 when a promise was broken.
"""

from __future__ import annotations


def replay(seed: int) -> tuple[str, bool]:
    """The report of one seed, and whether all promises were kept."""
    raise NotImplementedError
