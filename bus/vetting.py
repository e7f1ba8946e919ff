"""The schema guard: whether a peer means the same as we do by a tag, before any event of it is delivered.

What a peer's types look like comes from `bus.protocol.catalog`, what makes two of them compatible stands in
`bus.schema`. Not known yet: its events wait. Not compatible: each is told as a Gap ("schema") in its place,
and all other events of that peer flow.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bus import schema
from bus.event import Message, Tombstone, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Set

    from bus.event import Event, EventTypes
    from bus.protocol.peer import Peer

log: logging.Logger = logging.getLogger("bus")

OURS: frozenset[type[Event]] = frozenset((Message, Tombstone))
# Said once each; a cluster of ever new epochs must not fill the memory.
MOST_SAID = 4_096
UNTOLD = "the sender does not tell what this event looks like"


class Verdicts:
    """What is known of the types of one peer."""

    __slots__ = ("bad", "good")

    def __init__(self) -> None:
        self.good: set[type[Event]] = set(OURS)
        self.bad: dict[type[Event], str] = {}


class Vetting:
    """Judges the types of peers; the verdicts are kept with each peer (`Peer.vetting`)."""

    def __init__(self, types: EventTypes) -> None:
        self._types = types
        self._said: set[tuple[int, type[Event]]] = set()

    def of(self, peer: Peer) -> Verdicts:
        """The verdicts so far."""
        found = peer.vetting
        if not isinstance(found, Verdicts):
            found = peer.vetting = Verdicts()
        return found

    def judge(self, peer: Peer, kinds: Set[type[Event]]) -> Verdicts | None:
        """The verdicts on at least these types; None: events of them have to wait."""
        verdicts = self.of(peer)
        if not kinds <= verdicts.good:
            for kind in kinds - verdicts.good - verdicts.bad.keys():
                if not self._decide(peer, verdicts, kind):
                    if not peer.is_final:
                        return None
                    self._refuse(peer, verdicts, kind, UNTOLD)
        if len(verdicts.good) == len(self._types.known):
            peer.vetted = self._types.version
        return verdicts

    def review(self, peers: Iterable[Peer]) -> None:
        """Judge all types that these peers have told: what is wrong is said before the first event of it."""
        for peer in peers:
            if peer.types is not None:
                verdicts = self.of(peer)
                for kind in self._types.known.keys() - verdicts.good - verdicts.bad.keys():
                    self._decide(peer, verdicts, kind)

    def _decide(self, peer: Peer, verdicts: Verdicts, kind: type[Event]) -> bool:
        """Whether that was possible."""
        tag = tag_of(kind)
        assert tag is not None
        ours = self._types.described[tag]
        theirs = ours if peer.types is None and not peer.digest else (peer.types or {}).get(tag)
        if theirs is None:
            return False
        if theirs != ours and (trouble := _difference(ours, theirs)) is not None:
            self._refuse(peer, verdicts, kind, trouble)
        else:
            verdicts.good.add(kind)
        return True

    def _refuse(self, peer: Peer, verdicts: Verdicts, kind: type[Event], trouble: str) -> None:
        verdicts.bad[kind] = trouble
        if (peer.epoch, kind) not in self._said and len(self._said) < MOST_SAID:
            self._said.add((peer.epoch, kind))
            log.error(
                "events %r of %s are refused and told as gaps: %s", tag_of(kind), peer.node, trouble
            )  # fmt: skip


def _difference(ours: bytes, theirs: bytes) -> str | None:
    try:
        return schema.difference(schema.decoded(ours), schema.decoded(theirs))
    except (ValueError, RecursionError):
        return "its description cannot be read"
