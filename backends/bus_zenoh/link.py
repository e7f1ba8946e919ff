"""One open zenoh session: a publisher, a subscriber, and the thread that reads it.

zenoh's own callbacks run on its network thread, or behind a queue that blocks it (T16). Here a
bounded ring drops the oldest samples without Python, and one thread of ours empties it in batches.
No zenoh call is made inside a zenoh callback, and none that may wait long on the event loop.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bus.errors import LinkError

if TYPE_CHECKING:
    import zenoh

    from bus.backend import Context
    from bus_zenoh.neighbours import Place

# Samples. While the loop spins, each `recv` waits up to 5 ms for the interpreter's lock: the more
# frames a batch takes, the fewer the ring drops.
RING = 4096
BATCH_FRAMES = 256
BATCH_BYTES = 1 << 20
LOOK = 0.25
JOIN = 1.0


async def in_thread(call: Callable[[], object]) -> None:
    """Run a blocking call; when cancelled, leave it behind."""
    # A limiter of its own: the common one may be full of the user's calls.
    await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))


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
        self._is_aborted = False
        self._subscriber = session.declare_subscriber(
            context.channel,
            zenoh.handlers.RingChannel(RING),
            allowed_origin=zenoh.Locality.REMOTE,
        )
        # Not `express`: it gains no latency and loses most of the rate of small frames.
        self._publisher = session.declare_publisher(
            context.channel, congestion_control=zenoh.CongestionControl.DROP
        )
        self._reader = threading.Thread(target=self._read, name="bus-zenoh-reader", daemon=True)
        self._closer = threading.Thread(target=self._shut, name="bus-zenoh-closer")
        self._lock = threading.Lock()
        # Without: a reader that wakes up while the interpreter ends aborts the process ("exception
        # not rethrown", 10 of 12 runs), since Rust code does not survive the end of its thread.
        atexit.register(self._shut)
        self._reader.start()

    async def run(self) -> None:
        """Wait for the end of the session; frames come through the reader thread."""
        while self._reader.is_alive():
            if self._needs_router and not self._session.info.transports():
                raise LinkError("the connection to the zenoh router is lost")
            await anyio.sleep(LOOK)
        raise LinkError("the zenoh session has ended")

    async def send(self, frame: bytes) -> None:
        """Put one frame; what a peer does not take within `wait_before_drop` is dropped for it."""
        if self._is_aborted:
            raise LinkError("the zenoh link is closed")
        self._publisher.put(frame)  # pyright: ignore[reportUnknownMemberType]  # zenoh's stubs

    async def close(self) -> None:
        """Close the session; what was put still leaves."""
        self.abort()
        await in_thread(self._closer.join)

    def abort(self) -> None:
        """Close it in a thread: a peer that froze while zenoh connects to it holds it a while."""
        self._is_aborted = True
        with suppress(RuntimeError):  # started before
            self._closer.start()

    def _read(self) -> None:
        import zenoh

        handler = self._subscriber.handler
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
                if not self._context.deliver_from_thread(batch):
                    return

    def _shut(self) -> None:
        import zenoh

        with self._lock:
            atexit.unregister(self._shut)
            if self._place is not None:
                self._place.leave()
            try:
                self._session.close()  # type: ignore[no-untyped-call]  # zenoh's stubs
            except zenoh.ZError as error:
                self._context.log.debug("zenoh: close: %s", error)
            self._reader.join(JOIN)
