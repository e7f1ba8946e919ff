"""When may the old link go? The nodes of a cluster move from one system to another, each by itself.

Both links of a node carry its log, so whoever moves late, or not at all, misses nothing. The old link goes
when everybody is on the new one: lists us there, and was heard there just now (rule 9: that proves the link
both ways). Having listed us once is not enough: who went back to the old system would be left there. Where
several others are, neither is this moment: one of them may just be going back. So it must last a while.

Somebody may be neither here nor there: a process that was killed and starts again, on either link. It is
waited for by its name; who said goodbye is not. At the end of the time only those who live count, and the
new link is given up for one of them that is not on it. Where all were heard on it just then, it is not: the
last of them has only just come, and the others are about to close their old links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.errors import Closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.node import Node
    from bus.supervisor import Supervisor

# Seconds. Heartbeats come each second: three of them are not lost by chance.
FRESH = 3.0
GRACE = 3.0
LASTING = FRESH + 0.5


class Changeover:
    """One try to move a node to `link`, beside the links that it has."""

    def __init__(self, node: Node, link: Supervisor) -> None:
        self._node = node
        self._link = link
        self._expected: set[str] = set()

    async def wait(self, timeout: float) -> None:
        """Until the old links are of no use to anybody.

        Raises TimeoutError when somebody needs them, ConfigError when the new link cannot be, Closed.
        """
        node, link = self._node, self._link
        end = node.loop.now() + timeout
        while not await self._lasts(await self._until(self._is_settled, end - node.loop.now())):
            if node.loop.now() >= end:
                await self._last_comer()
                break
        if node.is_closed:
            raise Closed("the bus was closed while it was being reconfigured")
        if link.failure is not None:
            raise link.failure
        absent = sorted(self._names() - self._listing())
        if absent or not self._is_ready:
            status = link.status()
            shown = ", ".join(absent[:5]) + (" ..." if len(absent) > 5 else "")
            why = status.error or f"not every peer lists us on it: {shown or 'nobody was there'}"
            raise TimeoutError(
                f"not changed within {timeout:g} s: the new {status.type} link is {status.state} "
                f"({why}); the old one goes on"
            )

    async def _lasts(self, is_settled: bool) -> bool:
        """Whether it stays so, or is decided anyhow."""
        if not is_settled or self._is_over or len(self._expected) < 2:
            return is_settled
        return not await self._until(lambda: not self._is_settled(), LASTING) or self._is_over

    async def _last_comer(self) -> None:
        if self._is_ready and self._names() <= self._heard():
            await self._until(lambda: self._names() <= self._listing(), GRACE)

    async def _until(self, is_true: Callable[[], bool], timeout: float) -> bool:
        node = self._node
        return await node.watchers.until(node.loop, lambda: self._is_over or is_true(), timeout)

    @property
    def _is_over(self) -> bool:
        return self._node.is_closed or self._link.failure is not None

    @property
    def _is_ready(self) -> bool:
        return self._link.lifecycle.state == "READY"

    def _is_settled(self) -> bool:
        """On the new link is everybody who was here since we began, or has said goodbye."""
        names = self._names()
        self._expected |= names
        peers = self._node.engine.peers.values()
        left = {peer.node for peer in peers if peer.is_bye} - names
        return self._is_ready and self._expected - left <= self._listing()

    def _names(self) -> set[str]:
        return {peer.node for peer in self._node.live_peers()}

    def _heard(self) -> set[str]:
        """Whose heartbeats come by the new link."""
        since = (self._node.loop.now() - FRESH) * 1e6
        heard_of = self._link.outlet.heard_of
        live = self._node.live_peers()
        return {peer.node for peer in live if (heard := heard_of.get(peer.epoch)) and heard[0] > since}

    def _listing(self) -> set[str]:
        """... and have listed us there since the connection was made."""
        listed_by = self._link.outlet.listed_by
        heard = self._heard()
        return {
            peer.node for peer in self._node.live_peers() if peer.epoch in listed_by and peer.node in heard
        }
