"""From one status to metric families, as plain data: no client library, no clock.

Rules: prefix `bus_`, base units, `_total` for counters, no label whose values are without bound: at most
`MOST_PEERS` nodes have their own, the rest are summed up as "other".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from bus.signals import Histogram, LinkStatus, PeerStatus, Status

Kind = Literal["counter", "gauge"]
Labels = Mapping[str, str]

MOST_PEERS = 64
OTHER = "other"
STATES = ("CONNECTING", "READY", "DEGRADED", "BACKOFF", "FATAL", "CLOSED")
PEER_STATES = ("UP", "DOWN", "ENDED")


class Family(NamedTuple):
    """One metric with its samples; `name` of a counter without `_total`."""

    kind: Kind
    name: str
    help: str
    samples: list[tuple[Labels, float]]


class Distribution(NamedTuple):
    """A histogram: cumulative counts by upper bound, "+Inf" last."""

    name: str
    help: str
    buckets: list[tuple[str, float]]
    total: float


def families(status: Status) -> Iterator[Family | Distribution]:
    """Everything that a status tells."""
    yield from _node(status)
    yield from _links(status)
    yield from _peers(status.peers)
    yield from _queues(status)
    yield distribution("bus_event_loop_lag_seconds", "How late the event loop was", status.loop_lag)


def distribution(name: str, text: str, found: Histogram) -> Distribution:
    """A histogram of ours as Prometheus wants it."""
    counts = list(accumulate(found.counts))
    bounds = [f"{bound:g}" for bound in found.bounds] + ["+Inf"]
    return Distribution(name, text, [(b, float(n)) for b, n in zip(bounds, counts, strict=True)], found.total)


def _one(kind: Kind, name: str, text: str, value: float) -> Family:
    return Family(kind, name, text, [({}, value)])


def _node(status: Status) -> Iterator[Family]:
    yield _one(
        "gauge", "bus_ready", "1 when a link is proven and nothing is wrong with this node", status.ready
    )
    yield _one("counter", "bus_published_events", "Events published by this node", status.published)
    yield _one("counter", "bus_published_bytes", "Their encoded size", status.published_bytes)
    yield _one("gauge", "bus_unsent_events", "Published and not yet sent on every link", status.unsent)
    yield _one("gauge", "bus_unsent_bytes", "Their encoded size", status.unsent_bytes)
    held = status.log_last - status.log_first + 1
    yield _one(
        "gauge", "bus_log_events", "Events that can still be repeated to a node that misses them", held
    )
    yield _one("gauge", "bus_log_bytes", "Their size", status.log_bytes)
    yield Family(
        "counter", "bus_refused_frames", "Frames that were not ours to take, by reason",
        [({"reason": reason}, count) for reason, count in sorted(status.refused.items())],
    )  # fmt: skip


def _links(status: Status) -> Iterator[Family]:
    # While a bus moves from one server to another of its kind there are two links of one type.
    kinds: dict[str, list[LinkStatus]] = defaultdict(list)
    for link in status.links:
        kinds[link.type].append(link)
    yield Family(
        "gauge", "bus_backend_up", "1 when the link is proven both ways",
        [({"type": kind}, any(one.state == "READY" for one in links)) for kind, links in kinds.items()],
    )  # fmt: skip
    yield Family(
        "gauge", "bus_backend_state", "1 for the state in which the link is",
        [
            ({"type": kind, "state": state.lower()}, any(one.state == state for one in links))
            for kind, links in kinds.items() for state in STATES
        ],
    )  # fmt: skip
    yield Family(
        "counter", "bus_backend_connects", "Connections that were made",
        [({"type": kind}, sum(one.connects for one in links)) for kind, links in kinds.items()],
    )  # fmt: skip
    yield Family(
        "counter", "bus_backend_faults", "Attempts and connections that failed, by cause",
        [
            ({"type": kind, "cause": cause}, sum(one.faults.get(cause, 0) for one in links))
            for kind, links in kinds.items()
            for cause in sorted({cause for one in links for cause in one.faults})
        ],
    )  # fmt: skip
    yield Family(
        "counter", "bus_backend_disconnected_seconds", "Time in which the link was not proven",
        [({"type": kind}, sum(one.away for one in links)) for kind, links in kinds.items()],
    )  # fmt: skip


def _peers(peers: tuple[PeerStatus, ...]) -> Iterator[Family]:
    yield Family(
        "gauge", "bus_peers", "Other nodes, by state",
        [({"state": state.lower()}, sum(p.state == state for p in peers)) for state in PEER_STATES],
    )  # fmt: skip
    names = _named(peers)
    for name, text, attribute in (
        ("bus_delivered_events", "Events of that node that arrived, in order and once", "delivered"),
        ("bus_repaired_events", "Of these, how many came by repair", "repaired"),
        ("bus_lost_events", "Events of that node that were told lost", "lost"),
        ("bus_duplicate_events", "Events of that node that came again and were dropped", "duplicates"),
    ):
        sums: dict[str, int] = defaultdict(int)
        for peer in peers:
            sums[names[peer.node]] += int(getattr(peer, attribute))
        yield Family("counter", name, text, [({"peer": peer}, n) for peer, n in sorted(sums.items())])
    latency = {
        names[peer.node]: peer.latency_ms / 1e3
        for peer in peers
        if peer.state == "UP" and peer.latency_ms is not None and names[peer.node] != OTHER
    }
    yield Family(
        "gauge", "bus_peer_latency_seconds", "One way to that node, half of the round trip of a heartbeat",
        [({"peer": peer}, seconds) for peer, seconds in sorted(latency.items())],
    )  # fmt: skip


def _named(peers: tuple[PeerStatus, ...]) -> dict[str, str]:
    """Node -> label: those that are up first."""
    order = dict.fromkeys(p.node for p in sorted(peers, key=lambda p: PEER_STATES.index(p.state)))
    return {node: node if at < MOST_PEERS else OTHER for at, node in enumerate(order)}


def _queues(status: Status) -> Iterator[Family]:
    queues = status.queues
    dropped, errors = (sum(q.dropped for q in queues), sum(q.errors for q in queues))
    yield _one("gauge", "bus_subscribers", "Subscriptions and callbacks of this node", len(queues))
    yield _one(
        "gauge", "bus_queue_events", "Events that wait in subscriptions", sum(q.waiting for q in queues)
    )
    fill = max((q.waiting / q.capacity for q in queues if q.capacity), default=0.0)
    yield _one(
        "gauge", "bus_queue_fill_ratio", "The fullest subscription: 1 = the next event is dropped", fill
    )
    yield _one("counter", "bus_dropped_events", "Dropped at subscriptions that were too slow", dropped)
    yield _one("counter", "bus_handler_errors", "Exceptions that callbacks raised", errors)
