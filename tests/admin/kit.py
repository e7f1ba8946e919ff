"""What the tests of the admin server share: a node that is none, three ways to talk to a server, JMAP calls.

inside   the ASGI application, called directly
tcp      HTTP/1.1 over a real connection, by the client of the standard library
tls      the same over TLS
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from bus.admin import AdminServer, Node, SecretPolicy, Tls
from bus.config import Coordinator, Disabled
from bus.errors import ConfigError
from bus.signals import LinkStatus, Status
from bus.testing.brokers import Certificates

CORE, ALIAS, OURS = "urn:ietf:params:jmap:core", "urn:stalwart:jmap", "urn:coordinator-bus:jmap"
EVERY = [CORE, ALIAS, OURS]
TOKEN = "t" * 40
Way = Literal["inside", "tcp", "tls"]
WAYS: tuple[Way, ...] = ("inside", "tcp", "tls")
PATIENCE = 5.0

Json = dict[str, Any]


class FakeNode:
    """A node without a bus: it notes what it was asked, and fails as it is told to."""

    def __init__(self, coordinator: Coordinator | None = None) -> None:
        self.name = "fake"
        self.coordinator: Coordinator = coordinator or Disabled()
        self.state: Any = "READY"
        self.tried: list[Coordinator] = []
        self.switched: list[Coordinator] = []
        self.check_error: ConfigError | None = None
        self.trial_error: Exception | None = None
        self.switch_error: Exception | None = None
        # Awaited in the middle of a trial, or of a switch.
        self.in_trial: Callable[[], Any] | None = None
        self.in_switch: Callable[[], Any] | None = None

    def runs(self, coordinator: Coordinator) -> bool:
        return coordinator == self.coordinator

    def check(self, coordinator: Coordinator) -> None:
        if self.check_error:
            raise self.check_error

    async def trial(self, coordinator: Coordinator, timeout: float) -> None:
        assert 0 < timeout <= 15
        self.tried.append(coordinator)
        if self.in_trial:
            await self.in_trial()
        if self.trial_error:
            raise self.trial_error

    async def switch(self, coordinator: Coordinator, timeout: float) -> None:
        if self.in_switch:
            await self.in_switch()
        if self.switch_error:
            raise self.switch_error
        self.switched.append(coordinator)
        self.coordinator = coordinator

    def status(self) -> Status:
        return Status(
            node=self.name, epoch=1, state=self.state, alone=True,
            links=(LinkStatus("Fake", "bus.default", self.state, 0.0, None),),
            peers=(), published=0, log_first=1, log_last=0,
        )  # fmt: skip


@dataclass
class Reply:
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Talks to one server, as one who has a token."""

    admin: AdminServer
    way: Way
    token: str | None = TOKEN
    ca: Path | None = None
    # Everything that was ever received, for those who look for secrets.
    received: list[bytes] = field(default_factory=list[bytes])

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Reply:
        """One request; a header with the value None is left out."""
        given: dict[str, str | None] = {"content-type": "application/json", "host": self.host}
        if self.token is not None:
            given["authorization"] = f"Bearer {self.token}"
        given |= {name.lower(): value for name, value in (headers or {}).items()}
        sent = {name: value for name, value in given.items() if value is not None}
        if self.way == "inside":
            reply = await self._inside(method, path, body or b"", sent)
        else:
            reply = await asyncio.to_thread(self._over_tcp, method, path, body, sent)
        self.received.append(f"{reply.status} {dict(reply.headers)}".encode() + reply.body)
        return reply

    @property
    def host(self) -> str:
        return urlsplit(self.admin.url).netloc

    async def _inside(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        target = urlsplit(path)
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": method, "scheme": "http", "path": target.path, "raw_path": target.path.encode(),
            "query_string": target.query.encode(), "root_path": "", "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 1), "state": {},
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        }  # fmt: skip
        pieces = [body[start : start + 65_536] for start in range(0, len(body), 65_536)] or [b""]
        reply = Reply(0, {}, b"")

        async def receive() -> Json:
            if not pieces:
                return {"type": "http.disconnect"}
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {
                    name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]
                }
            else:
                reply.body += message.get("body", b"")

        await self.admin.app(cast("Any", scope), receive, send)
        return reply

    def _over_tcp(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        place = urlsplit(self.admin.url)
        assert place.hostname is not None
        made: http.client.HTTPConnection
        if self.way == "tls":
            made = http.client.HTTPSConnection(place.hostname, place.port, timeout=30, context=self.context())
        else:
            made = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
        try:
            made.request(method, path, body=body, headers=dict(headers))
            response = made.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            made.close()

    # -- JMAP --------------------------------------------------------------------------------------

    async def post(self, body: object, using: list[str] | None = None) -> Reply:
        """A request to /api: bytes as they are, a list as method calls, anything else as JSON."""
        if isinstance(body, bytes):
            return await self.ask("POST", "/api", body)
        if isinstance(body, list):
            calls = cast("list[object]", body)
            body = {"using": using if using is not None else EVERY, "methodCalls": calls}
        return await self.ask("POST", "/api", json.dumps(body).encode())

    async def calls(self, *calls: list[Any], using: list[str] | None = None) -> list[list[Any]]:
        """The method responses."""
        reply = await self.post(list(calls), using)
        assert reply.status == 200, (reply.status, reply.body)
        return cast("list[list[Any]]", reply.json()["methodResponses"])

    async def call(self, name: str, arguments: Json, using: list[str] | None = None) -> Json:
        """The arguments of the one response; of an error, too."""
        ((found, result, cid),) = await self.calls([name, arguments, "c"], using=using)
        assert cid == "c"
        assert found in (name, "error")
        assert (found == "error") == ("type" in result)
        return cast("Json", result)

    async def get(self, **arguments: Any) -> Json:
        """x:Coordinator/get."""
        return await self.call("x:Coordinator/get", arguments)

    async def object(self) -> Json:
        """The singleton."""
        return cast("Json", (await self.get())["list"][0])

    async def set(self, **arguments: Any) -> Json:
        """x:Coordinator/set."""
        return await self.call("x:Coordinator/set", arguments)

    async def update(self, patch: Json, **arguments: Any) -> Json:
        """... of the singleton: its SetError, or {"updated": ...}."""
        result = await self.set(update={"singleton": patch}, **arguments)
        if "type" in result:
            return result
        if result["notUpdated"]:
            assert result["updated"] is None
            return cast("Json", result["notUpdated"]["singleton"])
        return {"updated": result["updated"]["singleton"]}


@dataclass
class World:
    """A server with its node, and where its files are."""

    admin: AdminServer
    node: FakeNode
    folder: Path
    client: Client

    @property
    def file(self) -> Path:
        return self.folder / "coordinator.json"

    def stored(self) -> Json:
        return cast("Json", json.loads(self.file.read_text()))

    def audited(self) -> list[Json]:
        path = self.folder / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@asynccontextmanager
async def world(
    folder: Path,
    way: Way = "inside",
    node: Any = None,
    certificates: Certificates | None = None,
    **options: Any,
) -> AsyncGenerator[World]:
    """A server that runs, and its administrator."""
    state = folder / "state"
    token = folder / "admin.token"
    if not token.exists():
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
    node = node or FakeNode()
    tls = None
    if way == "tls":
        certificates = certificates or Certificates(folder)
        tls = Tls(certificates.server.certificate, certificates.server.key)
    options.setdefault("secrets", SecretPolicy(directories=(str(folder),)))
    options.setdefault("listen", "127.0.0.1:0")
    options.setdefault("token_file", token)
    async with AdminServer(cast("Node", node), state_dir=state, tls=tls, **options) as admin:
        yield World(admin, node, state, Client(admin, way, ca=certificates.ca if certificates else None))


class Turns:
    """The longest turn of the loop, in CPU seconds of this process: others use the machine, too."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Until it is cancelled."""
        last = time.process_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.process_time()
            self.longest, last = max(self.longest, now - last), now


async def until(is_so: Callable[[], Any], what: str = "it") -> None:
    """Poll with a deadline."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not is_so():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.01)
