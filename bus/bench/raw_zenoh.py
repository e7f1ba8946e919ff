"""The raw side for Zenoh: one `put` for each event, a ring and a thread at the receiver.

Congestion control DROP; zenoh itself packs the samples into its batches. A RingChannel holds 65,536 of
them; a reader thread empties it and hands the payloads to the loop in batches with `call_soon_threadsafe`;
the loop decodes each. Peers over unix sockets in a folder of the run, as ours.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from bus.bench.load import Ends
from bus.bench.raw import Receiver
from bus.bench.work import BURST, SLOW_EVENTS, event_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import zenoh

    from bus.bench.clients import Channels
    from bus.bench.window import Window
    from bus.bench.work import CacheInvalidated, Sized, Work

RING = 65_536
MOST = 1_024
"""Payloads that the reader thread hands over at once."""
CONNECT = 20.0


class ZenohPublisher:
    """`put` for each event, from the loop's thread."""

    def __init__(self, publisher: zenoh.Publisher) -> None:
        # zenoh's stubs name no types here, and for `matching_status` below a wrong one.
        self._put: Callable[[bytes], object] = publisher.put  # pyright: ignore[reportUnknownMemberType]
        self._encode = msgspec.msgpack.Encoder().encode

    async def bulk(self, work: Work, window: Window) -> None:
        """A burst in each turn of the loop."""
        put, encode, event = self._put, self._encode, event_of(work.size)
        since = 0
        for first in range(0, work.count, work.burst):
            last = min(first + work.burst, work.count)
            for account in range(first, last):
                put(encode(event(account)))
            if (since := since + work.burst) >= BURST:
                since = 0
                await window.room(last, work.window)
            await asyncio.sleep(0)

    def publish(self, event: CacheInvalidated | Sized) -> None:
        """One event."""
        self._put(self._encode(event))


class ZenohSubscriber(Receiver):
    """A ring, a thread that empties it, and the loop that decodes."""

    patience: float = 1.0

    def __init__(self, subscriber: zenoh.Subscriber[zenoh.handlers.Handler[zenoh.Sample]]) -> None:
        super().__init__()
        self._handler = subscriber.handler
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, name="bench-reader")
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread; the ring must be closed."""
        self._thread.join()

    def _read(self) -> None:
        import zenoh

        recv, try_recv = self._handler.recv, self._handler.try_recv
        call = self._loop.call_soon_threadsafe
        with suppress(zenoh.ZError):  # the ring is closed
            while True:
                sample: zenoh.Sample | None = recv()
                batch: list[bytes] = []
                while sample is not None:
                    batch.append(sample.payload.to_bytes())
                    sample = try_recv() if len(batch) < MOST else None
                call(self._take_all, batch)
                if self.pause:
                    time.sleep(self.pause * len(batch) / SLOW_EVENTS)

    def _take_all(self, batch: list[bytes]) -> None:
        got, decode = self._got, self._decode
        if got is not None:
            for payload in batch:
                got(decode(payload))


@asynccontextmanager
async def open_zenoh(
    role: str, index: int, nodes: int, channels: Channels, directory: str
) -> AsyncGenerator[Ends]:
    """One session. Who has a lower index listens on a unix socket in `directory`, the others go there."""
    import zenoh

    sockets = [f"unixsock-stream/{directory}/raw-{number}.sock" for number in range(nodes)]
    listens = sockets[index : index + 1] if role != "publisher" else []
    connects = sockets[:index] if role == "node" else sockets[:1] if role == "publisher" else []
    settings = {
        "mode": "peer",
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        # As ours: nothing but the socket carries the events.
        "transport/shared_memory/enabled": False,
        "listen/endpoints": listens,
        "connect/endpoints": connects,
        # The other one may be later.
        "connect/exit_on_failure": False,
        "connect/timeout_ms": -1,
        "connect/retry": {"period_init_ms": 50, "period_max_ms": 200, "period_increase_factor": 2},
    }
    config = zenoh.Config()
    for key, value in settings.items():
        config.insert_json5(key, json.dumps(value))  # pyright: ignore[reportUnknownMemberType]
    session = await asyncio.to_thread(zenoh.open, config)
    ends = Ends()
    ring, subscriber = None, None
    try:
        if channels.hears:
            keys = channels.hears[0] if role == "subscriber" else f"{channels.hears[0].rpartition('.')[0]}.*"
            # Everybody hears everybody here: the session leaves out what it sent itself.
            ring = session.declare_subscriber(
                keys.replace(".", "/"), zenoh.handlers.RingChannel(RING),
                allowed_origin=zenoh.Locality.REMOTE,
            )  # fmt: skip
            subscriber = ends.subscriber = ZenohSubscriber(ring)
        if channels.sends:
            publisher = session.declare_publisher(
                channels.sends.replace(".", "/"), congestion_control=zenoh.CongestionControl.DROP
            )
            await _matched(session, publisher, nodes - 1 if role == "node" else 1)
            ends.publisher = ZenohPublisher(publisher)
        try:
            yield ends
        finally:
            if ring is not None and subscriber is not None:
                ring.undeclare()  # type: ignore[no-untyped-call]  # zenoh's stubs
                subscriber.join()
    finally:
        session.close()  # type: ignore[no-untyped-call]  # zenoh's stubs


async def _matched(session: zenoh.Session, publisher: zenoh.Publisher, peers: int) -> None:
    deadline = time.monotonic() + CONNECT
    while not (
        getattr(publisher.matching_status, "matching", False) and len(session.info.peers_zid()) >= peers
    ):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the raw zenoh publisher did not find {peers} subscribers in {CONNECT:g} s")
        await asyncio.sleep(0.02)
