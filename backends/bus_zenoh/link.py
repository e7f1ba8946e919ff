"""One open zenoh session: a publisher, a subscriber, and the thread that reads it.

zenoh's callbacks would take its network thread or a queue that blocks it (T16). So zenoh drops the oldest
samples of a bounded ring without Python, and one thread of ours empties it in batches. No zenoh call is
ever made from inside a zenoh callback, and none that can wait from the event loop.
"""

from __future__ import annotations

import atexit
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from bus.errors import LinkError

if TYPE_CHECKING:
    import zenoh

    from bus.backend import Context
    from bus_zenoh.neighbours import Place

RING = 8192
BATCH_FRAMES = 32
BATCH_BYTES = 1 << 20
LOOK = 0.25


class ZenohLink:
    """One session on one channel."""

    def __init__(
        self, session: zenoh.Session, context: Context, place: Place | None, needs_router: bool
    ) -> None:
        import zenoh

        self._session = session
        self._context = context
        self._place = place
        self._needs_router = needs_router
        remote = zenoh.Locality.REMOTE
        self._subscriber = session.declare_subscriber(
            context.channel, zenoh.handlers.RingChannel(RING), allowed_origin=remote
        )
        self._publisher = session.declare_publisher(
            context.channel,
            congestion_control=zenoh.CongestionControl.DROP,
            allowed_destination=remote,
        )
        self._put = self._publisher.put
        self._reader = threading.Thread(target=self._read, name="bus-zenoh-reader", daemon=True)
        self._closer = threading.Thread(target=self._shut, name="bus-zenoh-closer")
        self._lock = threading.Lock()
        # A session that outlives the interpreter crashes it when its reader wakes up.
        atexit.register(self._shut)
        self._reader.start()

    async def run(self) -> None:
        """Wait for the end of the session; frames come through the reader thread."""
        # Looking is enough: zenoh tells of losses late, if ever; the proof of life is the core's.
        while self._reader.is_alive():
            if self._needs_router and not self._session.info.transports():
                raise LinkError("the connection to the router is lost")
            await anyio.sleep(LOOK)
        raise LinkError("the zenoh session has ended")

    async def send(self, frame: bytes) -> None:
        """Put one frame; drops it after `wait_before_drop` (1 ms) when a peer does not take it."""
        self._put(frame)

    async def close(self) -> None:
        """Close the session; what was put still leaves."""
        self.abort()
        while self._closer.is_alive() or self._reader.is_alive():
            await anyio.sleep(0.002)

    def abort(self) -> None:
        """Close the session in a thread of its own: a frozen peer can hold zenoh for `open_timeout`."""
        # Started twice, or while the interpreter ends: nothing is left to do.
        with suppress(RuntimeError):
            self._closer.start()

    def _read(self) -> None:
        import zenoh

        # The handler's own `recv`: that of the subscriber would borrow it and forbid to undeclare it.
        handler = self._subscriber.handler
        deliver = self._context.deliver_from_thread
        with suppress(zenoh.ZError):  # the ring is closed
            while True:
                sample: zenoh.Sample | None = handler.recv()
                batch: list[bytes] = []
                size = 0
                while sample is not None:
                    batch.append(sample.payload.to_bytes())
                    size += len(batch[-1])
                    if len(batch) == BATCH_FRAMES or size >= BATCH_BYTES:
                        break
                    sample = handler.try_recv()
                if not deliver(batch):
                    return

    def _shut(self) -> None:
        import zenoh

        with self._lock:
            atexit.unregister(self._shut)
            if self._place is not None:
                self._place.leave()
            try:
                self._subscriber.undeclare()
                self._session.close()
            except zenoh.ZError as error:
                self._context.log.debug("zenoh: close: %s", error)
