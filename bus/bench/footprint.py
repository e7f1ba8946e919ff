"""What is kept in memory. A process of its own, `python -m bus.bench.footprint 1`; prints rows as JSON.

Bytes for each peer (with 10 to 1,000 of them) and for each event that waits in the log, of an open bus, and
what a million events that went through leave behind.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import tracemalloc
from typing import TYPE_CHECKING

import msgspec

from bus import Bus, Change, Limits, Loss
from bus.bench.growth import ROOMY, Row
from bus.bench.work import BURST, CacheInvalidated, event_of
from bus.bench.worker import resident
from bus.protocol import control
from bus.protocol.engine import Engine
from bus.protocol.frame import HEARTBEAT, Header, pack
from bus.protocol.log import Log
from bus.protocol.outlet import Outlet, Sizes

if TYPE_CHECKING:
    from bus.protocol.peer import Peer

PEERS = (10, 100, 1_000)
BEATS = 50
WAITING = (1_000, 100_000, 1_000_000)
THROUGH = 1_000_000
MEGABYTE = 1 << 20


class Nowhere:
    """A sink that drops everything."""

    def events(self, peer: Peer, header: Header, frame: bytes, skip: int) -> None:
        """Dropped."""

    def loss(self, loss: Loss) -> None:
        """Dropped."""

    def change(self, change: Change) -> None:
        """Dropped."""


def peers(scale: float) -> list[Row]:
    """Bytes for each peer when it is new, and after it has beaten many times more."""
    rows: list[Row] = []
    for number in PEERS:
        count = max(2, int(number * scale))
        engine = Engine("footprint", 1, Limits(), Nowhere(), 0.0, random.Random(1).randrange)
        outlet = engine.attach(Sizes())
        engine.up(outlet)
        outlet.is_ready = True
        before = _traced()
        _beat(engine, outlet, count, 1)
        new = _traced()
        for counter in range(2, BEATS):
            _beat(engine, outlet, count, counter)
        old = _traced()
        rows.append(
            Row(
                {"peers": count},
                {"peer_bytes": (new - before) / count, "peer_grew_bytes": (old - new) / count},
            )
        )
    return rows


def _beat(engine: Engine, outlet: Outlet, count: int, counter: int) -> None:
    now = float(counter)
    for number in range(count):
        beat = control.Heartbeat(name=f"node-{number}", counter=counter, uptime_us=counter * 1_000_000)
        frame = pack(HEARTBEAT, 0, 1_000 + number, counter * 1_000_000, control.encode(beat))
        engine.receive(outlet, frame, now)
    engine.tick(now)


def waiting(scale: float) -> list[Row]:
    """Bytes for each event that waits in the log, beside its size."""
    rows: list[Row] = []
    encode, event = msgspec.msgpack.Encoder().encode, event_of(0)
    for number in WAITING:
        count = max(1_000, int(number * scale))
        log = Log(1, ROOMY)
        before, size = _traced(), 0
        for account in range(count):
            body = encode(event(account))
            size += len(body)
            log.append(body)
            if account % 10_000 == 0:
                log.tick(account / 1e6)
        log.tick(2.0)
        rows.append(
            Row(
                {"waiting": count},
                {"log_bytes": (_traced() - before) / count, "event_bytes": size / count},
            )
        )
    return rows


async def through(scale: float) -> list[Row]:
    """What the process has before, after the log is full once, and after many more events."""
    count = max(10_000, int(THROUGH * scale))
    event = event_of(0)
    bare = resident()
    async with (
        Bus.open("memory://", node="a", cluster="footprint", limits=Limits(log_bytes=8 * MEGABYTE)) as a,
        Bus.open("memory://", node="b", cluster="footprint", events=(CacheInvalidated,)) as b,
    ):
        await a.ready(peers=1)
        await b.ready(peers=1)
        opened = resident()
        sizes: list[int] = []
        async with b.subscribe(CacheInvalidated) as inbox:
            for _ in range(2):
                for first in range(0, count, BURST):
                    for account in range(first, first + BURST):
                        a.publish(event(account))
                    seen = 0
                    while seen < BURST:
                        seen += len(await inbox.batch())
                gc.collect()
                sizes.append(resident())
        return [
            Row(
                {"through": count},
                {
                    "rss_mb": bare / MEGABYTE, "two_buses_mb": (opened - bare) / MEGABYTE,
                    "first_mb": (sizes[0] - opened) / MEGABYTE, "then_mb": (sizes[1] - sizes[0]) / MEGABYTE,
                },
            )
        ]  # fmt: skip


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def main(scale: float) -> list[Row]:
    """All rows; `scale` below 1 makes everything smaller."""
    # Before anything is traced: tracing costs memory itself.
    rows = asyncio.run(through(scale))
    tracemalloc.start()
    return [*rows, *peers(scale), *waiting(scale)]


if __name__ == "__main__":
    print(msgspec.json.encode(main(float(sys.argv[1]))).decode())
