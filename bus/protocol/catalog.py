"""Which event types each node has: told by who has them, asked of who has told a digest that nobody knows.

A heartbeat carries a digest of the sender's types. Each node tells its types on every new connection, and
again when they become more, always before the first event of the new type. Who missed that asks; the answer
goes to all, so that of a hundred nodes of one release one is asked. What the types look like is not looked
at here: the core compares digests and hands descriptions on (`bus.schema`, `bus.vetting`).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import msgspec

from bus.protocol import control, frame as wire
from bus.protocol.control import Typed, Types
from bus.protocol.outlet import ANSWER_INTERVAL
from bus.protocol.peer import ASK_AGAIN, MIN_TRIES, NOT_HEARD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bus.protocol.log import Log
    from bus.protocol.outlet import Outlet
    from bus.protocol.peer import Peer
    from bus.protocol.repair import Repair

Tag = int | str

# Bytes of descriptions in one frame, of one type, and of all types of other nodes together.
PART = 32_768
LARGEST = 16_384
KNOWN_BYTES = 4 << 20
# ... and of what stands round them in a frame.
FRINGE = 32
# Who sees a new digest waits a random part of this before it asks: most likely somebody else did.
SPREAD_MS = 300


class Declared(Protocol):
    """The types of this node. `digest` 0 says nothing; it changes with `described`, and after it."""

    @property
    def digest(self) -> int:
        """64 bits over all of them."""
        ...

    @property
    def described(self) -> Mapping[Tag, bytes]:
        """Tag -> description (msgpack); replaced, never changed."""
        ...


class Nothing:
    """Of who says nothing of its types."""

    digest = 0
    described: Mapping[Tag, bytes] = MappingProxyType({})


class Wanted:
    """One peer whose types are asked for."""

    def __init__(self, peer: Peer, ask_in: float) -> None:
        self.peer = peer
        self.ask_in = ask_in
        self.tries = 0


class Catalog:
    """The types of this node and of its peers; `revision` changes whenever a peer's become known."""

    def __init__(
        self, log: Log, repair: Repair, peers: Mapping[int, Peer], random: Callable[[int], int],
        *, asks: bool,
    ) -> None:  # fmt: skip
        self.ours: Declared = Nothing()
        self.revision: int = 0
        self._log = log
        self._repair = repair
        self._peers = peers
        self._random = random
        self._asks = asks
        self._known: dict[int, Mapping[Tag, bytes]] = {}
        # Digest -> the parts of an answer that have come so far.
        self._parts: dict[int, dict[Tag, bytes]] = {}
        self._wanted: dict[int, Wanted] = {}

    # -- ours --------------------------------------------------------------------------------------

    def digest_on(self, outlet: Outlet) -> int:
        """What heartbeats on this link say: nothing (0) where a type is too large for it to be told."""
        room = outlet.control_room - FRINGE
        is_told = all(_weight(tag, one) <= room for tag, one in self.ours.described.items())
        return self.ours.digest if is_told else 0

    def tell(self, outlet: Outlet, now: float) -> None:
        """Put all of ours before whatever waits on this link."""
        # In this order: the digest follows what is described, perhaps in another thread.
        digest, described = self.ours.digest, self.ours.described
        outlet.types_told, outlet.types_at = digest, now
        if not digest:
            return
        self._keep(digest, described)
        self._adopt(digest)
        if not self.digest_on(outlet):
            return
        most = min(PART, outlet.control_room - FRINGE)
        parts: list[list[Typed]] = [[]]
        room = most
        for tag, description in described.items():
            weight = _weight(tag, description)
            if weight > room and parts[-1]:
                parts.append([])
                room = most
            room -= weight
            parts[-1].append(Typed(tag, msgspec.Raw(description)))
        for part in parts:
            body = Types(digest=digest, count=len(described), types=part)
            outlet.control.append((wire.TYPES, control.encode(body)))

    # -- theirs ------------------------------------------------------------------------------------

    def look(self, peer: Peer) -> None:
        """Its heartbeat carries another digest than before."""
        peer.unvet()
        peer.types = self.ours.described if peer.digest == self.ours.digest else self._known.get(peer.digest)
        if peer.types is not None or not peer.digest:
            self._settle(peer)
        elif self._asks and peer.epoch not in self._wanted:
            self._wanted[peer.epoch] = Wanted(peer, self._random(SPREAD_MS) / 1e3)

    def want(self, peer: Peer) -> None:
        """Events of it wait until its types are known: ask now."""
        wanted = self._wanted.get(peer.epoch)
        if wanted is None:
            self._wanted[peer.epoch] = Wanted(peer, 0.0)
        elif not wanted.tries:
            wanted.ask_in = 0.0

    def receive(self, outlet: Outlet, epoch: int, sent_us: int, body: Types, now: float) -> None:
        """A question, or a part of an answer."""
        if body.ask is not None:
            if body.ask in (0, self._log.epoch) and now - outlet.types_at >= ANSWER_INTERVAL:
                self.tell(outlet, now)
            return
        peer = self._peers.get(epoch)
        if peer is None or not body.digest:
            return
        parts = self._parts.setdefault(body.digest, {})
        parts.update((one.tag, bytes(one.description)) for one in body.types)
        if sent_us > peer.beat_us and body.digest != peer.digest:
            # Newer than its last heartbeat: told just before the first event of a new type.
            peer.digest, peer.types = body.digest, None
            peer.unvet()
        if len(parts) >= body.count:
            del self._parts[body.digest]
            self._keep(body.digest, parts)
            self._adopt(body.digest)
        _bound(self._parts)

    def _adopt(self, digest: int) -> None:
        for peer in self._peers.values():
            if peer.digest == digest and peer.types != self._known[digest]:
                peer.types = self._known[digest]
                self._settle(peer)

    def _settle(self, peer: Peer) -> None:
        self._wanted.pop(peer.epoch, None)
        self.revision += 1
        peer.retry()

    def _keep(self, digest: int, types: Mapping[Tag, bytes]) -> None:
        self._known.pop(digest, None)
        forgotten = _bound(self._known)
        self._known[digest] = types
        for peer in self._peers.values():
            # What was found out about its types stays; for a new one it is asked again.
            if peer.digest in forgotten:
                peer.types = None

    # -- asking ------------------------------------------------------------------------------------

    def ask(self, outlet: Outlet, now: float) -> bytes | None:
        """The question that is due on this link; one of the peers that have the same digest is asked."""
        for wanted in self._wanted.values():
            peer = wanted.peer
            if wanted.ask_in <= 0 and peer.unheard < NOT_HEARD and self._repair.way_to(peer) is outlet:
                for other in self._wanted.values():
                    if other.peer.digest == peer.digest:
                        other.ask_in = ASK_AGAIN[min(wanted.tries, len(ASK_AGAIN) - 1)]
                wanted.tries += 1
                del self._wanted[peer.epoch]
                if wanted.tries < MIN_TRIES or peer.is_unjudged:
                    self._wanted[peer.epoch] = wanted  # behind the others: it may be gone
                body = control.encode(Types(ask=peer.epoch))
                return wire.pack(wire.TYPES, 0, self._log.epoch, self._log.stamp(now), body)
        return None

    def waits_for(self, peer: Peer) -> bool:
        """Its types are not known yet, and asked for."""
        return peer.epoch in self._wanted

    def ask_all(self, outlet: Outlet) -> None:
        """Everybody's types, please: what an observer asks."""
        outlet.control.append((wire.TYPES, control.encode(Types(ask=0))))

    def tick(self, step: float) -> None:
        """`step` attended seconds passed."""
        for epoch, wanted in list(self._wanted.items()):
            wanted.ask_in -= step
            if wanted.peer.is_over or wanted.peer.is_told:
                del self._wanted[epoch]


def _weight(tag: Tag, description: bytes) -> int:
    """At most so many bytes of a frame."""
    return len(description) + 10 + (len(tag.encode()) if isinstance(tag, str) else 0)


def _bound(table: dict[int, Mapping[Tag, bytes]] | dict[int, dict[Tag, bytes]]) -> set[int]:
    """Forget the oldest until the rest fits; returns the digests that are forgotten."""
    sizes = {digest: 64 + sum(64 + len(one) for one in types.values()) for digest, types in table.items()}
    size, forgotten = sum(sizes.values()), set[int]()
    for digest, one in sizes.items():
        if size <= KNOWN_BYTES:
            break
        size -= one
        forgotten.add(digest)
        del table[digest]
    return forgotten
