"""What a heartbeat says on one link: where we stand, and as many of those heard there as fit (rule 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bus.protocol import control
from bus.protocol.control import Entry, Heartbeat

if TYPE_CHECKING:
    from bus.protocol.outlet import Outlet
    from bus.protocol.peer import Peer


def compose(state: Heartbeat, outlet: Outlet, peers: list[Peer], strangers: list[int]) -> bytes:
    """The body: `state` with entries of `peers` and `strangers`, the last left out when it is too long.

    The outlet notes who was named.
    """
    heard_of = outlet.heard_of
    while True:
        entries = [Entry(peer.epoch, peer.next - 1, peer.lost, *heard_of[peer.epoch]) for peer in peers]
        others = [Entry(epoch, 0, 0, *heard_of[epoch]) for epoch in strangers]
        body = control.encode(msgspec.structs.replace(state, entries=entries, strangers=others))
        if len(body) <= control.HEARTBEAT_ROOM:
            break
        (peers or strangers).pop()
    outlet.said.update((peer.epoch, peer.next) for peer in peers)
    outlet.said.update(dict.fromkeys(strangers, 0))
    return body
