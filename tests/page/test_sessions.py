"""Cookies: who gets one, what it is good for, whose request is refused, when it is over."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bus.admin import PERMISSIONS, Tokens
from bus.admin.page.sessions import IDLE, LONGEST, MOST, Sessions
from tests.admin.kit import ALIAS, CORE, TOKEN, world
from tests.page.kit import Browser, Json, looking, nodes

GET: Json = {"using": [CORE, ALIAS], "methodCalls": [["x:Coordinator/get", {}, "c"]]}


async def test_a_token_shown_once_becomes_a_cookie_that_scripts_cannot_read(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        browser = Browser(here)
        reply = await browser.log_in()
        assert reply.status == 200
        assert re.fullmatch(
            r"__Host-bus-[0-9a-f]{12}=[\w-]{43}; Path=/; Secure; HttpOnly; SameSite=Strict",
            reply.headers["set-cookie"],
        )
        assert reply.headers["cache-control"] == "no-cache, no-store, must-revalidate"
        assert (await browser.ask("POST", "/api", GET)).json()["methodResponses"][0][0] == "x:Coordinator/get"
        who = await browser.who()
        assert who is not None
        assert (who["name"], who["csrf"]) == ("admin", browser.csrf)
        assert sorted(PERMISSIONS) == who["permissions"]
        # The token itself is in no answer.
        assert all(TOKEN.encode() not in one for one in here.client.received)


async def test_two_nodes_of_one_machine_do_not_take_each_others_cookies(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with world(tmp_path / "a") as one, world(tmp_path / "b") as other:
        browser = Browser(one)
        await browser.log_in()
        elsewhere = Browser(other, browser.cookie, browser.csrf)
        assert (await elsewhere.ask("POST", "/api", GET)).status == 401
        await elsewhere.log_in()
        assert elsewhere.cookie.partition("=")[0] != browser.cookie.partition("=")[0]


async def test_a_wrong_token_is_refused_and_guessing_is_slowed_down(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        browser = Browser(here)
        replies = [await browser.log_in("x" * 40) for _ in range(11)]
        assert [reply.status for reply in replies] == [401] * 10 + [429]
        assert all("set-cookie" not in reply.headers for reply in replies)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"token": 5}', b"\xff", b'{"token": "a", "token": "b"}', b"[" * 4000],
    ids=repr,
)
async def test_a_login_that_is_none_is_an_error_and_never_a_session(tmp_path: Path, body: bytes) -> None:
    async with world(tmp_path) as here:
        reply = await Browser(here).ask("POST", "/session", body)
        assert reply.status == 400
        assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("token", ["a\r\nX: y", "ü" * 40, "\0", "a" * 4000])
async def test_a_token_of_any_characters_is_only_wrong(tmp_path: Path, token: str) -> None:
    async with world(tmp_path) as here:
        assert (await Browser(here).log_in(token)).status == 401
        assert (await Browser(here).log_in("a" * 9000)).status == 413


# What a browser says of the page that makes a request, with everything else as it should be.
FOREIGN: list[dict[str, str | None]] = [
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "none"},
    {"sec_fetch_site": "cross-site", "origin": "https://evil.example"},
    {"sec_fetch_site": None, "origin": "https://evil.example"},
    {"sec_fetch_site": None, "origin": "null"},
    {"sec_fetch_site": None},
    {"x_bus_csrf": None},
    {"x_bus_csrf": ""},
    {"x_bus_csrf": "a" * 43},
]
UNSAFE: list[tuple[str, str, Any]] = [
    ("POST", "/api", GET),
    ("POST", "/jmap", GET),
    ("POST", "/publish", {"topic": "a", "body": ""}),
    ("DELETE", "/session", None),
]


@pytest.mark.parametrize("said", FOREIGN, ids=str)
async def test_no_other_page_can_use_the_session(tmp_path: Path, said: dict[str, str | None]) -> None:
    async with nodes(tmp_path, "a") as (here, (bus,)):
        browser = Browser(here)
        await browser.log_in()
        for method, path, body in UNSAFE:
            assert (await browser.ask(method, path, body, **said)).status == 403, (method, path)
        assert bus.status().published == 0
        assert await browser.who() is not None
        if said.get("sec_fetch_site"):
            # Reading, too: what a browser lets through by mistake stays here.
            for path in ("/session", "/api/schema", "/jmap/session", "/api/changed", "/events"):
                assert (await browser.ask("GET", path, **said)).status == 403, path


async def test_a_form_of_another_page_cannot_log_in(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        body = json.dumps({"token": TOKEN}).encode()
        for said in ({"sec_fetch_site": "cross-site"}, {"sec_fetch_site": None}):
            assert (await Browser(here).ask("POST", "/session", body, **said)).status == 403
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            assert (await Browser(here).ask("POST", "/session", body, content_type=kind)).status == 400


async def test_a_browser_that_says_origin_only_and_one_behind_a_proxy_with_tls_are_ours(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as here:
        browser = Browser(here, site=None, headers={"origin": f"http://{here.client.host}"})
        assert (await browser.log_in()).status == 200
        assert (await browser.ask("POST", "/api", GET)).status == 200
        proxied = Browser(here, headers={"origin": f"https://{here.client.host}"})
        assert (await proxied.log_in()).status == 200
        assert (await proxied.ask("POST", "/api", GET)).status == 200


async def test_a_token_in_the_header_needs_neither_and_wins_over_a_cookie(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert (await here.client.post(json.dumps(GET).encode())).status == 200
        browser = Browser(here)
        await browser.log_in()
        assert (await browser.ask("POST", "/api", GET, authorization="Bearer wrong")).status == 401


async def test_a_cookie_is_dead_after_logging_out(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        browser = Browser(here)
        await browser.log_in()
        reply = await browser.ask("DELETE", "/session")
        assert "Max-Age=0" in reply.headers["set-cookie"]
        assert await browser.who() is None
        for _ in range(20):  # and no guess at a token, however often it comes
            assert (await browser.ask("POST", "/api", GET)).status == 401


async def test_logging_in_again_ends_the_session_before(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        browser = Browser(here)
        await browser.log_in()
        before = Browser(here, browser.cookie, browser.csrf)
        await browser.log_in()
        assert await before.who() is None
        assert await browser.who() is not None


async def test_two_cookies_of_one_name_are_none(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        browser = Browser(here)
        await browser.log_in()
        name = browser.cookie.partition("=")[0]
        browser.cookie = f"{name}={'a' * 43}; {browser.cookie}"
        assert (await browser.ask("POST", "/api", GET)).status == 401
        assert await browser.who() is None


async def test_a_session_ends_with_its_token(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        tokens = Tokens(here.folder)
        text = tokens.create("ops", ["sysCoordinatorGet"])
        await here.admin.reload()
        browser = Browser(here)
        assert (await browser.log_in(text)).status == 200
        assert (await browser.ask("POST", "/api", GET)).status == 200
        tokens.revoke(text.split("_")[1])
        await here.admin.reload()
        assert (await browser.ask("POST", "/api", GET)).status == 401


# Permission -> what it opens.
PATHS: dict[tuple[str, str], set[str]] = {
    ("POST", "/api"): {"sysCoordinatorGet", "sysCoordinatorUpdate"},
    ("GET", "/api/schema"): {"sysCoordinatorGet"},
    ("GET", "/api/changed"): {"sysCoordinatorGet", "sysCoordinatorUpdate"},
    ("HEAD", "/jmap/session"): set(PERMISSIONS),
    ("HEAD", "/events"): {"busEventsRead"},
    ("POST", "/publish"): {"busEventsPublish"},
}


@pytest.mark.parametrize("permission", PERMISSIONS)
async def test_each_permission_opens_its_paths_and_no_other(tmp_path: Path, permission: str) -> None:
    async with nodes(tmp_path, "a") as (here, _):
        text = Tokens(here.folder).create("one", [permission])
        await here.admin.reload()
        browser = Browser(here)
        await browser.log_in(text)
        for (method, path), needed in PATHS.items():
            body: Json | None = (
                {"topic": "a", "body": "b"} if path == "/publish" else GET if path == "/api" else None
            )
            status = (await browser.ask(method, path, body)).status
            assert status == (200 if permission in needed else 403), (method, path)
            bearer = {"authorization": f"Bearer {text}", "cookie": None}
            assert (await browser.ask(method, path, body, **bearer)).status == status
            nobody = Browser(here)
            assert (await nobody.ask(method, path, body)).status in (401, 429), (method, path)


async def test_what_a_session_may_not_change_stays(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, _):
        text = Tokens(here.folder).create("reader", ["sysCoordinatorGet"])
        await here.admin.reload()
        browser = Browser(here)
        await browser.log_in(text)
        wish = {"update": {"singleton": {"@type": "Disabled"}}}
        body = {"using": [CORE, ALIAS], "methodCalls": [["x:Coordinator/set", wish, "c"]]}
        ((name, error, _),) = (await browser.ask("POST", "/api", body)).json()["methodResponses"]
        assert (name, error["type"]) == ("error", "forbidden")
        assert not here.file.exists()


# -- by themselves ---------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(folder: Path) -> tuple[Sessions, Clock, Tokens, list[str]]:
    tokens = Tokens(folder)
    tokens.open()
    clock = Clock()
    made = Sessions(tokens, "node", clock)
    _, cookie = made.open(tokens.all()[0])
    return made, clock, tokens, [cookie.partition(";")[0]]


def test_a_session_is_over_when_it_is_not_used(tmp_path: Path) -> None:
    made, clock, _, cookies = opened(tmp_path)
    clock.now += IDLE - 1
    assert made.find(cookies)
    clock.now += IDLE - 1
    assert made.find(cookies)
    clock.now += IDLE
    assert made.find(cookies) is None


def test_a_session_is_over_after_a_working_day_also_when_it_is_used(tmp_path: Path) -> None:
    made, clock, _, cookies = opened(tmp_path)
    session = made.find(cookies)
    assert session is not None
    until = clock.now + LONGEST
    while clock.now + 60 < until:
        clock.now += 60
        assert made.is_open(session)
    clock.now = until
    assert not made.is_open(session)
    assert made.find(cookies) is None


def test_a_session_ends_when_its_token_expires(tmp_path: Path) -> None:
    made, _, tokens, _ = opened(tmp_path)
    text = tokens.create("short", ["sysCoordinatorGet"], timedelta(seconds=-1))
    token = next(one for one in tokens.all() if one.name == "short")
    assert tokens.authenticate(text) is None
    _, cookie = made.open(token)
    assert made.find([cookie.partition(";")[0]]) is None


def test_sessions_are_bounded_and_the_longest_unused_one_goes(tmp_path: Path) -> None:
    made, _, tokens, cookies = opened(tmp_path)
    others = [made.open(tokens.all()[0])[1].partition(";")[0] for _ in range(MOST - 1)]
    assert made.find(cookies)
    made.open(tokens.all()[0])
    assert made.find(cookies)
    assert made.find([others[0]]) is None


@pytest.mark.parametrize("text", ["", "=", ";;;", "a=b; c", "\xff=\xff", "x" * 10_000, "__Host-bus-0=1"])
def test_any_cookie_header_is_only_no_session(tmp_path: Path, text: str) -> None:
    made, *_ = opened(tmp_path)
    assert made.find([text]) is None
    made.close([text])


async def test_a_stream_ends_with_its_session(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, _):
        browser = Browser(here)
        await browser.log_in()
        async with looking(here, Cookie=browser.cookie, Sec_Fetch_Site="same-origin") as stream:
            await stream.wait("status")
            await browser.ask("DELETE", "/session")
            assert await stream.wait("end") == {"reason": "session"}
            assert await stream.event() == ("", None)
