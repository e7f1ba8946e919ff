"""The seal as the core sees it (rule 18): who seals and opens frames, and who has still to prove itself.

A cluster key says that a frame was made by one of us, not when: whoever can read the broker may send it once
more. What no recording can do is to name our epoch, random bits drawn when we started, with a stamp of ours
from the last seconds. Until a heartbeat does so, its sender is a stranger: nothing of it is delivered, it has
no name, and its end is nobody's loss. Our own heartbeats name the strangers that are heard, apart from our
peers: that is how two nodes that never met get to know each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bus.protocol.control import MAX_ENTRIES
from bus.protocol.frame import (
    DATA,
    HEARTBEAT,
    OBSERVER,
    REPORT,
    REQUEST,
    SEALED,
    VERSION,
    FrameError,
    check_numbers,
)
from bus.protocol.peer import NOT_HEARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bus.protocol.control import Entry
    from bus.protocol.frame import Header
    from bus.protocol.outlet import Outlet
    from bus.protocol.peer import Peer

# Seconds by our own clock: a stamp of ours that is older than this may have been recorded.
FRESH = 10.0
# Seconds without news until a stranger is forgotten, and how many are remembered.
PATIENCE = 10.0
MOST = 256


class Sealer(Protocol):
    """Seals what we send and opens what comes in; `bus.seal` has the one that is used."""

    def seal(self, frame: bytes) -> bytes:
        """A finished frame, sealed with a nonce that was never used before."""
        ...

    def open(self, frame: bytes, header: Header) -> bytes | None:
        """The header as it came, and its body in the clear; None when no key of ours opens it."""
        ...

    def knows(self, key_id: int) -> bool:
        """Is it the mark of a key of ours?"""
        ...


class Guard:
    """Lets in who has the key and is there now. One engine with a key has one of these."""

    def __init__(self, seal: Sealer, outlets: Sequence[Outlet], peers: Mapping[int, Peer]) -> None:
        self._seal = seal
        self._outlets = outlets
        self._peers = peers
        # Stranger -> seconds since its last news; who was named last stands at the end.
        self._silent: dict[int, float] = {}
        # Stranger that is no observer -> seconds from its first news to its newest.
        self._lasting: dict[int, float] = {}
        # Observers that have named us, though they are no peers: they may ask for reports.
        self._observers: set[int] = set()

    # -- frames ------------------------------------------------------------------------------------

    def is_ours(self, header: Header, frame: bytes) -> bool:
        """Did we seal this frame with our epoch? Asked of heartbeats only: one a second proves enough."""
        return header.kind == HEARTBEAT and self._seal.open(frame, header) is not None

    def open(self, outlet: Outlet, header: Header, frame: bytes) -> bytes:
        """The frame in the clear, when it may mean anything to us.

        Raises FrameError: "version", "unsealed", "key", "forged", "unknown", "replayed", "range", "count".
        """
        kind, epoch = header.kind, header.epoch
        if header.version != VERSION and kind != HEARTBEAT:
            raise FrameError("version")
        if not header.flags & SEALED:
            raise FrameError("unsealed")
        clear = self._seal.open(frame, header)
        if clear is None:
            if self._seal.knows(header.key_id):
                raise FrameError("forged")
            raise FrameError("key")
        check_numbers(clear, header)
        if kind == HEARTBEAT:
            if header.sent_us <= outlet.heard_of.get(epoch, (0, -1))[1]:
                raise FrameError("replayed")
            return clear
        if kind == DATA and epoch in self._peers:
            return clear
        if epoch not in self._peers and (kind in (DATA, REQUEST) or epoch not in self._observers):
            raise FrameError("unknown")
        if kind in (REQUEST, REPORT):
            # DATA has numbers. These would be answered again when they are carried again.
            if header.sent_us <= outlet.asked.get((epoch, kind), -1):
                raise FrameError("replayed")
            outlet.asked[epoch, kind] = header.sent_us
        return clear

    # -- strangers ---------------------------------------------------------------------------------

    def admit(self, outlet: Outlet, header: Header, ours: Iterable[Entry], now: float) -> bool:
        """A heartbeat of one that is no peer; `ours` are its entries about us. True: now it is one."""
        epoch = header.epoch
        is_here = any(entry.sent_us >= (now - FRESH) * 1e6 for entry in ours)
        is_observer = bool(header.flags & OBSERVER)
        if is_here and not is_observer:
            self._silent.pop(epoch, None)
            self._lasting.pop(epoch, None)
            # To be told soon that it is no stranger any more.
            for one in self._outlets:
                one.said.pop(epoch, None)
            return True
        if epoch not in self._silent and len(self._silent) >= MOST:
            self._forget(max(self._silent, key=self._silent.__getitem__))
        outlet.heard_of[epoch] = (int(now * 1e6), header.sent_us)
        if is_here:
            self._observers.add(epoch)
        elif not is_observer:
            # Live or recorded, nobody can tell; and who is deaf outwards hears nothing else (rule 10).
            outlet.heard = True
            self._lasting[epoch] = self._lasting.get(epoch, 0.0) + self._silent.get(epoch, 0.0)
        self._silent[epoch] = 0.0
        self.greet(outlet, epoch, now)
        return False

    @property
    def expects_peers(self) -> bool:
        """Some stranger goes on: a recording that comes all at once does not."""
        return any(lasting >= NOT_HEARD for lasting in self._lasting.values())

    def greet(self, outlet: Outlet, epoch: int, now: float, *, again: bool = False) -> None:
        """Name it soon, if this connection has not; `again`: it does not know yet that we have."""
        if again:
            outlet.said.pop(epoch, None)
        if epoch not in outlet.said:
            outlet.beat_soon(now)

    def choose(self, outlet: Outlet, has_peers: bool) -> list[int]:
        """Whom the next heartbeat names: the newest first, since recordings may be many.

        Beside peers they take half of the places.
        """
        heard = [epoch for epoch in self._silent if epoch in outlet.heard_of]
        new = [epoch for epoch in reversed(heard) if epoch not in outlet.said]
        old = [epoch for epoch in heard if epoch in outlet.said]
        chosen = (new + old)[: MAX_ENTRIES // 2 if has_peers else MAX_ENTRIES]
        for epoch in chosen:
            self._silent[epoch] = self._silent.pop(epoch)
        return chosen

    def tick(self, step: float) -> None:
        """`step` attended seconds passed."""
        for epoch in list(self._silent):
            self._silent[epoch] += step
            if self._silent[epoch] >= PATIENCE:
                self._forget(epoch)

    def _forget(self, epoch: int) -> None:
        self._silent.pop(epoch, None)
        self._lasting.pop(epoch, None)
        self._observers.discard(epoch)
        for outlet in self._outlets:
            outlet.forget(epoch)
