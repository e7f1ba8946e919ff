"""One process of the benchmark: holds the ends of one side and does what it is told, line by line.

Orders and answers are JSON, one a line, on stdin and stdout; the end of stdin ends the process, so
that none outlives its parent.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bus import BusError
from bus.bench.figures import percentile
from bus.bench.load import Ends, Tally, UntoldLoss
from bus.bench.pace import paced
from bus.bench.window import Window
from bus.bench.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

LOOK = 0.25
CURVE = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9)
"""Percentiles of the delays that are reported."""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is: given on its command line. `role`: publisher, subscriber, both, or node."""

    backend: str
    side: str
    role: str
    loop: str
    directory: str
    # Of the server, where there is one.
    url: str
    index: int = 0
    # Processes that all publish; 1: one publishes.
    nodes: int = 1
    # Of the events; 0: the usual one.
    size: int = 0
    key: str | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`listen`, `send`, `collect` or `usage`."""

    do: str
    work: Work | None = None


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
    curve: list[tuple[float, float]] = []
    # When it came, when it was due (ns), of each event where the work wants it.
    log: list[tuple[int, int]] = []
    cpu: float = 0.0
    waited: float = 0.0
    switches: int = 0
    rss: int = 0
    # Of the bus: seconds READY without a break; events that came by repair.
    ready_for: float = 0.0
    repaired: int = 0


class Worker:
    """Carries out the orders of one process."""

    def __init__(self, ends: Ends, window: Window, post: Post) -> None:
        self._ends = ends
        self._window = window
        self._post = post
        self._tally = Tally(0)
        self._receiving: asyncio.Task[None] | None = None

    async def obey(self, order: Order) -> Answer:
        """Do one order."""
        if order.do == "listen":
            assert order.work is not None
            return self._listen(order.work)
        if order.do == "send":
            assert order.work is not None
            return await self._send(order.work)
        if order.do == "collect":
            return await self._collect()
        return self._usage()

    def _listen(self, work: Work) -> Answer:
        assert self._ends.subscriber is not None
        gc.collect()
        self._window.show(0)
        others = max(1, self._post.nodes - 1)
        self._tally = Tally(work.count * others, self._window)
        if work.is_logged:
            self._tally.log = []
        receive = self._ends.subscriber.listen(self._tally, work)
        self._receiving = asyncio.get_running_loop().create_task(receive)
        return Answer()

    async def _send(self, work: Work) -> Answer:
        assert self._ends.publisher is not None
        nodes, index = self._post.nodes, self._post.index
        self._window.watch(tuple(n for n in range(nodes) if nodes == 1 or n != index), max(1, nodes - 1))
        began = time.perf_counter()
        if work.per_second:
            checksum = await paced(self._ends.publisher.publish, work)
        else:
            await self._ends.publisher.bulk(work, self._window)
            checksum = work.count * (work.count - 1) // 2
        return Answer(count=work.count, checksum=checksum, began=began, ended=time.perf_counter())

    async def _collect(self) -> Answer:
        subscriber = self._ends.subscriber
        assert subscriber is not None
        assert self._receiving is not None
        tally, receiving = self._tally, self._receiving
        before, quiet_since = -1, 0.0
        while not receiving.done():
            now = time.perf_counter()
            if before != (before := tally.count + tally.lost):
                quiet_since = now
            elif now - quiet_since > subscriber.patience:
                subscriber.settle()
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
            curve=[(at, percentile(delays, at) / 1e3) for at in CURVE] if delays else [],
            log=tally.log or [],
        )  # fmt: skip

    def _usage(self) -> Answer:
        ready_for, repaired = 0.0, 0
        if (bus := self._ends.bus) is not None:
            status = bus.status()
            ready_for = min((link.since for link in status.links if link.state == "READY"), default=0.0)
            repaired = sum(peer.repaired for peer in status.peers)
        return Answer(
            cpu=time.process_time(), waited=waited(), switches=switches(), rss=resident(),
            ready_for=ready_for, repaired=repaired,
        )  # fmt: skip


def waited() -> float:
    """Seconds that the threads of this process were ready to run while others had the cores."""
    return sum(int(text.split()[1]) for text in _of_threads("schedstat")) / 1e9


def switches() -> int:
    """How often its threads went to sleep: each wake-up is one."""
    lines = [line for text in _of_threads("status") for line in text.splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def resident() -> int:
    """Bytes of memory that this process has; 0 where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def _of_threads(name: str) -> list[str]:
    found: list[str] = []
    for file in Path("/proc/self/task").glob(f"*/{name}"):
        try:
            found.append(file.read_text())
        except OSError:  # the thread has ended
            continue
    return found


def open_ends(post: Post) -> AbstractAsyncContextManager[Ends]:
    """The ends that this process holds; imports what its side needs and no more."""
    if post.side in ("bus", "unsealed"):
        from bus.bench import ours

        # Two sides that are a bus must not hear each other.
        cluster = f"bench-{post.side}"
        if post.backend == "memory":
            return ours.open_memory(cluster, post.size, post.key)
        peers = max(1, post.nodes - 1)
        name = f"{post.role}-{post.index}"
        url = post.url or "zenoh://"
        return ours.open_bus(post.role, name, url, cluster, post.size, post.key, peers)
    if post.side == "tcp":
        from bus.bench import tcp

        return tcp.open_tcp(post.role, post.directory, post.size)
    if post.backend == "memory" and post.side == "raw":
        from bus.bench import raw

        return raw.open_memory()
    from bus.bench import clients

    channels = clients.Channels(post.side, post.role, post.index, post.nodes)
    if post.side != "raw":
        from bus.bench import peers as others

        return others.open_peer(post.side, post.backend, channels, post.url)
    if post.backend == "zenoh":
        from bus.bench import raw_zenoh

        return raw_zenoh.open_zenoh(post.role, post.index, post.nodes, channels, post.directory)
    return clients.open_client(post.backend, channels, post.url)


async def serve(post: Post) -> None:
    """Obey until stdin ends."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    decode = msgspec.json.Decoder(Order).decode
    window = Window(Path(post.directory, f"{post.side}.window"), post.index)
    try:
        async with open_ends(post) as ends:
            worker = Worker(ends, window, post)
            say(Answer())
            while line := await orders.readline():
                say(await worker.obey(decode(line)))
    except (BusError, UntoldLoss, TimeoutError, ImportError) as error:
        say(Answer(error=f"{type(error).__name__}: {error}"))
    finally:
        window.close()


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
    # The parent is gone: nobody is left to tell.
    with suppress(BrokenPipeError), asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(serve(post))


if __name__ == "__main__":
    main()
