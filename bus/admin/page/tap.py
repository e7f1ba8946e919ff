"""Takes note of what the bus delivers, while somebody looks: frames as they are, decoded when they are shown.

For the bus it costs one call and one append per frame. Bounded: when more comes than is looked at, the
older frames are only counted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bus.protocol.frame import Header
    from bus.protocol.peer import Peer
    from bus.signals import Change, Loss

# Frames and losses that wait for the next look. A frame has up to 960 KiB.
MOST_FRAMES, MOST_TOLD = 32, 256


class Frame(NamedTuple):
    """Events of one node, encoded; the first `skip` were known."""

    node: str
    epoch: int
    header: Header
    data: bytes
    skip: int


class Tap:
    """A sink beside the one of the bus."""

    def __init__(self) -> None:
        self._notes: deque[Frame | Loss | Change] = deque()
        self._frames = 0
        self._told = 0
        self._unseen = 0

    def events(self, peer: Peer, header: Header, frame: bytes, skip: int) -> None:
        """The hot path."""
        if self._frames == MOST_FRAMES:
            self._forget(is_frame=True)
        self._frames += 1
        self._notes.append(Frame(peer.node, peer.epoch, header, frame, skip))

    def loss(self, loss: Loss) -> None:
        """In its place."""
        self._tell(loss)

    def change(self, change: Change) -> None:
        """In its place."""
        self._tell(change)

    def take(self) -> tuple[list[Frame | Loss | Change], int]:
        """All notes since the last look, in order, and how many events came before them unseen."""
        found, unseen = list(self._notes), self._unseen
        self._notes.clear()
        self._frames = self._told = self._unseen = 0
        return found, unseen

    def _tell(self, note: Loss | Change) -> None:
        if self._told == MOST_TOLD:
            self._forget(is_frame=False)
        self._told += 1
        self._notes.append(note)

    def _forget(self, *, is_frame: bool) -> None:
        """The oldest of one kind."""
        for index, note in enumerate(self._notes):
            if isinstance(note, Frame) is is_frame:
                del self._notes[index]
                break
        else:
            return
        if isinstance(note, Frame):
            self._frames -= 1
            self._unseen += note.header.count - note.skip
        else:
            self._told -= 1
            self._unseen += 1
