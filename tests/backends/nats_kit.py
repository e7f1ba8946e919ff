"""What the NATS tests share: one link as the supervisor would drive it, and a server that says anything."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Self

import msgspec

from bus import Bus, ConfigError, Event
from bus.config import Nats, decode
from bus.testing.conformance.station import Recorder, channel, until
from bus_nats import NatsBackend
from bus_nats.link import NatsLink

SECONDS = 5.0


class Note(Event, tag="nats.note"):
    number: int
    node: bytes = b""
    ballast: bytes = b""


def nats(**fields: object) -> dict[str, object]:
    """A configuration by the JSON names of its fields."""
    return {"@type": "Nats", **fields}


def config(source: object) -> Nats:
    """A checked configuration."""
    decoded = decode(source)
    assert isinstance(decoded, Nats)
    return decoded


class End:
    """One backend with at most one link, and what came in by it."""

    def __init__(
        self, source: object, *, on: str | None = None, timeout: float = SECONDS,
        deliver: Callable[[bytes], None] | None = None,
    ) -> None:  # fmt: skip
        self.channel = on or channel()
        self.recorder = Recorder("end", self.channel, timeout)
        context = self.recorder.context
        if deliver is not None:
            context = msgspec.structs.replace(context, deliver=deliver)
        self.backend = NatsBackend(config(source), context)
        self.link: NatsLink
        self._run: asyncio.Task[None] | None = None

    @property
    def heard(self) -> list[bytes]:
        return self.recorder.frames

    async def connect(self) -> Self:
        self.link = await self.backend.connect()
        self._run = asyncio.create_task(self.link.run())
        return self

    async def fails(self) -> Exception:
        """The exception of `connect`."""
        try:
            link = await self.backend.connect()
        except Exception as error:  # noqa: BLE001  # which one it is, the test says
            return error
        link.abort()
        raise AssertionError("connect() returned")

    async def ended(self, seconds: float = SECONDS) -> BaseException:
        """The exception of `run`."""
        assert self._run is not None
        await asyncio.wait({self._run}, timeout=seconds)
        assert self._run.done(), f"run() goes on after {seconds:g} s"
        error = self._run.exception()
        assert error is not None, "run() returned"
        return error

    @property
    def is_over(self) -> bool:
        return self._run is not None and self._run.done()

    async def drop(self) -> None:
        if self._run is not None:
            self.link.abort()
            self._run.cancel()
            await asyncio.wait({self._run})
            if not self._run.cancelled():
                self._run.exception()
        assert not self.recorder.breaches


@asynccontextmanager
async def ends(*sources: object, on: str | None = None) -> AsyncGenerator[list[End], None]:
    """Connected ends of one channel."""
    name = on or channel()
    made = [End(source, on=name) for source in sources]
    try:
        for end in made:
            await end.connect()
        yield made
    finally:
        for end in made:
            await end.drop()


class Script:
    """A server that speaks as much NATS as it takes to be connected to, and then what a test wants.

    `info` is what it greets with, None: nothing. `answers`: it answers PINGs. `received` is all that came.
    """

    def __init__(self, info: dict[str, object] | None) -> None:
        self.greeting = None if info is None else b"INFO %b\r\n" % json.dumps(info).encode()
        # Sent in one piece with the first PONG; None: it says nothing more and hangs up.
        self.with_first_pong: bytes | None = b""
        self.answers = True
        self.answers_once = False
        # It hangs up on whoever comes.
        self.refuses = False
        self.connections = self.open = 0
        self.received = bytearray()
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def say(self, text: bytes) -> None:
        """To whoever connected last."""
        self._writers[-1].write(text)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuses:
            writer.transport.abort()
            return
        self._writers.append(writer)
        self.open += 1
        if self.greeting is not None:
            writer.write(self.greeting)
        try:
            while line := await reader.readline():
                self.received += line
                if line == b"PING\r\n" and self.answers:
                    writer.write(b"PONG\r\n" + (self.with_first_pong or b""))
                    if self.with_first_pong is None:
                        writer.write_eof()
                    self.with_first_pong = b""
                    self.answers = self.answers and not self.answers_once
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.transport.abort()


@asynccontextmanager
async def script(info: dict[str, object] | None = None, **more: object) -> AsyncGenerator[Script, None]:
    """A server that follows a script; `script({})` greets."""
    made = Script(None if info is None else {"max_payload": 1 << 20, **info, **more})
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.hang_up()
        await server.wait_closed()


async def refused(source: object, seconds: float = SECONDS) -> ConfigError:
    """What `ready` raises for a bus that can never work, and the state is FATAL."""
    async with Bus.open(source, cluster=channel().removeprefix("bus.")) as bus:
        try:
            await bus.ready(timeout=seconds)
        except ConfigError as error:
            assert bus.status().state == "FATAL"
            assert_without_frames_of_a_login(error)
            return error
        raise AssertionError("ready() returned")


def assert_without_frames_of_a_login(error: ConfigError) -> None:
    """Their variables are secrets, and tools that report errors show variables."""
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not [at for at in traceback.extract_tb(error.__traceback__) if "/bus_" in at.filename]


async def eventually(is_so: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until it is so."""
    await until(is_so, seconds, "it never became so")
