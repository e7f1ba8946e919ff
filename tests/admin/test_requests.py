"""Lines 1-6 of the specification: what refuses a whole request, and what each refusal looks like."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bus.admin import Tokens
from tests.admin.kit import ALIAS, CORE, EVERY, OURS, Client, Reply, World, world

ERROR = "urn:ietf:params:jmap:error:"
ECHO: list[Any] = ["Core/echo", {"a": [1, None, "ü"]}, "c1"]
GOOD = json.dumps({"using": [CORE], "methodCalls": [ECHO]}).encode()


def refused(reply: Reply, status: int, kind: str) -> dict[str, Any]:
    """The problem document; nothing in it tells how we are made."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"].startswith("application/problem+json")
    found: dict[str, Any] = reply.json()
    assert found["type"] == (kind if ":" in kind else ERROR + kind)
    assert found["status"] == status
    assert found["detail"]
    assert "Traceback" not in reply.body.decode()
    return found


NOT_JSON: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("half", b'{"using": ['),
    ("trailing", GOOD + b"x"),
    ("not UTF-8", GOOD.replace(b"c1", b"\xff1")),
    ("UTF-16", GOOD.decode().encode("utf-16")),
    ("byte order mark", b"\xef\xbb\xbf" + GOOD),
    ("name twice", b'{"using": [], "using": [], "methodCalls": []}'),
    ("name twice, deep", GOOD.replace(b'{"a"', b'{"a": 1, "a"')),
    ("name twice, by escape", GOOD.replace(b'{"a"', b'{"\\u0061": 1, "a"')),
    ("half a surrogate pair", GOOD.replace(b"c1", b"\\ud800")),
    ("half a pair in a name", GOOD.replace(b'"a"', b'"\\uDFFF"')),
    ("NaN", GOOD.replace(b"null", b"NaN")),
    ("Infinity", GOOD.replace(b"null", b"-Infinity")),
    ("1e999", GOOD.replace(b"null", b"1e999")),
    ("no character", GOOD.replace(b"c1", "\uffff".encode())),
    ("no character, by escape", GOOD.replace(b"c1", b"\\uFDD0")),
    ("no character, by a pair", GOOD.replace(b"c1", b"\\ud83f\\udffe")),
    ("a number of 5000 digits", GOOD.replace(b"null", b"1" * 5000)),
    ("a raw line break", GOOD.replace(b"c1", b"\n")),
    ("deep", GOOD.replace(b"null", b"[" * 100 + b"]" * 100)),
    ("very deep", b"[" * 100_000),
]


@pytest.mark.parametrize("body", [body for _, body in NOT_JSON], ids=[name for name, _ in NOT_JSON])
async def test_line_01_what_is_not_i_json_is_refused(client: Client, body: bytes) -> None:
    refused(await client.post(body), 400, "notJSON")


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/jsonp", "application/x-www-form-urlencoded"]
)
async def test_line_01_another_content_type_is_refused(client: Client, kind: str | None) -> None:
    found = refused(await client.ask("POST", "/api", GOOD, {"content-type": kind}), 400, "notJSON")
    assert "application/json" in found["detail"]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_line_01_json_may_have_parameters(client: Client, kind: str) -> None:
    assert (await client.ask("POST", "/api", GOOD, {"content-type": kind})).status == 200


async def test_line_01_what_is_i_json_comes_back_as_it_was(client: Client) -> None:
    value: dict[str, Any] = {
        "n": -1.5e-300,
        "i": 2**53,
        "big": 10**40,
        "s": "\U0001f600\u0000",
        "d": {"": [[[]]]},
        "t": True,
    }
    assert await client.call("Core/echo", value) == value


