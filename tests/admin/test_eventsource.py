"""Push (RFC 8620, 7.3), and what a client learns first: the session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bus.admin import Tokens
from tests.admin.kit import ALIAS, CORE, OURS, TOKEN, Client, World, world


class Stream:
    """The events of one stream, as they come."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def event(self) -> dict[str, str]:
        """The next one that is no comment; empty at the end."""
        while True:
            async with asyncio.timeout(5):
                size = int(await self._reader.readline(), 16)
                piece = (await self._reader.readexactly(size + 2))[:size].decode()
            if not size:
                return {}
            fields = dict(
                line.split(": ", 1) for line in piece.strip().splitlines() if not line.startswith(":")
            )
            if fields and "retry" not in fields:
                return fields


@asynccontextmanager
async def listening(here: World, query: str = "", **headers: str) -> AsyncGenerator[Stream]:
    where = urlsplit(here.admin.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    lines = {"Host": "localhost", "Authorization": f"Bearer {TOKEN}", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    writer.write(f"GET /jmap/eventsource{query} HTTP/1.1\r\n{head}\r\n".encode())
    try:
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b"text/event-stream" in answer
        yield Stream(reader)
    finally:
        writer.close()


async def test_a_change_is_pushed(tmp_path: Path) -> None:
    async with world(tmp_path) as here, listening(here, "?types=*&closeafter=no&ping=0") as stream:
        for patch in ({"@type": "Memory"}, {"@type": "Disabled"}):
            await here.client.update(patch)
            event = await stream.event()
            state = (await here.client.get())["state"]
            assert event["event"] == "state"
            assert event["id"] == state
            assert json.loads(event["data"]) == {
                "@type": "StateChange",
                "changed": {"admin": {"Coordinator": state}},
            }


@pytest.mark.parametrize("types", ["Coordinator", "x:Coordinator", "Mailbox,Coordinator"])
async def test_closeafter_state_ends_the_stream(tmp_path: Path, types: str) -> None:
    async with world(tmp_path) as here, listening(here, f"?types={types}&closeafter=state&ping=0") as stream:
        await here.client.update({"@type": "Memory"})
        assert (await stream.event())["event"] == "state"
        assert await stream.event() == {}


async def test_who_comes_back_is_told_what_he_missed(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.client.update({"@type": "Memory"})
        state = (await here.client.get())["state"]
        async with listening(here, Last_Event_ID="before") as stream:
            assert (await stream.event())["id"] == state


async def test_other_types_are_not_told_but_pinged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.admin.eventsource.MIN_PING", 0.1)
    async with (
        world(tmp_path) as here,
        listening(here, "?types=Mailbox&ping=1") as stream,
    ):
        await here.client.update({"@type": "Memory"})
        event = await stream.event()
        assert event["event"] == "ping"
        assert json.loads(event["data"]) == {"interval": 1}
        assert "id" not in event


async def test_a_ping_is_never_more_often_than_every_five_seconds() -> None:
    from bus.admin.eventsource import wanted

    assert [wanted({"ping": text}).ping for text in ("0", "1", "30", "999999")] == [0, 5, 30, 300]


@pytest.mark.parametrize("query", ["?ping=x", "?ping=-1", "?ping=1.5", "?closeafter=never", "?ping=9999999"])
async def test_a_wrong_query_is_refused(tmp_path: Path, query: str) -> None:
    async with world(tmp_path) as here:
        reply = await here.client.ask("GET", f"/jmap/eventsource{query}")
        assert reply.status == 400


async def test_no_token_no_stream_and_only_so_many(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert (
            await here.client.ask("GET", "/jmap/eventsource", headers={"authorization": None})
        ).status == 401
        here.client.token = Tokens(here.folder).create("metrics", ["busMetricsRead"])
        await here.admin.reload()
        assert (await here.client.ask("GET", "/jmap/eventsource")).status == 403
        here.client.token = TOKEN
        opened = [listening(here) for _ in range(16)]
        for one in opened:
            await one.__aenter__()
        await asyncio.sleep(0.05)
        assert (await here.client.ask("GET", "/jmap/eventsource")).status == 503
        await opened[0].__aexit__(None, None, None)
        async with asyncio.timeout(5):
            while (await here.client.ask("GET", "/jmap/eventsource")).status == 503:
                await asyncio.sleep(0.01)
        for one in opened[1:]:
            await one.__aexit__(None, None, None)


async def test_the_session_has_all_that_rfc_8620_demands(client: Client) -> None:
    for path in ("/.well-known/jmap", "/jmap/session"):
        reply = await client.ask("GET", path)
        assert reply.status == 200
        assert reply.headers["cache-control"] == "no-cache, no-store, must-revalidate"
        assert reply.headers["content-type"].startswith("application/json")
        session: dict[str, Any] = reply.json()
        assert set(session) == {
            "capabilities", "accounts", "primaryAccounts", "username", "apiUrl", "downloadUrl", "uploadUrl",
            "eventSourceUrl", "state",
        }  # fmt: skip
        assert session["capabilities"][CORE] == {
            "maxSizeUpload": 0, "maxConcurrentUpload": 0,
            "maxSizeRequest": 1_000_000, "maxConcurrentRequests": 4,
            "maxCallsInRequest": 16, "maxObjectsInGet": 500, "maxObjectsInSet": 500,
            "collationAlgorithms": [],
        }  # fmt: skip
        assert session["capabilities"][ALIAS] == {}
        assert OURS in session["capabilities"]
        account = session["accounts"]["admin"]
        assert (account["name"], account["isPersonal"], account["isReadOnly"]) == ("fake", True, False)
        assert set(account["accountCapabilities"]) == {ALIAS, OURS}
        assert session["primaryAccounts"] == {ALIAS: "admin", OURS: "admin"}
        assert session["username"] == "admin"
        for name, variables in {
            "downloadUrl": ("accountId", "blobId", "type", "name"),
            "uploadUrl": ("accountId",),
            "eventSourceUrl": ("types", "closeafter", "ping"),
        }.items():
            for variable in variables:
                assert f"{{{variable}}}" in session[name]
        base = client.admin.url if client.way != "inside" else f"http://{client.host}"
        assert session["apiUrl"] == f"{base}/api"


async def test_the_urls_of_the_session_work(client: Client) -> None:
    session: dict[str, str] = (await client.ask("GET", "/.well-known/jmap")).json()
    path = urlsplit(session["apiUrl"]).path
    assert (await client.ask("POST", path, b'{"using":[],"methodCalls":[]}')).status == 200
    for name, method in (("downloadUrl", "GET"), ("uploadUrl", "POST")):
        target = urlsplit(session[name].replace("{", "").replace("}", "")).path
        reply = await client.ask(method, target)
        assert reply.status == 404
        assert reply.headers["content-type"] == "application/problem+json"


async def test_the_session_changes_with_what_the_token_may(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        mine = (await here.client.ask("GET", "/jmap/session")).json()
        here.client.token = Tokens(here.folder).create("reader", ["sysCoordinatorGet"])
        await here.admin.reload()
        other = (await here.client.ask("GET", "/jmap/session")).json()
        assert other["accounts"]["admin"]["isReadOnly"] is True
        assert other["username"] == "reader"
        assert other["state"] != mine["state"]


async def test_health(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        nobody = {"authorization": None}
        assert (await here.client.ask("GET", "/health/live", headers=nobody)).json() == {"status": "pass"}
        reply = await here.client.ask("GET", "/health/ready", headers=nobody)
        assert (reply.status, reply.json()) == (200, {"status": "pass"})
        here.node.state = "BACKOFF"
        reply = await here.client.ask("GET", "/health/ready", headers=nobody)
        assert (reply.status, reply.json()) == (503, {"status": "fail"})
        found = (await here.client.ask("GET", "/health/ready")).json()["checks"]["backend"]
        assert found["output"] == "the node is BACKOFF"
        assert found["links"][0]["type"] == "Fake"
        here.node.state = "DISABLED"
        assert (await here.client.ask("GET", "/health/ready")).status == 200
        wrong = {"authorization": "Bearer x"}
        assert (await here.client.ask("GET", "/health/ready", headers=wrong)).status == 401
