"""What a backend's `Context` opens onto: the way of frames from one link into the engine.

A door belongs to one link. It exists before the link does and stays harmless after its end: frames
of a library callback that come late are dropped here.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from bus.backend import Context
from bus.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bus.node import Node
    from bus.protocol.outlet import Outlet
    from bus.supervisor import Supervisor

BATCHES_WAITING = 2
LOOK_AGAIN = 0.2


class Door:
    """From one link to the node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._outlet: Outlet | None = None
        self._supervisor: Supervisor | None = None
        self._room = threading.BoundedSemaphore(BATCHES_WAITING)
        self._is_shut = False
        self._context: Context | None = None

    def context(self, name: str, epoch: int, channel: str, connect_timeout: float) -> Context:
        """What the backend gets."""
        self._context = Context(
            node=name, epoch=epoch, channel=channel, deliver=self.deliver,
            deliver_stamped=self.deliver, deliver_from_thread=self.deliver_from_thread,
            confirmed=self.confirmed, proven=self.proven,
            connect_timeout=connect_timeout, log=quiet("bus.backend"),
        )  # fmt: skip
        return self._context

    def allow(self, seconds: float) -> None:
        """The next `connect` gets so long, and divides that among its addresses."""
        if self._context is not None:
            self._context.connect_timeout = seconds

    def open(self, outlet: Outlet, supervisor: Supervisor) -> None:
        """The link exists now."""
        self._outlet = outlet
        self._supervisor = supervisor

    def shut(self) -> None:
        """The link is gone for good."""
        self._outlet = self._supervisor = None
        self._is_shut = True

    def deliver(self, frame: bytes, stamp: float | None = None) -> None:
        """One frame, in the loop's thread."""
        if self._outlet is not None:
            self._node.receive(self._outlet, frame, stamp)

    def deliver_from_thread(self, frames: Sequence[bytes], /, *, wait: bool = True) -> bool:
        """A batch from another thread; bounded (see `bus.backend.ThreadDoor`)."""
        while not self._room.acquire(blocking=wait, timeout=LOOK_AGAIN if wait else None):
            # Also looks whether the loop still runs: one that died cannot make room.
            if not wait or self._is_shut or not self._call_soon(_nothing):
                return False
        return self._call_soon(partial(self._deliver_batch, frames)) and not self._is_shut

    def _call_soon(self, call: Callable[[], object]) -> bool:
        try:
            self._node.loop.call_soon_from_thread(call)
        except RuntimeError:
            self._is_shut = True
            return False
        return True

    def confirmed(self) -> None:
        """One more frame is confirmed by the server."""
        if self._supervisor is not None:
            self._supervisor.confirmed()

    def proven(self) -> None:
        """The server answered on our connection."""
        if self._supervisor is not None:
            self._supervisor.proven()

    def _deliver_batch(self, frames: Sequence[bytes]) -> None:
        self._room.release()
        for frame in frames:
            self.deliver(frame)


def _nothing() -> None:
    """Only to see whether the loop takes calls."""
