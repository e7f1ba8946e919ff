"""What the tests of the page share: browsers that have logged in, and live streams over real connections."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from bus import Bus
from tests.admin.kit import TOKEN, Reply, World, world
from tests.bus.cluster import cluster_name
from tests.cli.kit import Node

Json = dict[str, Any]


@dataclass
class Browser:
    """Somebody with a cookie, who says what a browser would say of the page that asks."""

    here: World
    cookie: str = ""
    csrf: str = ""
    site: str | None = "same-origin"
    headers: dict[str, str | None] = field(default_factory=dict[str, str | None])

    async def ask(self, method: str, path: str, body: object = None, **headers: str | None) -> Reply:
        given: dict[str, str | None] = {
            "authorization": None,
            "cookie": self.cookie or None,
            "sec-fetch-site": self.site,
            "x-bus-csrf": self.csrf or None,
            **self.headers,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        return await self.here.client.ask(method, path, sent, given)

    async def log_in(self, token: str = TOKEN) -> Reply:
        """Take the cookie and the word."""
        reply = await self.ask("POST", "/session", {"token": token})
        if reply.status == 200:
            self.cookie = reply.headers["set-cookie"].partition(";")[0]
            self.csrf = reply.json()["session"]["csrf"]
        return reply

    async def who(self) -> Json | None:
        reply = await self.ask("GET", "/session")
        assert reply.status == 200, reply.body
        return cast("Json | None", reply.json()["session"])


class Live:
    """One live stream, as it comes."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.last_id = ""

    async def event(self) -> tuple[str, Any]:
        """The next one, with its data; ("", None) at the end."""
        while True:
            async with asyncio.timeout(10):
                size = int(await self._reader.readline(), 16)
                piece = (await self._reader.readexactly(size + 2))[:size].decode()
            if not size:
                return "", None
            lines = [line for line in piece.strip().splitlines() if not line.startswith(":")]
            fields = dict(line.split(": ", 1) for line in lines)
            self.last_id = fields.get("id", self.last_id)
            if "event" in fields:
                return fields["event"], json.loads(fields["data"])

    async def wait(self, kind: str, is_it: Callable[[Any], object] = lambda _: True) -> Any:
        """The next one of a kind that fits."""
        async with asyncio.timeout(20):
            while True:
                found, data = await self.event()
                assert found or kind == "", f"the stream has ended before any {kind}"
                if found == kind and is_it(data):
                    return data

    async def items(self, count: int) -> list[Json]:
        """The next events and losses, without changes of membership."""
        found: list[Json] = []
        while len(found) < count:
            data = await self.wait("items")
            found += [item for item in data["items"] if item["kind"] != "change"]
        return found


@asynccontextmanager
async def looking(
    here: World, query: str = "", path: str = "/events", **headers: str
) -> AsyncGenerator[Live]:
    """A stream of the server, over TCP, with the administrator's token unless `headers` bring a cookie."""
    where = urlsplit(here.admin.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1 << 24)
    lines = {"Host": "localhost"} | ({} if "Cookie" in headers else {"Authorization": f"Bearer {TOKEN}"})
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"GET {path}{query} HTTP/1.1\r\n{head}\r\n".encode())
    try:
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        yield Live(reader)
    finally:
        writer.close()


@asynccontextmanager
async def nodes(folder: Path, *names: str, **options: Any) -> AsyncGenerator[tuple[World, list[Bus]]]:
    """Buses on Memory that hear each other; the first one has the server."""
    cluster = cluster_name()
    async with AsyncExitStack() as stack:
        buses = [
            await stack.enter_async_context(Bus.open("memory://", node=name, cluster=cluster))
            for name in names
        ]
        for bus in buses:
            await bus.ready(peers=len(buses) - 1)
        here = await stack.enter_async_context(world(folder, node=buses[0], **options))
        yield here, buses


def ask_over_http(node: Node, path: str, body: Any) -> Any:
    """A request to a node that is another process, with the administrator's token."""
    request = urllib.request.Request(
        node.url + path,
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {node.token.read_text().strip()}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def publish_over_http(node: Node, topic: str, text: str) -> None:
    """One event of a node that is another process."""
    ask_over_http(node, "/publish", {"topic": topic, "body": text})
