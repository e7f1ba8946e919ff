"""One process of the benchmark: holds the ends of one side and does what it is told, line by line.

Orders and answers are JSON, one a line, on stdin and stdout; the end of stdin ends the process, so
that none outlives its parent.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bus import BusError
from bus.bench import ours, raw, served
from bus.bench.figures import percentile
from bus.bench.load import Delivery, Ends, Tally, UntoldLoss
from bus.bench.pace import paced

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

LOOK = 0.25


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is: given on its command line."""

    backend: str
    is_ours: bool
    role: str
    loop: str
    directory: str
    # Of the server, where there is one.
    url: str


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`listen`, `send`, `collect` or `usage`; `per_second` 0 = as fast as it goes."""

    do: str
    count: int = 0
    delivery: Delivery = "batch"
    per_second: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of an order; times are of `perf_counter`, which all processes share."""

    error: str | None = None
    count: int = 0
    lost: int = 0
    checksum: int = 0
    began: float = 0.0
    ended: float = 0.0
    p50_us: float | None = None
    p99_us: float | None = None
    cpu: float = 0.0
    waited: float = 0.0


class Worker:
    """Carries out the orders of one process."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._tally = Tally(0)
        self._receiving: asyncio.Task[None] | None = None

    async def obey(self, order: Order) -> Answer:
        """Do one order."""
        if order.do == "listen":
            return self._listen(order)
        if order.do == "send":
            return await self._send(order)
        if order.do == "collect":
            return await self._collect()
        return Answer(cpu=time.process_time(), waited=waited())

    def _listen(self, order: Order) -> Answer:
        assert self._ends.subscriber is not None
        gc.collect()
        self._tally = Tally(order.count)
        receive = self._ends.subscriber.listen(self._tally, order.delivery)
        self._receiving = asyncio.get_running_loop().create_task(receive)
        return Answer()

    async def _send(self, order: Order) -> Answer:
        assert self._ends.publisher is not None
        began = time.perf_counter()
        if order.per_second:
            checksum = await paced(self._ends.publisher.publish, order.count, order.per_second)
        else:
            await self._ends.publisher.bulk(order.count)
            checksum = order.count * (order.count - 1) // 2
        return Answer(count=order.count, checksum=checksum, began=began, ended=time.perf_counter())

    async def _collect(self) -> Answer:
        assert self._ends.subscriber is not None
        assert self._receiving is not None
        tally, receiving = self._tally, self._receiving
        before, quiet_since = -1, 0.0
        while not receiving.done():
            now = time.perf_counter()
            if before != (before := tally.count + tally.lost):
                quiet_since = now
            elif now - quiet_since > self._ends.subscriber.patience:
                receiving.cancel()
            await asyncio.wait({receiving}, timeout=LOOK)
        if not receiving.cancelled():
            receiving.result()
        delays = sorted(tally.delays)
        return Answer(
            count=tally.count, lost=tally.lost, checksum=tally.checksum,
            began=tally.began, ended=tally.ended,
            p50_us=percentile(delays, 50) / 1e3 if delays else None,
            p99_us=percentile(delays, 99) / 1e3 if delays else None,
        )  # fmt: skip


def waited() -> float:
    """Seconds that the threads of this process were ready to run while others had the cores."""
    total = 0
    for file in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(file.read_text().split()[1])
        except OSError:  # the thread has ended
            continue
    return total / 1e9


def open_ends(post: Post) -> AbstractAsyncContextManager[Ends]:
    """The ends that this process holds."""
    if post.backend == "memory":
        return ours.open_memory() if post.is_ours else raw.open_memory()
    if post.is_ours:
        return ours.open_bus(post.role, post.url or "zenoh://")
    if post.backend == "zenoh":
        return raw.open_zenoh(post.role, post.directory)
    return served.open_client(post.backend, post.role, post.url)


async def serve(post: Post) -> None:
    """Obey until stdin ends."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    decode = msgspec.json.Decoder(Order).decode
    try:
        async with open_ends(post) as ends:
            worker = Worker(ends)
            say(Answer())
            while line := await orders.readline():
                say(await worker.obey(decode(line)))
    except (BusError, UntoldLoss, TimeoutError) as error:
        say(Answer(error=f"{type(error).__name__}: {error}"))


def say(answer: Answer) -> None:
    """One line for the parent."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """The process."""
    post = msgspec.json.decode(sys.argv[1], type=Post)
    make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if post.loop == "uvloop":
        import uvloop

        make_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(serve(post))


if __name__ == "__main__":
    main()
