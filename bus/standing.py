"""How a node stands: its status, for the application and for observers that ask; why it is not ready.

Everything is read from the books of the engine and of the queues; nothing is counted twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bus.event import tag_of
from bus.protocol.control import About, Queue
from bus.protocol.frame import MAX_SEQ
from bus.protocol.peer import NOT_HEARD
from bus.release import VERSION
from bus.signals import PeerStatus, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bus.node import Node
    from bus.protocol.peer import Peer
    from bus.routing import Router
    from bus.signals import LinkState

UNKNOWN_TAG = "unknown tag"
MOST_NAMED = 64


def watch(node: Node, router: Router) -> None:
    """From now on others may ask how this node stands, and `ready` asks, too."""
    node.problems = lambda: problems(node, router)
    node.engine.ledger.about = lambda: about(node, router)


def status(node: Node, router: Router, state: LinkState) -> Status:
    """A snapshot of everything."""
    log = node.engine.log
    return Status(
        node=node.name, epoch=node.epoch, state=state, alone=not node.live_peers(),
        links=tuple(link.status() for link in node.links),
        peers=tuple(_peer(router, peer) for peer in node.engine.peers.values()),
        published=log.last, log_first=log.first, log_last=log.last,
        queues=router.queues(), refused=refused(node, router), problems=problems(node, router),
        published_bytes=log.published_bytes(), log_bytes=log.held_bytes(),
        unsent_bytes=node.unsent(), unsent=node.unsent_events(), loop_lag=node.lag.histogram(),
    )  # fmt: skip


def _peer(router: Router, peer: Peer) -> PeerStatus:
    account = peer.account_of_us
    return PeerStatus(
        node=peer.node, epoch=peer.epoch,
        state="ENDED" if peer.is_bye else "DOWN" if peer.is_down else "UP",
        baseline=peer.baseline, position=peer.next - 1, delivered=peer.delivered,
        repaired=peer.repaired, lost=peer.lost, duplicates=peer.duplicates,
        latency_ms=None if peer.latency is None else peer.latency * 1e3,
        gaps=tuple(peer.gaps), implausible=peer.implausible,
        has_of_us=max(peer.position, account.position if account is not None else 0),
        lost_of_us=max(peer.lost_of_us, account.lost if account is not None else 0),
        gaps_of_us=tuple(account.gaps) if account is not None else (),
        refused_types={str(tag_of(kind)): why for kind, why in router.vetting.of(peer).bad.items()},
    )  # fmt: skip


def refused(node: Node, router: Router) -> dict[str, int]:
    """Reason -> how many frames were refused; and events with a tag that is not known here."""
    found = {reason: count for reason, count in node.engine.refused.items() if count and reason != "own"}
    return {**found, UNKNOWN_TAG: router.unknown} if router.unknown else found


def problems(node: Node, router: Router) -> tuple[str, ...]:
    """Why this node is not ready although its link may be: in words, empty when all is well.

    Of two nodes whose types disagree only the younger is not ready: who is rolled out has to wait, not those
    who serve.
    """
    return tuple(_problems(node, router))[:MOST_NAMED]


def _problems(node: Node, router: Router) -> Iterator[str]:
    peers = node.live_peers()
    router.vetting.review(peers)
    for peer in peers:
        if peer.node == node.name and peer.unheard < NOT_HEARD:
            yield f"another live process has the name {node.name}, too: give each its own"
        if peer.born < node.born:
            for kind, why in router.vetting.of(peer).bad.items():
                yield f"the event type {tag_of(kind)!r} is not compatible with that of {peer.node}: {why}"


def about(node: Node, router: Router) -> About:
    """What an observer is told that asks everybody."""
    queues = [
        Queue(one.name[:256], min(one.capacity, MAX_SEQ - 1), one.waiting, one.dropped)
        for one in sorted(router.queues(), key=lambda one: -one.dropped)[:MOST_NAMED]
    ]
    counts = sorted(refused(node, router).items(), key=lambda one: -one[1])[:MOST_NAMED]
    return About(
        release=VERSION, state=node.state, wall_us=int(time.time() * 1e6),
        refused=dict(counts), queues=queues, problems=list(problems(node, router)),
    )  # fmt: skip
