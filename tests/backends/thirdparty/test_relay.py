"""The suite against Relay, with a real server process; all that this file knows is the documentation."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bus.testing.conformance import Conformance, Harness


class Relay:
    """The server as a process, always at the same port."""

    def __init__(self) -> None:
        self.password = secrets.token_hex(8)
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    async def restart(self) -> None:
        await self.kill()
        self.start()
        assert self.process is not None
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                assert self.process.poll() is None, "the relay did not start"
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bus_relay.server", str(self.port), self.password]
        )

    async def kill(self) -> None:
        self.end()

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def pause(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    async def resume(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    server = Relay()
    asyncio.run(server.restart())
    yield server
    server.end()


class TestRelay(Conformance):
    @pytest.fixture
    def harness(self, relay: Relay) -> Harness:
        wrong = "not-the-password"
        return Harness(
            coordinator=lambda: f"relay://:{relay.password}@127.0.0.1:{relay.port}",
            unreachable=f"relay://:{relay.password}@127.0.0.1:1",
            wrong_credentials=f"relay://:{wrong}@127.0.0.1:{relay.port}",
            invalid=("relay://127.0.0.1", {"@type": "Relay", "port": 0}),
            secrets=(relay.password, wrong),
            restart=relay.restart,
            kill=relay.kill,
            pause=relay.pause,
            resume=relay.resume,
        )
