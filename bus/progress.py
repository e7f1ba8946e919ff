"""Waiting for what a node has reached: proven, flushed, confirmed by others.

Each function waits for a condition with a deadline and says exactly what is missing; none of them
polls faster than the node changes. All raise Closed when the bus is closed meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.errors import Closed
from bus.foreign import outsiders
from bus.isolation import sleep
from bus.signals import Confirmed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.errors import ConfigError
    from bus.node import Node
    from bus.protocol.peer import Peer

# A tight publishing loop that only awaits `room()` must let the pump run now and then.
BREATHE_EVENTS = 4_096
CONFIRM_ASK = 0.1
LOOK_AGAIN = 1.0


async def _until(node: Node, is_true: Callable[[], bool], timeout: float) -> bool:
    """Wait at most `timeout` seconds; the last value of `is_true`."""
    await node.watchers.until(node.loop, lambda: node.is_closed or is_true(), timeout)
    if node.is_closed:
        raise Closed("the bus was closed while somebody waited for it")
    return is_true()


async def ready(node: Node, timeout: float, peers: int) -> None:
    """A link is proven, `peers` nodes hear us and are heard, and nothing is wrong with us in the cluster."""

    def mutual() -> int:
        return sum(peer.lists_us for peer in node.live_peers())

    def is_settled() -> bool:
        return _failure(node) is not None or (_is_ready(node) and mutual() >= peers and not troubles())

    def troubles() -> list[str]:
        waits_for = node.engine.catalog.waits_for
        asked = [
            f"the event types of {peer.node} are asked for" for peer in node.live_peers() if waits_for(peer)
        ]
        return [*node.problems(), *asked]

    settled = await _until(node, is_settled, timeout)
    if (failure := _failure(node)) is not None:
        raise failure
    if not settled:
        statuses = [link.status() for link in node.links]
        links = ", ".join(f"{s.type} is {s.state} ({s.error or 'no error'})" for s in statuses)
        raise TimeoutError(
            f"not ready within {timeout:g} s: {links or 'no link'}; "
            f"{f'{mutual()} of {peers}' if peers else mutual()} peers hear us and are heard"
            + "".join(f"; {one}" for one in (*troubles(), *outsiders(node.engine.refused)))
        )


def _is_ready(node: Node) -> bool:
    return not node.links or node.state == "READY"


def _failure(node: Node) -> ConfigError | None:
    failures = [link.failure for link in node.links]
    return failures[0] if failures and all(failures) else None


async def room(node: Node) -> None:
    """Less than half of the log is unsent."""
    most = node.limits.log_events

    def has_room() -> bool:
        return node.is_roomy(most)

    await sleep(node.loop, 0)
    while not has_room():
        await _until(node, has_room, LOOK_AGAIN)


async def flush(node: Node, timeout: float) -> None:
    """Everything published so far is confirmed by the server, on every link that is up."""
    last = node.engine.log.last
    if not await _until(node, lambda: node.confirmed() >= last, timeout):
        raise TimeoutError(
            f"not flushed within {timeout:g} s: {max(0, last - node.confirmed())} of {last} "
            f"events are unconfirmed; the link is {node.state}"
        )


async def confirm(node: Node, seq: int, timeout: float) -> Confirmed:
    """Which live nodes have event `seq`, by their own reports."""
    asked = node.live_peers()
    deadline = node.loop.now() + timeout

    def undecided() -> list[Peer]:
        return [peer for peer in asked if _has(peer, seq) is None]

    while (waiting := undecided()) and (left := deadline - node.loop.now()) > 0:
        for peer in waiting:
            node.engine.ledger.ask(peer.epoch)
        node.wake()
        await _until(node, lambda: not undecided(), min(left, CONFIRM_ASK))
    heard = frozenset(peer.node for peer in asked if _has(peer, seq))
    return Confirmed(heard, frozenset(peer.node for peer in asked) - heard)


def _has(peer: Peer, seq: int) -> bool | None:
    """Whether a peer has event `seq` of ours, as far as it said; None = not known yet."""
    account = peer.account_of_us
    if account is None or account.position < seq:
        return False if peer.is_down else None
    if account.baseline > seq:
        return False
    told = sum(last - first + 1 for first, last in account.gaps)
    if account.lost > told and (not account.gaps or seq < account.gaps[0][0]):
        return False  # it lost more than the ranges that it still knows: nothing is claimed
    return not any(first <= seq <= last for first, last in account.gaps)
