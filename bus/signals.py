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
    """One link: `since` is seconds in this state, `error` the last fault without any secret.

    Since it was added: `connects` connections were made, `faults` says why attempts and connections ended
    (`bus.backend.Fault`, or "proof": no proof of life), `away` are the seconds in which it was not READY.
    """

    type: str
    channel: str
    state: LinkState
    since: float
    error: str | None
    connects: int = 0
    faults: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    away: float = 0.0


class Histogram(msgspec.Struct, frozen=True):
    """How often a number of seconds was at most each of `bounds`; the last of `counts` is for all above."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


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
    # The newest ranges that were lost, at most 16; numbers that its own later heartbeats proved untrue.
    gaps: tuple[tuple[int, int], ...] = ()
    implausible: int = 0
    # What it has of *our* log by its own words: the highest number, how many of them it has lost, and (once
    # `Bus.confirm` has asked) the newest ranges of these.
    has_of_us: int = 0
    lost_of_us: int = 0
    gaps_of_us: tuple[tuple[int, int], ...] = ()
    # Tag -> why its events of that type are refused, and told as Gap ("schema").
    refused_types: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    @property
    def unexplained(self) -> int:
        """Numbers since `baseline` that were neither delivered nor told lost: 0, unless a Resync was told."""
        return self.position - self.baseline + 1 - self.delivered - self.lost


class QueueStatus(msgspec.Struct, frozen=True):
    """One subscriber of this node: `dropped` events never reached it because it was too slow.

    A callback (`Bus.on`) has no queue: capacity 0; `errors` counts what it raised.
    """

    name: str
    capacity: int
    waiting: int
    dropped: int
    errors: int = 0


class Balance(msgspec.Struct, frozen=True):
    """The ledger of one node in five numbers, over all peers: `due` = `delivered` + `lost` + `unexplained`.

    `due` are the events published to us since we know each peer. `unexplained` is 0 unless a Resync told of
    it. `dropped` were delivered to this node, and lost at a queue of its own.
    """

    due: int
    delivered: int
    lost: int
    unexplained: int
    dropped: int


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
    queues: tuple[QueueStatus, ...] = ()
    # Reason (docs/wire.md) -> frames that were refused; "unknown tag": events of types not known here.
    refused: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    # Why this node is not ready although a link is: in words.
    problems: tuple[str, ...] = ()
    # Bytes: published since opening, held by the log, held and not yet sent; events not yet sent.
    published_bytes: int = 0
    log_bytes: int = 0
    unsent_bytes: int = 0
    unsent: int = 0
    # How late the event loop was, looked at twenty times a second.
    loop_lag: Histogram = Histogram((), (0,), 0.0)

    @property
    def ready(self) -> bool:
        """A link is proven both ways (or none is wanted), and nothing is wrong with us in the cluster."""
        return self.state in ("READY", "DISABLED") and not self.problems

    def balance(self) -> Balance:
        """What became of everything that was due here; see `Balance`."""
        return Balance(
            due=sum(peer.position - peer.baseline + 1 for peer in self.peers),
            delivered=sum(peer.delivered for peer in self.peers),
            lost=sum(peer.lost for peer in self.peers),
            unexplained=sum(peer.unexplained for peer in self.peers),
            dropped=sum(queue.dropped for queue in self.queues),
        )  # fmt: skip
