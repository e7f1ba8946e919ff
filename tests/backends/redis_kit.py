"""What the Redis tests share: one link as the supervisor would drive it, and a server that can be asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self, cast

from bus import registry
from bus.backend import Backend
from bus.config import Coordinator, decode, type_of
from bus.testing.brokers.certificates import Identity
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.process import free_port, until as wait_until
from bus.testing.brokers.redis import RedisServer
from bus.testing.brokers.resp import Reply
from bus.testing.conformance.station import Recorder, until
from bus_redis.link import RedisLink

SECONDS = 5.0
CHANNEL = "bus.kit"


def redis(url: str, **fields: object) -> dict[str, object]:
    """A configuration by the JSON names of its fields."""
    return {"@type": "Redis", "url": url, **fields}


def cluster(*urls: str, **fields: object) -> dict[str, object]:
    return {"@type": "RedisCluster", "urls": list(urls), **fields}


def sentinel(*urls: str, **fields: object) -> dict[str, object]:
    return {"@type": "RedisSentinel", "urls": list(urls), **fields}


def value(secret: str) -> dict[str, object]:
    """A secret given in the configuration."""
    return {"@type": "Value", "secret": secret}


class End:
    """One backend with at most one link, and what came in by it."""

    def __init__(self, source: object, *, on: str = CHANNEL, timeout: float = SECONDS) -> None:
        self.recorder = Recorder("kit", on, timeout)
        config: Coordinator = decode(source)
        self.backend: Backend = registry.load(type_of(config))(config, self.recorder.context)
        self._link: RedisLink | None = None
        self._run: asyncio.Task[None] | None = None

    @property
    def link(self) -> RedisLink:
        assert self._link is not None, "it is not connected"
        return self._link

    @property
    def heard(self) -> list[bytes]:
        return self.recorder.frames

    @property
    def is_over(self) -> bool:
        return self._run is None or self._run.done()

    async def connect(self) -> Self:
        self._link = cast("RedisLink", await self.backend.connect())
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

    async def drop(self) -> None:
        """What the supervisor does with a link that it throws away."""
        if self._link is not None:
            self._link.abort()
        if self._run is not None:
            await asyncio.wait({self._run}, timeout=SECONDS)
            self._run.exception()


@asynccontextmanager
async def ends(*sources: object, on: str = CHANNEL) -> AsyncGenerator[list[End]]:
    """Connected ends of one channel."""
    made: list[End] = []
    try:
        for source in sources:
            made.append(End(source, on=on))
            await made[-1].connect()
        yield made
        for end in made:
            assert not end.recorder.breaches
    finally:
        for end in made:
            await end.drop()


async def asked(server: RedisServer, *words: str | int) -> Reply:
    """The reply of a server, without holding up the loop."""
    return await asyncio.to_thread(server.ask, *words)


async def clients(server: RedisServer, name: str = "bus:kit") -> list[dict[str, str]]:
    """Our connections as the server lists them."""
    listing = str(await asked(server, "CLIENT", "LIST"))
    found = [dict(re.findall(r"([\w-]+)=(\S*)", line)) for line in listing.splitlines()]
    return [one for one in found if one["name"] == name]


async def hears(end: End, frame: bytes, seconds: float = SECONDS) -> None:
    """Wait until a frame has come."""
    await until(lambda: frame in end.heard, seconds, f"{frame!r} has not come, but {end.heard[-3:]}")


class Script:
    """A server that answers what comes with `answers`, in turn, and then hangs up."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.answers = answers
        self.port = 0
        # When each connection came, by the clock of the loop.
        self.times: list[float] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.times.append(asyncio.get_running_loop().time())
        for answer in self.answers:
            if await reader.read(65_536):
                writer.write(answer)
        writer.close()


@asynccontextmanager
async def script(*answers: bytes) -> AsyncGenerator[Script]:
    """Such a server, for as long as the block."""
    made = Script(answers)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        made.port = cast("int", server.sockets[0].getsockname()[1])
        yield made


def one_node(
    factory: BrokerFactory, *, password: str | None = None, users: Mapping[str, str] | None = None,
    tls: Identity | None = None, client_certificates: bool = False,
) -> RedisServer:  # fmt: skip
    """A cluster of one node."""
    node = factory(
        RedisServer, password=password, users=users, tls=tls, client_certificates=client_certificates,
        options=["--cluster-enabled", "yes", "--cluster-port", free_port()],
    )  # fmt: skip
    node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
    wait_until(lambda: "cluster_state:ok" in str(node.ask("CLUSTER", "INFO")), SECONDS, node.logs)
    return node
