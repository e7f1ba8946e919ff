"""POST /publish: what is refused, what is heard, how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus import Message
from tests.admin.kit import world
from tests.page.kit import Browser, nodes


async def test_an_event_is_published_and_the_others_have_it(tmp_path: Path) -> None:
    async with (
        nodes(tmp_path, "a", "b", "c") as (here, (a, b, _)),
        b.subscribe(Message, topic="demo.>") as inbox,
    ):
        reply = await here.client.ask("POST", "/publish", b'{"topic": "demo.hello", "body": "h\\u00e4llo"}')
        assert (reply.status, reply.json()) == (
            200,
            {"node": "a", "epoch": f"{a.status().epoch:016x}", "seq": 1, "heard": ["b", "c"], "missing": []},
        )
        assert await anext(inbox) == Message("demo.hello", "hällo".encode())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"[]", b"{}", b'"a"', b'{"topic": ""}', b'{"topic": 5}', b'{"topic": "a", "body": 5}',
        b'{"topic": "a", "body": null}', b'{"topic": "a", "to": "b"}', b'{"topic": "a", "topic": "b"}',
        b'{"topic": "' + b"t" * 501 + b'"}', b"\xff", b'{"topic": "\\ud800"}', b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)  # fmt: skip
async def test_what_is_no_event_is_an_error_that_says_why(tmp_path: Path, body: bytes) -> None:
    async with nodes(tmp_path, "a") as (here, (bus,)):
        reply = await here.client.ask("POST", "/publish", body)
        assert reply.status == 400
        assert len(reply.json()["detail"]) > 10
        assert bus.status().published == 0


async def test_an_event_that_is_too_large_is_refused_and_the_bus_lives_on(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, (bus,)):
        large = b'{"topic": "a", "body": "' + b"x" * 990_000 + b'"}'
        reply = await here.client.ask("POST", "/publish", large)
        assert reply.status == 400
        assert "at most 983040 are allowed" in reply.json()["detail"]
        assert (await here.client.ask("POST", "/publish", large + b" " * 20_000)).status == 413
        assert (await here.client.ask("POST", "/publish", b'{"topic": "a"}')).json()["seq"] == 1
        assert bus.status().published == 1


async def test_only_json_is_taken(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, _):
        for kind in ("text/plain", "application/x-www-form-urlencoded", None):
            reply = await here.client.ask("POST", "/publish", b'{"topic": "a"}', {"content-type": kind})
            assert reply.status == 400


async def test_a_form_cannot_flood_the_bus(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, (bus,)):
        browser = Browser(here)
        await browser.log_in()
        replies = [await browser.ask("POST", "/publish", {"topic": "a", "body": ""}) for _ in range(40)]
        refused = [reply for reply in replies if reply.status == 429]
        assert refused
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
        assert bus.status().published == 40 - len(refused)


async def test_a_node_that_is_no_bus_has_no_live_view(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert (await here.client.ask("POST", "/publish", b'{"topic": "a"}')).status == 404
        assert (await here.client.ask("GET", "/events")).status == 404
        browser = Browser(here)
        who = (await browser.log_in()).json()["session"]
        assert who["isLive"] is False
