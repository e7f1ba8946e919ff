"""Repair, both halves (rule 3): ask the peers for what is missing, repeat what peers ask us for.

One engine has one of these. Which holes there are, and when to ask for each again, is the peer's; what is
still held is the log's; what waits to be repeated on a link is the outlet's.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from bus.protocol import control
from bus.protocol.control import Request, Wanted
from bus.protocol.peer import NOT_HEARD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bus.protocol.log import Entry, Log
    from bus.protocol.outlet import Outlet
    from bus.protocol.peer import Peer

REPEAT_PAUSE = 0.050
REPEAT_BYTES = 1 << 20
TRIES_ON_ONE_LINK = 5


class Repair:
    """Asks for holes, and answers those who ask."""

    def __init__(self, log: Log, outlets: Sequence[Outlet]) -> None:
        # Peers with a hole, or that had one a moment ago.
        self.asking: dict[int, Peer] = {}
        self._log = log
        self._outlets = outlets

    # -- what we miss ------------------------------------------------------------------------------

    def request(self, outlet: Outlet) -> Request | None:
        """For all holes that are due on this link, at most 16 ranges; None when there is nothing to ask."""
        wanted: list[Wanted] = []
        room = control.MAX_RANGES
        for peer in list(self.asking.values()):
            if not peer.in_hole:
                del self.asking[peer.epoch]
            elif (
                room and peer.ask_in <= 0 and self.way_to(peer) is outlet
                and (peer.unheard < NOT_HEARD or peer.is_bye)
            ):  # fmt: skip
                ranges = peer.holes(room)
                room -= len(ranges)
                peer.asked()
                if ranges:  # else all of it is here and waits for its types
                    wanted.append(Wanted(peer.epoch, ranges))
        return Request(wanted) if wanted else None

    def way_to(self, peer: Peer) -> Outlet | None:
        """The link that brought its newest frame; after some tries in vain another one."""
        ways = [outlet for outlet in self._outlets if outlet.is_up]
        if not ways:
            return None
        newest = next((at for at, outlet in enumerate(ways) if outlet is peer.via), 0)
        return ways[(newest + peer.tries // TRIES_ON_ONE_LINK) % len(ways)]

    # -- what others miss --------------------------------------------------------------------------

    def answer(self, outlet: Outlet, asker: int, request: Request, now: float) -> None:
        """Repeat the union of what was asked, at most 1 MiB, not the same within 50 ms."""
        log = self._log
        sent = outlet.cursor - 1
        budget = REPEAT_BYTES
        for wanted in request.wanted[: control.MAX_RANGES]:
            if wanted.epoch != log.epoch:
                continue
            entries: list[Entry] = []
            for first, last in wanted.ranges[: control.MAX_RANGES]:
                at = max(first, log.first)
                while at <= min(last, sent) and budget > 0:
                    entry = log.take(at, outlet.room(now), now)
                    assert entry is not None
                    if now - entry.repeated >= REPEAT_PAUSE:
                        entry.repeated = now
                        entries.append(entry)
                        budget -= entry.size
                    at = entry.last + 1
            outlet.queue_repeats(asker, entries)
            if not outlet.repeats:
                outlet.beat_soon(now)

    def repeats(self, outlet: Outlet, now: float) -> list[bytes]:
        """The lowest frames that one asker waits for, as many as follow each other and fit into one.

        The askers take turns: the backlog of one who was away keeps nobody waiting for a single event.
        """
        frames: list[bytes] = []
        while outlet.repeats and not frames:
            asker = next(iter(outlet.repeats))
            firsts = outlet.repeats.pop(asker)
            frames = [entry.frame for entry in self._lowest(outlet, firsts, now)]
            if firsts:
                outlet.repeats[asker] = firsts
        return frames

    def _lowest(self, outlet: Outlet, firsts: list[int], now: float) -> Iterator[Entry]:
        """Takes them out of `firsts`, and before them what is not held, or was repeated for another."""
        room = outlet.room(now)
        # As it was queued: of one that is split here only the first piece would go out.
        lowest = self._log.take(firsts[-1], outlet.limit, now)
        if lowest is None or lowest.first != firsts[-1] or lowest.first not in outlet.unrepeated:
            outlet.unrepeated.discard(firsts.pop())
            return
        if lowest.size > outlet.sizes.max_message:
            # It went out on a link that carries more (rule 16).
            self._log.bury(lowest.first)
            self._log.take(lowest.first, outlet.limit, now)
        for entry in chain([lowest], self._log.following(lowest, room, now)):
            if not firsts or entry.first != firsts[-1] or entry.first not in outlet.unrepeated:
                return
            outlet.unrepeated.discard(firsts.pop())
            entry.repeated = now
            yield entry
