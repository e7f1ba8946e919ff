"""A Zenoh router as a process that can be killed, restarted and frozen, always at the same address."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType

from tests.backends.zenoh_node import Node


class Router:
    """Runs while it is entered."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port: int = server.getsockname()[1]
        self._node: Node | None = None

    def __enter__(self) -> Router:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    async def restart(self) -> None:
        """Killed, if it runs, and started."""
        self._end()
        await asyncio.to_thread(self._start)

    async def kill(self) -> None:
        """SIGKILL."""
        self._end()

    async def pause(self) -> None:
        """SIGSTOP."""
        assert self._node is not None
        self._node.freeze()

    async def resume(self) -> None:
        """SIGCONT."""
        assert self._node is not None
        self._node.thaw()

    def _start(self) -> None:
        listen = f'listen: {{endpoints: ["tcp/127.0.0.1:{self.port}"]}}'
        config = f'{{mode: "router", {listen}, scouting: {{multicast: {{enabled: false}}}}}}'
        self._node = Node("router", config=config, router=True).up()

    def _end(self) -> None:
        if self._node is not None:
            self._node.kill()
            self._node = None
