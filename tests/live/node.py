"""The main of one node with an admin server, under a steady load; it takes the words of `tests.faults.node`.

It opens its bus with what is stored in its state directory, else with what it is given. It can be told to
kill itself in the middle of a change:

    trial     the new configuration is being tried, nothing is stored
    store     it is stored, and the switch is about to begin
    switch    both links are there
    settle    the switch is over, and the client does not know it yet
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec

from bus import Bus
from bus.admin import AdminServer, app, cutover, stored
from bus.admin.node import LiveNode
from bus.config import Coordinator
from tests.faults import history
from tests.faults.node import READY, STEP, Load, lines, say, settle
from tests.faults.recorder import Beat, Recorder, follow, watch

# Seconds for which both links are there: long enough that both carry events.
MIDDLE = 0.5

Death = Literal["", "trial", "store", "switch", "settle"]


class Setup(msgspec.Struct, frozen=True):
    """What one node is told. `switch`: the seconds that a change may take."""

    coordinator: object
    cluster: str
    name: str
    peers: int
    rate: int
    folder: str
    history: str
    switch: float = 60.0
    death: Death = ""


class Mortal(LiveNode):
    """A node that dies at one moment of a change."""

    def __init__(self, bus: Bus, death: Death, before: Callable[[], None]) -> None:
        super().__init__(bus)
        self._death = death
        self._before = before

    async def trial(self, coordinator: Coordinator, timeout: float) -> None:
        self._dies("trial")
        await super().trial(coordinator, timeout)

    async def switch(self, coordinator: Coordinator, timeout: float) -> None:
        self._dies("store")
        watching = asyncio.create_task(self._dies_between())
        try:
            await super().switch(coordinator, timeout)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        self._dies("settle")

    async def _dies_between(self) -> None:
        # The new link is not READY while nobody else is heard on it.
        while [link.since > MIDDLE for link in self.status().links] != [True, True]:
            await asyncio.sleep(STEP)
        self._dies("switch")

    def _dies(self, moment: Death) -> None:
        if moment == self._death:
            self._before()
            os.kill(os.getpid(), signal.SIGKILL)


@asynccontextmanager
async def served(bus: Bus, setup: Setup, recorder: Recorder) -> AsyncGenerator[str]:
    """The URL of its admin server."""
    cutover.SWITCH = setup.switch
    # This test is no attack.
    app.CHANGES_PER_SECOND = 100
    folder = Path(setup.folder)
    async with AdminServer(
        Mortal(bus, setup.death, recorder.flush),
        state_dir=folder / f"{setup.name}.state",
        listen="127.0.0.1:0",
        token_file=folder / "token",
    ) as admin:
        yield admin.url


async def live(setup: Setup, stdin: asyncio.StreamReader, recorder: Recorder) -> None:
    """From the opening of the bus to its end."""
    coordinator = stored(Path(setup.folder) / f"{setup.name}.state") or setup.coordinator
    async with (
        Bus.open(coordinator, node=setup.name, cluster=setup.cluster) as bus,
        bus.subscribe(Beat) as inbox,
        served(bus, setup, recorder) as url,
    ):
        epoch = bus.status().epoch
        recorder.note(history.Opened(at=time.monotonic(), node=setup.name, epoch=epoch))
        load = Load(bus, setup.rate, recorder)
        tasks = [asyncio.create_task(follow(inbox, recorder)), asyncio.create_task(watch(bus, recorder))]
        try:
            await bus.ready(READY, peers=setup.peers)
            say({"epoch": epoch, "url": url})
            publishing: asyncio.Task[None] | None = None
            while (line := (await stdin.readline()).decode().strip()) not in ("", "end"):
                word, _, rest = line.partition(" ")
                if word == "go":
                    publishing = asyncio.create_task(load.run())
                elif word == "stop" and publishing is not None:
                    publishing.cancel()
                    await asyncio.wait([publishing])
                elif word == "settle":
                    await settle(recorder, msgspec.json.decode(rest, type=dict[int, int]))
                say({"published": bus.status().published})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def main() -> None:
    """Run the node that stdin describes."""
    stdin = await lines()
    setup = msgspec.json.decode(await stdin.readline(), type=Setup)
    with Path(setup.history).open("w") as file:  # noqa: ASYNC230  # nothing else runs yet
        await live(setup, stdin, Recorder(file))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(main())
