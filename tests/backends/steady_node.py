"""One node under a steady load, for tests that freeze it: publishes 500 events/s, checks what it hears.

Driven by lines on stdin: "go" starts the load, "stop" ends it, "await {node: published}" waits until all
of it is delivered or told; the answer to each is one JSON line. Ends with stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import msgspec

from bus import Bus, Event, Gap, Loss, Resync

RATE = 500
SETTLE = 20.0


class Beat(Event, tag="steady.beat"):
    """Numbered by its sender, apart from the bus: what came is compared with what was sent."""

    node: str
    number: int


class Heard:
    """What became of one sender's events."""

    def __init__(self) -> None:
        self.delivered = 0
        self.lost = 0
        self.last = 0
        self.resyncs = 0
        self.disorder: list[tuple[int, int]] = []

    def event(self, number: int) -> None:
        """The next event: right behind the last one or behind a told loss."""
        if number != self.last + 1:
            self.disorder.append((self.last, number))
        self.last = number
        self.delivered += 1

    def gap(self, ranges: tuple[tuple[int, int], ...]) -> None:
        """A told loss; the load is all that is published, so the numbers are the bus's own."""
        for first, last in ranges:
            if first != self.last + 1:
                self.disorder.append((self.last, first))
            self.last = last
            self.lost += last - first + 1


def say(answer: object) -> None:
    """One line for the test."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def lines() -> asyncio.StreamReader:
    """Stdin, line by line."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def publish_steadily(bus: Bus, name: str, longest: list[float]) -> None:
    """500 a second, by a schedule: after a freeze the missed ones are left out, not caught up."""
    number = 0
    due = time.monotonic()
    while True:
        due = max(due + 0.02, time.monotonic() - 0.02)
        for _ in range(RATE // 50):
            number += 1
            cpu, wall = time.thread_time(), time.perf_counter()
            bus.publish(Beat(name, number))
            longest[0] = max(longest[0], time.thread_time() - cpu)
            longest[1] = max(longest[1], time.perf_counter() - wall)
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def main(url: str, cluster: str, name: str) -> None:
    """Run the node."""
    stdin = await lines()
    heard: dict[str, Heard] = {}
    longest = [0.0, 0.0]

    def loss(item: Loss) -> None:
        if isinstance(item, Gap):
            heard.setdefault(item.node, Heard()).gap(item.ranges)
        elif isinstance(item, Resync) and item.node is not None:
            heard.setdefault(item.node, Heard()).resyncs += 1

    async with Bus.open(url, node=name, cluster=cluster) as bus:
        await bus.ready(15, peers=2)
        inbox = bus.subscribe(Beat)

        async def receive() -> None:
            async for item in inbox:
                if isinstance(item, Loss):
                    loss(item)
                else:
                    heard.setdefault(item.node, Heard()).event(item.number)

        receiver = asyncio.create_task(receive())
        say({"ready": name})
        load: asyncio.Task[None] | None = None
        while line := (await stdin.readline()).decode().strip():
            word, _, rest = line.partition(" ")
            if word == "go":
                load = asyncio.create_task(publish_steadily(bus, name, longest))
                answer: object = {}
            elif word == "stop":
                assert load is not None
                load.cancel()
                answer = {"published": bus.status().published}
            else:
                wanted: dict[str, int] = json.loads(rest)
                until = time.monotonic() + SETTLE
                while time.monotonic() < until and any(
                    node not in heard or heard[node].delivered + heard[node].lost < count
                    for node, count in wanted.items()
                ):
                    await asyncio.sleep(0.02)
                answer = {
                    "heard": {
                        node: {
                            "delivered": one.delivered, "lost": one.lost, "resyncs": one.resyncs,
                            "disorder": one.disorder[:5],
                        }
                        for node, one in heard.items()
                    },
                    "longest_cpu": longest[0], "longest_wall": longest[1],
                    "status": msgspec.to_builtins(bus.status().peers),
                }  # fmt: skip
            say(answer)
        inbox.close()
        await receiver


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