NOT_REQUEST: list[Any] = [
    [1],
    "x",
    None,
    {},
    {"using": EVERY},
    {"methodCalls": []},
    {"using": "x", "methodCalls": []},
    {"using": [1], "methodCalls": []},
    {"using": None, "methodCalls": []},
    {"using": [], "methodCalls": {}},
    {"using": [], "methodCalls": [{}]},
    {"using": [], "methodCalls": [["Core/echo", {}]]},
    {"using": [], "methodCalls": [["Core/echo", {}, "c", "d"]]},
    {"using": [], "methodCalls": [[1, {}, "c"]]},
    {"using": [], "methodCalls": [["Core/echo", [], "c"]]},
    {"using": [], "methodCalls": [["Core/echo", {}, 1]]},
    {"using": [], "methodCalls": [["Core/echo", None, "c"]]},
    {"using": [], "methodCalls": [], "createdIds": None},
    {"using": [], "methodCalls": [], "createdIds": []},
    {"using": [], "methodCalls": [], "createdIds": {"a": 1}},
]


@pytest.mark.parametrize("value", NOT_REQUEST, ids=json.dumps)
async def test_line_02_json_that_is_no_request_is_refused(client: Client, value: Any) -> None:
    refused(await client.post(json.dumps(value).encode()), 400, "notRequest")


async def test_line_02_unknown_properties_of_a_request_are_ignored(client: Client) -> None:
    reply = await client.post({"using": [CORE], "methodCalls": [ECHO], "x": 1, "": {}})
    assert reply.json()["methodResponses"] == [ECHO]


async def test_line_03_an_unknown_capability_refuses_all(client: Client) -> None:
    reply = await client.post([ECHO], [CORE, "urn:example:none"])
    found = refused(reply, 400, "unknownCapability")
    assert "urn:example:none" in found["detail"]
    assert ALIAS in found["detail"]


@pytest.mark.parametrize(
    ("name", "using"),
    [
        ("Core/echo", [ALIAS]),
        ("x:Coordinator/get", [CORE]),
        ("x:Coordinator/set", []),
        ("x:Coordinator/rollback", [CORE, ALIAS]),
        ("x:Coordinator/changes", EVERY),
        ("core/echo", EVERY),
    ],
)
async def test_line_03_a_method_needs_its_capability(client: Client, name: str, using: list[str]) -> None:
    assert (await client.call(name, {}, using))["type"] == "unknownMethod"


@pytest.mark.parametrize("using", [[ALIAS], [OURS], EVERY])
async def test_line_03_the_object_is_there_under_both_names(client: Client, using: list[str]) -> None:
    assert "list" in await client.call("x:Coordinator/get", {}, using)


async def test_line_04_too_many_calls(client: Client) -> None:
    assert len(await client.calls(*[ECHO] * 16)) == 16
    found = refused(await client.post([ECHO] * 17), 400, "limit")
    assert found["limit"] == "maxCallsInRequest"


async def test_line_04_too_large_by_its_own_word(client: Client) -> None:
    reply = await client.post(b'"' + b"x" * 1_000_000 + b'"')
    assert refused(reply, 400, "limit")["limit"] == "maxSizeRequest"


async def test_line_04_too_large_while_it_comes(tmp_path: Path) -> None:
    """... whatever its length said; the same in chunks over a connection is in test_http."""
    async with world(tmp_path) as here:
        reply = await here.client.ask("POST", "/api", b"x" * 1_000_001, {"content-length": "10"})
        assert refused(reply, 400, "limit")["limit"] == "maxSizeRequest"


async def test_line_04_as_large_as_allowed(client: Client) -> None:
    body = json.dumps({"using": [CORE], "methodCalls": [["Core/echo", {"x": ""}, "c"]]}).encode()
    body = body.replace(b'"x": ""', b'"x": "' + b"y" * (1_000_000 - len(body)) + b'"')
    assert len(body) == 1_000_000
    assert (await client.post(body)).status == 200


async def test_line_04_too_many_at_a_time(here: World) -> None:
    gate = asyncio.Event()
    here.node.in_trial = gate.wait
    patch = {"update": {"singleton": {"@type": "Memory"}}}
    first = [asyncio.create_task(here.client.set(**patch)) for _ in range(4)]
    while not here.node.tried:
        await asyncio.sleep(0.01)
    replies = [await here.client.post([ECHO])]
    while replies[-1].status == 200:  # the other three are still on their way
        replies.append(await here.client.post([ECHO]))
    assert refused(replies[-1], 400, "limit")["limit"] == "maxConcurrentRequests"
    gate.set()
    await asyncio.wait(first)
    assert (await here.client.post([ECHO])).status == 200


