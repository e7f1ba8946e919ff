"""The hub of the Memory backend as a server that can be killed, restarted and frozen."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from bus_memory import MemoryLink, hub


class MemoryServer:
    """While it is dead or frozen, frames between Memory links go through it instead of at once."""

    def __init__(self) -> None:
        self._is_dead = False
        self._is_frozen = False
        self._waiting: list[tuple[Callable[[bytes], None], bytes]] = []

    def __enter__(self) -> MemoryServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        hub.fate = None

    async def kill(self) -> None:
        """Every link dies, and new ones carry nothing."""
        self._is_dead = True
        self._waiting.clear()
        self._set_fate()
        for channel in list(hub._links):  # pyright: ignore[reportPrivateUsage]  # the server's end of every link
            for link in hub.links(channel):
                link.abort()

    async def restart(self) -> None:
        """Dead first, then alive."""
        await self.kill()
        self._is_dead = False
        self._set_fate()

    async def pause(self) -> None:
        """Frames are taken and wait."""
        self._is_frozen = True
        self._set_fate()

    async def resume(self) -> None:
        """What waited goes on its way."""
        self._is_frozen = False
        self._set_fate()
        waiting, self._waiting = self._waiting, []
        for pass_on, frame in waiting:
            pass_on(frame)

    def _set_fate(self) -> None:
        hub.fate = self._pass if self._is_dead or self._is_frozen else None

    def _pass(
        self, sender: MemoryLink, link: MemoryLink, frame: bytes, pass_on: Callable[[bytes], None]
    ) -> None:
        if self._is_frozen:
            self._waiting.append((pass_on, frame))
        elif not self._is_dead:
            pass_on(frame)
