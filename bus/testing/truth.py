"""What a SimNetwork knows of its nodes: every run of each, all that it published, how it ended.

The oracle compares with this what other nodes are told; applications see `Received` and, where the bus
broke its promise, `Violation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bus.protocol.engine import Engine
    from bus.testing.oracle import Witness


# What a forged event says (`SimNetwork.forge`), as msgpack.
FORGED = b"\xa6forged"


class Violation(AssertionError):
    """The bus broke its promise; the text says which, who, whose log and when."""


class Received(NamedTuple):
    """One event as an application gets it."""

    node: str
    epoch: int
    seq: int
    body: object


class Life:
    """One run of one node: the truth about its log, and how it ended."""

    engine: Engine
    witness: Witness

    def __init__(self, place: str, node: str, epoch: int, born: float) -> None:
        # The name in the network, and the node name, which two places may share.
        self.place = place
        self.node = node
        self.epoch = epoch
        self.born = born
        self.end: str | None = None
        self.ended_at: float = 0.0
        self.events: list[bytes] = []
        self.bodies: list[object] = []
        self.times: list[float] = []
        self.forged: list[tuple[int, int]] = []
        self.newest_us = 0
        self.froze_at: float = 0.0
        self.thawed_at: float = 0.0
        self.frozen_for: float = 0.0

    @property
    def last(self) -> int:
        """How many events it published."""
        return len(self.events)

    @property
    def label(self) -> str:
        """Its name and the beginning of its epoch."""
        return f"{self.place}/{self.epoch >> 48:04x}"

    def published(self, event: bytes, body: object, now: float) -> None:
        """One more event."""
        self.events.append(event)
        self.bodies.append(body)
        self.times.append(now)

    def ends(self, how: str, now: float) -> None:
        """It was killed ("crash") or said goodbye ("close"); what came first counts."""
        if self.end is None:
            self.end, self.ended_at = how, now
