"""The Memory backend: the buses of one process, joined by channel. The template to copy for a new
backend.

`send` hands the frame to every link of the channel in one call stack, the sender's own included
(that echo is the proof of life). Buses in other threads, with an event loop of their own, get it
through their thread door, without waiting: two loops that wait for each other would never wake.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

import anyio

from bus.backend import Context, Fault, Features, LinkError
from bus.config import Memory

# Decides what happens to one frame between two links of this process: called with (sender,
# receiver, frame, pass_on). Fault injection for tests (`bus.testing`); None = hand over at once.
Fate = Callable[["MemoryLink", "MemoryLink", bytes, Callable[[bytes], None]], None]


class Hub:
    """All links of this process, by channel."""

    def __init__(self) -> None:
        self.fate: Fate | None = None
        self._lock = threading.Lock()
        self._links: dict[str, tuple[MemoryLink, ...]] = {}

    def join(self, link: MemoryLink) -> None:
        """From now on the link hears its channel."""
        with self._lock:
            channel = link.context.channel
            self._links[channel] = (*self._links.get(channel, ()), link)

    def leave(self, link: MemoryLink) -> None:
        """The link hears nothing more. Idempotent."""
        with self._lock:
            channel = link.context.channel
            rest = tuple(one for one in self._links.get(channel, ()) if one is not link)
            if rest:
                self._links[channel] = rest
            else:
                self._links.pop(channel, None)

    def links(self, channel: str) -> tuple[MemoryLink, ...]:
        """Who hears the channel now."""
        return self._links.get(channel, ())


hub: Hub = Hub()


class MemoryLink:
    """One bus on its channel."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._thread = threading.get_ident()
        self._gone = anyio.Event()
        self._is_open = True
        hub.join(self)

    async def run(self) -> None:
        """Frames come through the hub: only wait for the end."""
        await self._gone.wait()
        raise LinkError("the memory link was aborted")

    async def send(self, frame: bytes) -> None:
        """To everybody on the channel, at once."""
        if not self._is_open:
            raise LinkError("the memory link is closed")
        for link in hub.links(self.context.channel):
            if hub.fate is None:
                link.take(frame)
            else:
                hub.fate(self, link, frame, link.take)

    def take(self, frame: bytes) -> None:
        """One frame for this link."""
        if threading.get_ident() == self._thread:
            if self._is_open:
                self.context.deliver(frame)
        else:
            self.context.deliver_from_thread((frame,), wait=False)

    async def close(self) -> None:
        """Nothing is in flight: leave."""
        self.abort()

    def abort(self) -> None:
        """Leave the channel."""
        self._is_open = False
        hub.leave(self)
        self._gone.set()


class MemoryBackend:
    """Backend for the variant `Memory`."""

    # No server is spared by larger frames, and what one is decoded to should fit into the cache.
    features: ClassVar[Features] = Features(proof="echo", max_frame=65_536)
    Config: ClassVar[type[Memory]] = Memory

    def __init__(self, config: Memory, context: Context) -> None:
        self._context = context

    async def connect(self) -> MemoryLink:
        """Join the channel."""
        return MemoryLink(self._context)

    def classify(self, exc: BaseException) -> Fault | None:
        """Only its own errors can happen."""
        return Fault.UNREACHABLE if isinstance(exc, LinkError) else None
