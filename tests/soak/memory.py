"""A long run of buses in one process: `python -m tests.soak.memory SECONDS SEED FOLDER NODES`.

The hands of the nemesis are those of `MemoryFaults`, and a loop that stands still. The last line of stdout is
the result.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec

from bus import Bus
from bus.testing import leaks
from bus.testing.faults import MemoryFaults
from tests.faults import history
from tests.faults.lab import machine_load
from tests.faults.nemesis import Hand, play, schedule
from tests.faults.node import Load, left_over, settle
from tests.faults.recorder import Beat, Recorder, attend, follow, measure, watch
from tests.soak.result import Result, Run, judged, listing, pairs_of
from tests.soak.served import STATE

RATE = 300
WARM, LOOK, SETTLE = 8.0, 12.0, 8.0
CLUSTER = "soak"
STANDSTILL = 2.0


class Member:
    """One bus with its history and its load."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.file = (folder / f"{name}.jsonl").open("w")
        self.recorder = Recorder(self.file)
        self.bus = Bus.open("memory://", node=name, cluster=CLUSTER)
        self.load = Load(self.bus, RATE, self.recorder)
        self._publishing: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> int:
        """Of its bus."""
        return self.bus.status().epoch

    def go(self) -> None:
        """Publish."""
        self._publishing = asyncio.create_task(self.load.run())

    async def quiet(self) -> None:
        """No more."""
        if self._publishing is not None:
            self._publishing.cancel()
            with suppress(asyncio.CancelledError):
                await self._publishing
            self._publishing = None


def hands_on(faults: MemoryFaults, names: Sequence[str], loop: asyncio.AbstractEventLoop) -> dict[str, Hand]:
    """What can be done to them; the nemesis plays in a thread, the buses live in the loop."""

    def in_loop(call: Callable[[], object]) -> None:
        async def do() -> None:
            call()

        asyncio.run_coroutine_threadsafe(do(), loop).result()

    def cut(pairs: Sequence[tuple[str, str]]) -> Hand:
        def set_all(begins: bool) -> None:
            for one, other in pairs:
                (faults.cut if begins else faults.heal)(one, other)

        return lambda begins: in_loop(lambda: set_all(begins))

    def setting(name: str, on: object, off: object) -> Hand:
        return lambda begins: in_loop(lambda: setattr(faults, name, on if begins else off))

    def once(call: Callable[[], object]) -> Hand:
        return lambda begins: in_loop(call) if begins else None

    found: dict[str, Hand] = {
        "frames lost": setting("drop", 0.3, 0.0),
        "frames doubled": setting("duplicate", 0.3, 0.0),
        "frames late and out of order": setting("delay", (0.0, 0.3), (0.0, 0.0)),
        "loop stands still": once(lambda: time.sleep(STANDSTILL)),
    }
    for name in names:
        found[f"{name} without echo"] = cut([(name, name)])
        found[f"{name} alone"] = cut([(name, other) for other in names] + [(other, name) for other in names])
        found[f"{name} heard by nobody"] = cut([(name, other) for other in names if other != name])
        found[f"{name} loses its link"] = once(lambda name=name: faults.lose(name, CLUSTER))  # type: ignore[misc]
    return found


async def soak(seconds: float, seed: int, folder: Path, names: Sequence[str]) -> Run:
    """Everything, from the opening to the end."""
    # The pool's thread, in which the nemesis will play, is no growth.
    await asyncio.to_thread(time.sleep, 0)
    tasks_before = leaks.tasks()
    members = [Member(name, folder) for name in names]
    logging.getLogger().addHandler(members[0].recorder)
    moments: list[tuple[float, bool]] = []
    with MemoryFaults(seed=seed) as faults:
        async with AsyncExitStack() as stack:
            works: list[asyncio.Task[None]] = []
            for one in members:
                await stack.enter_async_context(one.bus)
                inbox = await stack.enter_async_context(one.bus.subscribe(Beat))
                one.recorder.note(history.Opened(at=time.monotonic(), node=one.name, epoch=one.epoch))
                works += [
                    asyncio.create_task(work) for work in (
                        follow(inbox, one.recorder), watch(one.bus, one.recorder, STATE),
                        attend(one.bus, one.recorder), measure(one.recorder),
                    )
                ]  # fmt: skip
            for one in members:
                await one.bus.ready(10, peers=len(names) - 1)
            hands = hands_on(faults, names, asyncio.get_running_loop())
            steps = schedule(seed, seconds, sorted(hands))
            (folder / "schedule.txt").write_text(listing(steps) + "\n")
            before = await calm_after_load(members)
            for one in members:
                one.go()
            told: Callable[[str], object] = lambda line: moments.append(  # noqa: E731
                (time.monotonic(), line.endswith("begins"))
            )
            await asyncio.to_thread(play, steps, hands, told)
            await asyncio.sleep(SETTLE)
            for one in members:
                await one.quiet()
            for name in names:
                faults.cut(name, name)
            await asyncio.sleep(SETTLE)
            away = await look()
            faults.heal()
            after = await calm_after_load(members)
            wanted = {one.epoch: one.bus.status().published for one in members}
            for one in members:
                others = {epoch: count for epoch, count in wanted.items() if epoch != one.epoch}
                await settle(one.recorder, others)
            for work in works:
                work.cancel()
            await asyncio.wait(works)
            took = {one: await timed_close(one) for one in members}
    logging.getLogger().removeHandler(members[0].recorder)
    left = await left_over(tasks_before, 1 << 20)
    for one in members:
        peers = one.bus.status().peers
        one.recorder.note(
            history.Closed(
                at=time.monotonic(), longest_cpu=one.load.longest_cpu, longest_wall=one.load.longest_wall,
                usual_wall=one.load.usual_wall, repaired=sum(peer.repaired for peer in peers),
                duplicates=sum(peer.duplicates for peer in peers), close=took[one], left=left,
            )
        )  # fmt: skip
        one.file.close()
    return Run(pairs_of(moments), before, away, after)


async def timed_close(member: Member) -> float:
    """Seconds that it took."""
    started = time.monotonic()
    await member.bus.aclose()
    return time.monotonic() - started


async def calm_after_load(members: Sequence[Member]) -> tuple[float, float]:
    """A span without load, after some with it."""
    for one in members:
        one.go()
    await asyncio.sleep(WARM)
    for one in members:
        await one.quiet()
    await asyncio.sleep(SETTLE)
    return await look()


async def look() -> tuple[float, float]:
    """Nothing happens for a while."""
    began = time.monotonic()
    await asyncio.sleep(LOOK)
    return began, time.monotonic()


def main() -> None:
    """One run by the words of the command line."""
    seconds, seed, folder, nodes = float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    names = "abcdefghijklmnop"[:nodes]
    run = asyncio.run(soak(seconds, seed, folder, names))
    empty = Result(system="memory", nodes=nodes, seconds=seconds, seed=seed, busy=machine_load())
    result = judged(empty, history.histories(folder), run, share=nodes)
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()
