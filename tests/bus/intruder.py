"""Somebody who has access to the messaging system and not the cluster key: hears every frame, sends any."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from bus import config, registry
from bus.backend import Link
from bus.testing.conformance.station import Recorder


class Intruder:
    """One connection, with the password of the system."""

    def __init__(self, link: Link, recorder: Recorder) -> None:
        self._link = link
        self._recorder = recorder

    @property
    def frames(self) -> list[bytes]:
        """Everything that was said on the channel since it came."""
        return list(self._recorder.frames)

    async def send(self, frames: Iterable[bytes]) -> None:
        """Send them one after the other, and let everybody else run now and then."""
        for number, frame in enumerate(frames):
            await self._link.send(frame)
            if number % 50 == 0:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def intruder(url: str, cluster: str) -> AsyncGenerator[Intruder]:
    """On the channel of that cluster."""
    coordinator = config.decode(url)
    recorder = Recorder("intruder", f"bus.{cluster}", 5.0)
    backend = registry.load(config.type_of(coordinator))(coordinator, recorder.context)
    link = await backend.connect()
    running = asyncio.create_task(link.run())
    try:
        yield Intruder(link, recorder)
    finally:
        recorder.shut()
        running.cancel()
        await asyncio.wait({running})
        await link.close()
        link.abort()
