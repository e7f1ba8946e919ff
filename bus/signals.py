"""The values that tell what happened: loss (in the event stream), membership, status.

Loss is a value, in order, exactly where the missing events would have been. `case Loss()` matches
all three kinds. Nothing here is ever raised.
"""

from __future__ import annotations

from typing import Literal

import msgspec

GapReason = Literal["gone", "timeout", "ended", "undecodable", "schema", "too_large_for_link"]


class Loss(msgspec.Struct, frozen=True):
    """Something was missed at this place of the stream: `Gap`, `Overflow` or `Resync`."""


class Gap(Loss, frozen=True):
    """Events of one peer that cannot be had any more, exactly.

    `ranges` are inclusive (first, last) sequence numbers of `epoch`, ascending, at most 16.
    """

    node: str
    epoch: int
    ranges: tuple[tuple[int, int], ...]
    reason: GapReason

    @property
    def count(self) -> int:
        """How many events the ranges cover."""
        return sum(last - first + 1 for first, last in self.ranges)


class Overflow(Loss, frozen=True):
    """This subscriber was too slow: exactly `count` events were dropped at its own queue.

    `final`: the drop policy was "close" and this is the last item of the subscription.
    """

    count: int
    final: bool = False


class Resync(Loss, frozen=True):
    """An unknown number of events is missing: take everything from `node` as stale.

    `None` in `node` and `epoch` means everybody. `after` is the last number that was delivered for
    that epoch; whatever the epoch published above it may be lost.
    """

    node: str | None
    epoch: int | None
    after: int | None
    reason: str


class Change(msgspec.Struct, frozen=True):
    """A change of membership: `Up`, `Down`, `Restarted` or `Duplicate`."""


class Up(Change, frozen=True):
    """A node is heard, for the first time or again."""

    node: str
    epoch: int


class Down(Change, frozen=True):
    """A node said goodbye, or was silent for 10 attended seconds."""

    node: str
    epoch: int


class Restarted(Change, frozen=True):
    """The node runs again as a new epoch; the unknown end of the old one is told as a Resync."""

    node: str
    old: int
    new: int


class Duplicate(Change, frozen=True):
    """Several live processes use one node name: give each its own."""

    node: str
    epochs: tuple[int, ...]


class Confirmed(msgspec.Struct, frozen=True):
    """What `Bus.confirm` knows: which nodes have the event and which do not (yet, or never)."""

    heard: frozenset[str]
    missing: frozenset[str]


LinkState = Literal["CONNECTING", "READY", "DEGRADED", "BACKOFF", "FATAL", "CLOSED", "DISABLED"]
PeerState = Literal["UP", "DOWN", "ENDED"]


class LinkStatus(msgspec.Struct, frozen=True):
    """One link: `since` is seconds in this state, `error` the last fault without any secret."""

    type: str
    channel: str
    state: LinkState
    since: float
    error: str | None


class PeerStatus(msgspec.Struct, frozen=True):
    """One peer epoch as heard by this node; the counts are events since `baseline`."""

    node: str
    epoch: int
    state: PeerState
    baseline: int
    position: int
    delivered: int
    repaired: int
    lost: int
    duplicates: int
    latency_ms: float | None


class Status(msgspec.Struct, frozen=True):
    """This node: `state` is the best state of its links, `alone` that no peer is heard."""

    node: str
    epoch: int
    state: LinkState
    alone: bool
    links: tuple[LinkStatus, ...]
    peers: tuple[PeerStatus, ...]
    published: int
    log_first: int
    log_last: int