@pytest.mark.parametrize("path", ["/api", "/jmap"])
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", "Basic dTpw", "t" * 40, "Bearer bus_abcdefgh_" + "x" * 43],
)
async def test_line_05_no_or_a_bad_token(client: Client, path: str, authorization: str | None) -> None:
    reply = await client.ask("POST", path, GOOD, {"authorization": authorization})
    refused(reply, 401, "about:blank")
    assert reply.headers["www-authenticate"] == 'Bearer realm="bus"'


async def test_line_05_a_good_token_without_any_permission_for_the_path(here: World) -> None:
    tokens = Tokens(here.folder)
    here.client.token = tokens.create("metrics", ["busMetricsRead"])
    await here.admin.reload()
    refused(await here.client.post([ECHO]), 403, "about:blank")
    refused(await here.client.ask("GET", "/api/schema"), 403, "about:blank")
    assert (await here.client.ask("GET", "/jmap/session")).status == 200


async def test_line_05_too_many_failures(here: World) -> None:
    here.client.token = "x" * 40
    statuses = [(await here.client.post([ECHO])).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    reply = await here.client.post([ECHO])
    refused(reply, 429, "about:blank")
    assert 1 <= int(reply.headers["retry-after"]) <= 6
    # Who has a good one is not locked out by others at the same address.
    here.client.token = "t" * 40
    assert (await here.client.post([ECHO])).status == 200


@pytest.mark.parametrize(
    "path", ["/static/x.js", "/nothing", "/api/", "/jmap/upload/admin", "/jmap/download/a/b/c", "/API"]
)
async def test_line_05_an_unknown_path(client: Client, path: str) -> None:
    refused(await client.ask("GET", path), 404, "about:blank")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/api", {"POST"}), ("DELETE", "/api", {"POST"}), ("POST", "/jmap/session", {"GET", "HEAD"})],
)
async def test_line_05_a_wrong_verb(client: Client, method: str, path: str, allowed: set[str]) -> None:
    reply = await client.ask(method, path)
    refused(reply, 405, "about:blank")
    assert set(reply.headers["allow"].split(", ")) == allowed


async def test_line_05_our_own_bug_has_a_number_and_no_traceback(
    here: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "".join(["47", "11"])  # a traceback shows the line of source, which must not hold it

    def fails() -> None:
        raise RuntimeError(f"the secret is {secret}")

    monkeypatch.setattr("bus.admin.app.live", fails)
    reply = await here.client.ask("GET", "/health/live")
    found = refused(reply, 500, "about:blank")
    number = found["detail"].split()[-1]
    (record,) = [one for one in caplog.records if number in one.getMessage()]
    assert "fails" in record.getMessage()  # where it was
    assert secret not in reply.body.decode() + caplog.text


async def test_line_06_rate_limits_are_told(here: World) -> None:
    empty: list[Any] = [["x:Coordinator/set", {}, "c"]]
    for left in (4, 3, 2, 1, 0):
        reply = await here.client.post(empty)
        assert reply.headers["ratelimit-policy"] == '"set";q=5;w=1'
        assert reply.headers["ratelimit"].startswith(f'"set";r={left}')
        assert reply.status == 200
    reply = await here.client.post(empty)
    refused(reply, 429, "about:blank")
    assert reply.headers["retry-after"] == "1"
    assert "ratelimit" not in (await here.client.post([ECHO])).headers


async def test_no_answer_is_cached_or_sniffed(client: Client) -> None:
    for path in ("/jmap/session", "/nothing", "/health/live"):
        headers = (await client.ask("GET", path)).headers
        assert "no-store" in headers["cache-control"]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert headers["date"].endswith("GMT")
