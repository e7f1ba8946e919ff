"""One node: writers and readers over the database, a cache, and the bus that keeps the cache right.

`run` is the whole life of a node. The host says a word, the node answers when it is done:

    (opened)  -> ready      every other node hears us and is heard
    start                   writers and readers begin
    stop      -> stopped    every write is committed and published
    check     -> checked    readers have ended, each cached row was compared with the database
    end                     the bus is closed
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import msgspec

from bus import Bus, Closed, Event, Loss, Subscription
from bus.config import File
from bus.demo.cache import Cache, Judge
from bus.demo.database import Database, Record
from bus.demo.receipts import Receipts

HOT_KEYS = 64
HOT_SHARE = 0.5
WRITERS = 4
READERS = 4
READS_PER_TURN = 10
TURN = 0.04
# Seconds of work that a writer which was kept from it catches up with, no more.
MOST_BEHIND = 3.0
SAMPLE = 0.1
READY = 15.0


class RowChanged(Event, tag="demo.row"):
    """A row has a new version. `epoch` and `sequence` say for the ledger which event this is."""

    epoch: int
    sequence: int
    key: int
    version: int


class Setup(msgspec.Struct, frozen=True):
    """All that a node must know."""

    name: str
    url: str
    cluster: str
    peers: int
    database: str
    rows: int
    receipts: str
    writes_per_second: float
    # The file with the cluster key; None: frames are not sealed.
    key_file: str | None = None


class Member:
    """The work of one node, on an open bus."""

    def __init__(self, setup: Setup, bus: Bus, stack: ExitStack) -> None:
        self._setup = setup
        self._bus = bus
        self._epoch = bus.status().epoch
        self._published = 0
        self._random = random.Random(self._epoch)
        self._cache = Cache()
        self._judge = Judge()
        self._receipts = Receipts(setup.receipts, self._epoch, self._baseline)
        stack.callback(self._receipts.close)
        self._counters = self._receipts.counters
        # SQLite blocks: one thread and one connection for writes, one for loads.
        self._writes, self._writer = self._connect(stack, "demo-writes")
        self._loads, self._loader = self._connect(stack, "demo-loads")
        self._in_order = asyncio.Lock()
        self._is_writing = self._is_reading = True

    def _connect(self, stack: ExitStack, name: str) -> tuple[Database, ThreadPoolExecutor]:
        database = Database(self._setup.database)
        stack.callback(database.close)
        # Ended before its connection is closed.
        return database, stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix=name))

    def _baseline(self, epoch: int) -> int:
        peers = self._bus.status().peers
        return next((peer.baseline for peer in peers if peer.epoch == epoch), 1)

    def meet(self) -> None:
        """Note from where on the peers count, before anything of them comes."""
        for peer in self._bus.status().peers:
            self._receipts.account(peer.epoch)
        self._receipts.save()

    # -- the handler of the bus --------------------------------------------------------------------

    async def receive(self, inbox: Subscription[RowChanged]) -> None:
        """Take what comes, until the bus is closed."""
        while True:
            try:
                batch = await inbox.batch()
            except Closed:
                return
            for item in batch:
                match item:
                    case RowChanged():
                        self._receipts.account(item.epoch).take(item.sequence)
                        self._invalidate(item.key, item.version)
                    case Loss():
                        self._receipts.lost(item)
                        self._cache.clear()
            self._receipts.save()

    def _invalidate(self, key: int, version: int) -> None:
        self._judge.announced(key, version)
        self._cache.invalidate(key)

    # -- writers and readers -----------------------------------------------------------------------

    async def write(self) -> None:
        """One writer, until `stop`."""
        interval = WRITERS / self._setup.writes_per_second
        due = time.monotonic() + self._random.uniform(0, interval)
        while self._is_writing:
            await asyncio.sleep(due - time.monotonic())
            async with self._in_order:
                await self._write_one(self._pick())
            due = max(due + interval, time.monotonic() - MOST_BEHIND)

    async def _write_one(self, key: int) -> None:
        """Commit with the number that is next, then publish under it: see `database`."""
        sequence = self._published + 1
        version = await asyncio.get_running_loop().run_in_executor(
            self._writer, self._writes.write, self._epoch, sequence, key
        )
        given = self._bus.publish(RowChanged(self._epoch, sequence, key, version))
        if given != sequence:
            raise RuntimeError(f"the journal has number {sequence}, the bus gave {given}")
        self._published = sequence
        self._counters.writes += 1
        self._invalidate(key, version)

    async def read(self) -> None:
        """One reader, until `check`."""
        while self._is_reading:
            for _ in range(READS_PER_TURN):
                await self._read_one(self._pick())
            await asyncio.sleep(TURN)

    async def _read_one(self, key: int) -> None:
        record = self._cache.get(key)
        self._counters.reads += 1
        self._counters.hits += record is not None
        while record is None:
            record = await self._load(key)
        if self._judge.is_stale(key, record.version):
            self._counters.stale += 1
            self._receipts.save()

    async def _load(self, key: int) -> Record | None:
        ticket = self._cache.ticket(key)
        record = await asyncio.get_running_loop().run_in_executor(self._loader, self._loads.read, key)
        if self._cache.fill(key, ticket, record):
            return record
        self._counters.refused += 1
        return None

    def _pick(self) -> int:
        """Half of all work is on the keys that every node fights for."""
        if self._random.random() < HOT_SHARE:
            return self._random.randint(1, HOT_KEYS)
        return self._random.randint(HOT_KEYS + 1, self._setup.rows)

    async def sample(self) -> None:
        """Keep the counters of the file fresh, for whoever looks on."""
        while True:
            up = [peer for peer in self._bus.status().peers if peer.state == "UP"]
            known = [peer.latency_ms for peer in up if peer.latency_ms is not None]
            self._counters.peers = len(up)
            self._counters.latency_us = int(1e3 * sum(known) / len(known)) if known else 0
            self._receipts.save()
            await asyncio.sleep(SAMPLE)

    # -- the end -----------------------------------------------------------------------------------

    def stop_writing(self) -> None:
        """Let the writers end after what they are at."""
        self._is_writing = False

    def stop_reading(self) -> None:
        """Let the readers end after what they are at."""
        self._is_reading = False

    async def check(self) -> None:
        """Every key against the database; all has settled, so nothing may differ."""
        versions = await asyncio.get_running_loop().run_in_executor(self._loader, self._loads.versions)
        for key, version in versions.items():
            cached = self._cache.get(key)
            is_old = cached is not None and cached.version != version
            self._counters.stale += is_old or self._judge.is_stale(key, version)
        self._receipts.save()


async def run(setup: Setup, hear: Callable[[], Awaitable[str]], say: Callable[[str], None]) -> None:
    """Live one life; raises what went wrong first."""
    try:
        await _live(setup, hear, say)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _live(setup: Setup, hear: Callable[[], Awaitable[str]], say: Callable[[str], None]) -> None:
    with ExitStack() as stack:
        key = File(setup.key_file) if setup.key_file else None
        async with Bus.open(setup.url, node=setup.name, cluster=setup.cluster, key=key) as bus:
            member = Member(setup, bus, stack)
            async with bus.subscribe(RowChanged) as inbox, asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(member.receive(inbox)),
                    tasks.create_task(member.sample()),
                ]
                await bus.ready(READY, peers=setup.peers)
                member.meet()
                say("ready")
                await _obey(member, tasks, hear, say)
                for task in background:
                    task.cancel()


async def _obey(
    member: Member, tasks: asyncio.TaskGroup,
    hear: Callable[[], Awaitable[str]], say: Callable[[str], None],
) -> None:  # fmt: skip
    writers: list[asyncio.Task[None]] = []
    readers: list[asyncio.Task[None]] = []
    while (word := await hear()) != "end":
        match word:
            case "start":
                writers = [tasks.create_task(member.write()) for _ in range(WRITERS)]
                readers = [tasks.create_task(member.read()) for _ in range(READERS)]
            case "stop":
                member.stop_writing()
                await asyncio.gather(*writers)
                say("stopped")
            case "check":
                member.stop_reading()
                await asyncio.gather(*readers)
                await member.check()
                say("checked")
            case _:
                raise ValueError(f"no such word: {word!r}")
