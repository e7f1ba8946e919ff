"""The course of a run: open the nodes, let them work, kill one, let all settle, gather.

Nothing of a run outlives it: whatever happens, `run` closes every node before it returns or raises.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import TYPE_CHECKING

import msgspec

from bus.config.redacted import redact
from bus.demo.database import Database
from bus.demo.ledger import Ledger, balance, unsettled
from bus.demo.member import READY, Setup
from bus.demo.nodes import Node, NodeFailed, ProcessNode, TaskNode
from bus.demo.receipts import Counters
from bus.demo.table import Progress, View

if TYPE_CHECKING:
    from pathlib import Path

# Of all nodes together.
WRITES_PER_SECOND = 600.0
# What a restarted node gets at least, also when its start took long.
AFTER_RESTART = 1.0
POLL = 0.1
# Seconds that nodes may take to meet before it is said what is waited for.
PATIENCE = 2.0
# A hole that nobody can fill is told after 10 s of repair.
SETTLE = 25.0


class Plan(msgspec.Struct, frozen=True):
    """What was asked for."""

    backend: str
    url: str
    cluster: str
    nodes: int
    seconds: float
    kill: bool
    sealed: bool = False


class Result(msgspec.Struct, frozen=True):
    """What came of it."""

    ledger: Ledger
    seconds: float
    totals: Counters
    rows: int


def _new_key(path: Path) -> str:
    """A cluster key for this run, in a file that only its user can read."""
    path.touch(0o600)
    path.write_text(secrets.token_hex(32))
    return str(path)


async def run(plan: Plan, folder: Path, rows: int, progress: Progress) -> Result:
    """Do it all; raises NodeFailed."""
    host = Host(plan, folder, rows, progress)
    course = asyncio.create_task(host.course())
    watch = asyncio.create_task(host.watch())
    try:
        await asyncio.wait({course, watch}, return_when=asyncio.FIRST_COMPLETED)
        # The watch ends by a failure only, and knows the reason better.
        return watch.result() if watch.done() else course.result()
    finally:
        for task in (course, watch):
            task.cancel()
        await asyncio.wait({course, watch})
        await asyncio.gather(*(node.close() for node in host.nodes))


class Host:
    """The nodes, and what is done with them."""

    def __init__(self, plan: Plan, folder: Path, rows: int, progress: Progress) -> None:
        self._plan = plan
        self._rows = rows
        self._progress = progress
        self._database = folder / "demo.sqlite"
        self._started: float | None = None
        self._killed: ProcessNode | None = None
        self.nodes: list[Node] = []
        key_file = _new_key(folder / "cluster.key") if plan.sealed else None
        for number in range(1, plan.nodes + 1):
            setup = Setup(
                name=f"node-{number}", url=plan.url, cluster=plan.cluster,
                peers=plan.nodes - 1, database=str(self._database), rows=rows,
                receipts=str(folder / f"node-{number}"),
                writes_per_second=WRITES_PER_SECOND / plan.nodes, key_file=key_file,
            )  # fmt: skip
            if plan.backend == "memory":
                self.nodes.append(TaskNode(setup))
            else:
                self._killed = ProcessNode(setup, folder)
                self.nodes.append(self._killed)

    async def course(self) -> Result:
        """From the first word to the result."""
        loop = asyncio.get_running_loop()
        await self._open()
        self._started = loop.time()
        end = self._started + self._plan.seconds
        self._tell("start")
        if self._plan.kill:
            await asyncio.sleep(self._plan.seconds / 2)
            await self._kill()
            end = max(end, loop.time() + AFTER_RESTART)
        await asyncio.sleep(end - loop.time())
        self._tell("stop")
        await self._answers("stopped")
        seconds = loop.time() - self._started
        await self._settle()
        self._tell("check")
        await self._answers("checked")
        return Result(self._ledger(), seconds, self._totals(), self._rows)

    async def _open(self) -> None:
        """All nodes, at the same time; says what it waits for when that takes long."""
        waiting = asyncio.get_running_loop().call_later(PATIENCE, self._tell_waiting)
        try:
            await asyncio.gather(*(node.open() for node in self.nodes))
        finally:
            waiting.cancel()

    def _tell_waiting(self) -> None:
        print(
            f"waiting for {redact(self._plan.url)}, up to {READY:g} s: "
            "every node must reach it and hear the others",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    async def watch(self) -> Result:
        """Show what happens, for ever; raises NodeFailed when a node has ended by itself."""
        loop = asyncio.get_running_loop()
        while True:
            for node in self.nodes:
                await node.look()
            if self._started is not None:
                self._progress.show(loop.time() - self._started, [view(node) for node in self.nodes])
            await asyncio.sleep(POLL)

    def _tell(self, word: str) -> None:
        for node in self.nodes:
            node.say(word)

    async def _answers(self, word: str) -> None:
        await asyncio.gather(*(node.answer(word) for node in self.nodes))

    async def _kill(self) -> None:
        """One dies without a word and comes back under its name, as a new epoch."""
        node = self._killed
        assert node is not None
        self._progress.say(f"{node.name} gets SIGKILL")
        await node.kill()
        await node.open()
        self._progress.say(f"{node.name} is back")
        node.say("start")

    async def _settle(self) -> None:
        """Until everything has come or was told, or cannot any more."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE
        database = Database(self._database)
        try:
            journals = database.journals()
        finally:
            database.close()
        while waiting := unsettled([life for node in self.nodes for life in node.lives()], journals):
            if loop.time() > deadline:
                pairs = ", ".join(f"{sender} -> {receiver}" for sender, receiver in waiting)
                self._progress.say(f"not settled after {SETTLE:g} s: {pairs}")
                return
            await asyncio.sleep(POLL)

    def _ledger(self) -> Ledger:
        database = Database(self._database)
        try:
            lives = [life for node in self.nodes for life in node.lives()]
            return balance(self._plan.backend, lives, database.journals())
        finally:
            database.close()

    def _totals(self) -> Counters:
        every = [counters for node in self.nodes for counters in node.counters()]
        return Counters(
            writes=sum(one.writes for one in every), reads=sum(one.reads for one in every),
            hits=sum(one.hits for one in every), refused=sum(one.refused for one in every),
            stale=sum(one.stale for one in every), dropped=sum(one.dropped for one in every),
        )  # fmt: skip


def view(node: Node) -> View:
    """One line of the live table."""
    every = node.counters() or [Counters()]
    accounts = [account for life in node.lives() for account in life.accounts]
    return View(
        name=node.name, is_up=node.is_open, peers=every[-1].peers,
        writes=sum(one.writes for one in every), reads=sum(one.reads for one in every),
        hits=sum(one.hits for one in every), stale=sum(one.stale for one in every),
        delivered=sum(one.delivered for one in accounts),
        told=sum(one.told + one.open for one in accounts) + sum(one.dropped for one in every),
        latency_us=every[-1].latency_us,
    )  # fmt: skip


__all__ = ["NodeFailed", "Plan", "Result", "run"]
