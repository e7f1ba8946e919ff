"""As somebody else's client would use it: RFC 8620 from the discovery on, and HTTP in all its legal forms."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bus.config import Nats, Value
from bus.testing.brokers import Certificates
from tests.admin.kit import CORE, TOKEN, Client, FakeNode, Way, world
from tests.admin.test_http import connected, said

ECHO = b'{"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Core/echo",{},"c"]]}'
VENDOR = "urn:stalwart:jmap"


async def test_a_client_that_knows_only_the_rfc(tmp_path: Path, way: Way, certificates: Certificates) -> None:
    node = FakeNode(Nats(auth_secret=Value("s3cr3t")))
    async with world(tmp_path, way, node, certificates) as here:
        client = here.client
        session = (await client.ask("GET", "/.well-known/jmap")).json()
        core = session["capabilities"][CORE]
        assert all(core[name] >= 0 for name in ("maxSizeRequest", "maxCallsInRequest", "maxObjectsInGet"))
        account = session["primaryAccounts"][VENDOR]
        assert VENDOR in session["accounts"][account]["accountCapabilities"]
        path = urlsplit(str(session["apiUrl"])).path

        async def ask(*calls: list[Any]) -> list[list[Any]]:
            body: dict[str, Any] = {"using": [CORE, VENDOR], "methodCalls": list(calls), "createdIds": {}}
            reply = await client.ask("POST", path, json.dumps(body).encode())
            assert reply.status == 200, reply.body
            found = reply.json()
            assert found["sessionState"] == session["state"]
            assert found["createdIds"] == {}
            responses: list[list[Any]] = found["methodResponses"]
            return responses

        got, again, echoed = await ask(
            ["x:Coordinator/get", {"accountId": account, "ids": None}, "0"],
            ["x:Coordinator/get", {
                "accountId": account, "properties": ["addresses"],
                "#ids": {"resultOf": "0", "name": "x:Coordinator/get", "path": "/list/*/id"},
            }, "1"],
            ["Core/echo", {
                "#x": {"resultOf": "0", "name": "x:Coordinator/get", "path": "/list/*/@type"},
            }, "2"],
        )  # fmt: skip
        state, (found,) = got[1]["state"], got[1]["list"]
        assert again[1]["list"] == [{"id": "singleton", "@type": "Nats", "addresses": found["addresses"]}]
        assert echoed[1] == {"x": ["Nats"]}
        # All of what it got, one thing changed; then what it may not do, in one request.
        changed, stale, bad, made, gone, unknown = await ask(
            ["x:Coordinator/set", {"accountId": account, "ifInState": state,
                "update": {"singleton": {**found, "pingInterval": 5000}}}, "0"],
            ["x:Coordinator/set", {"accountId": account, "ifInState": state,
                "update": {"singleton": {}}}, "1"],
            ["x:Coordinator/set", {"accountId": account, "update": {"singleton": {
                "capacityClient": 0, "authSecret/secret~1x": 1, "nonsense": True}, "other": {}}}, "2"],
            ["x:Coordinator/set", {"accountId": account, "create": {"new": {"@type": "Redis"}}}, "3"],
            ["x:Coordinator/set", {"accountId": account, "destroy": ["singleton"]}, "4"],
            ["x:Coordinator/changes", {"accountId": account, "sinceState": state}, "5"],
        )  # fmt: skip
        assert changed[1]["updated"] == {"singleton": None}
        assert (stale[0], stale[1]["type"]) == ("error", "stateMismatch")
        error = bad[1]["notUpdated"]["singleton"]
        assert error["type"] == "invalidProperties"
        assert set(error["properties"]) == {"capacityClient", "authSecret/secret/x", "nonsense"}
        assert bad[1]["notUpdated"]["other"]["type"] == "notFound"
        assert made[1]["notCreated"]["new"]["type"] == "singleton"
        assert gone[1]["notDestroyed"]["singleton"]["type"] == "singleton"
        assert (unknown[0], unknown[1]["type"]) == ("error", "unknownMethod")
        assert node.coordinator == Nats(auth_secret=Value("s3cr3t"), ping_interval=Nats().timeout_connection)


LOGIN = f"Authorization: Bearer {TOKEN}\r\n"
HOST = "Host: localhost\r\n"
JSON = "Content-Type: application/json\r\n"
END = "Connection: close\r\n"


def post(
    headers: str = HOST + LOGIN + JSON, body: bytes = ECHO, target: str = "/api", version: str = "1.1"
) -> bytes:
    head = f"POST {target} HTTP/{version}\r\n{headers}{END}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def bare(method: str, target: str, headers: str = HOST + LOGIN, version: str = "1.1") -> bytes:
    return f"{method} {target} HTTP/{version}\r\n{headers}{END}\r\n".encode()


CHUNKED = f"POST /api HTTP/1.1\r\n{HOST}{LOGIN}{JSON}{END}Transfer-Encoding: chunked\r\n\r\n".encode() + (
    b"%x\r\n" % 10
    + ECHO[:10]
    + b"\r\n%x;x=y\r\n" % len(ECHO[10:])
    + ECHO[10:]
    + b"\r\n0\r\nTrailer: x\r\n\r\n"
)
FORMS: dict[str, tuple[bytes, int]] = {
    "HTTP/1.0": (post(LOGIN + JSON, version="1.0"), 200),
    "HTTP/1.0 with a host": (post(version="1.0"), 200),
    "HTTP/1.0 session": (bare("GET", "/jmap/session", LOGIN, "1.0"), 200),
    "HTTP/1.9": (post(version="1.9"), 505),
    "HTTP/1.1 without a host": (post(LOGIN + JSON), 400),
    "absolute form": (post(target="http://localhost/api"), 200),
    "absolute form of a session": (bare("GET", "https://localhost/.well-known/jmap"), 200),
    "a query": (post(target="/api?pretty=1"), 200),
    "an escaped path": (bare("GET", "/%6amap/session"), 200),
    "chunks with extensions and trailers": (CHUNKED, 200),
    "charset": (post(HOST + LOGIN + 'content-type:application/json;charset="UTF-8"\r\n'), 200),
    "no content type": (post(HOST + LOGIN), 400),
    "no body": (post(body=b""), 400),
    "identity": (post(HOST + LOGIN + JSON + "Content-Encoding: identity\r\n"), 200),
    "gzip": (post(HOST + LOGIN + JSON + "Content-Encoding: gzip\r\n", gzip.compress(ECHO)), 415),
    "accepts gzip and anything": (post(HOST + LOGIN + JSON + "Accept: */*\r\nAccept-Encoding: br\r\n"), 200),
    "lower case": (post((HOST + LOGIN + JSON).replace("Bearer", "bearer").replace("Auth", "auth")), 200),
    "an upgrade": (post(HOST + LOGIN + JSON + "Upgrade: h2c\r\n"), 200),
    "two logins": (post(HOST + LOGIN + LOGIN + JSON), 401),
    "two lengths": (post(HOST + LOGIN + JSON + "Content-Length: 1\r\n"), 400),
    "HEAD": (bare("HEAD", "/.well-known/jmap"), 200),
    "HEAD of a POST": (bare("HEAD", "/api"), 405),
    "HEAD of a stream": (bare("HEAD", "/jmap/eventsource?types=*&closeafter=no&ping=0"), 200),
    "OPTIONS": (bare("OPTIONS", "/api"), 405),
    "OPTIONS of a page elsewhere": (bare("OPTIONS", "/api", HOST + "Origin: https://evil.example\r\n"), 405),
    "GET of a POST": (bare("GET", "/api"), 405),
    "a slash behind": (post(target="/api/"), 404),
    "two slashes": (post(target="//api"), 404),
    "dots": (bare("GET", "/health/../api/schema"), 404),
    "a blob": (bare("GET", "/jmap/download/admin/b/n?accept=a/b"), 404),
    "an upload": (post(target="/jmap/upload/admin"), 404),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
async def test_every_legal_form_of_a_request_has_its_answer(tmp_path: Path, name: str) -> None:
    sent, wanted = FORMS[name]
    async with world(tmp_path) as here, connected(here) as (reader, writer):
        writer.write(sent)
        head, _, body = (await said(reader)).partition(b"\r\n\r\n")
        assert int(head.split()[1]) == wanted, (head, body)
        if wanted == 405:
            assert b"\r\nallow: POST" in head
        if sent.startswith(b"HEAD"):
            assert body == b""
            assert b"content-length: 0\r\n" not in head
        elif wanted in (401, 404, 405, 415):
            assert json.loads(body)["status"] == wanted
        # Nobody else's page may read an answer.
        assert b"access-control" not in head.lower()


async def test_who_asks_first_is_told_to_go_on_or_not_to_send(tmp_path: Path) -> None:
    asks = f"{JSON}{END}Expect: 100-continue\r\nContent-Length: {len(ECHO)}\r\n\r\n"
    async with world(tmp_path) as here:
        async with connected(here) as (reader, writer):
            writer.write(f"POST /api HTTP/1.1\r\n{HOST}{LOGIN}{asks}".encode())
            async with asyncio.timeout(5):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            writer.write(ECHO)
            assert (await said(reader)).startswith(b"HTTP/1.1 200")
        async with connected(here) as (reader, writer):
            writer.write(f"POST /api HTTP/1.1\r\n{HOST}{asks}".encode())
            assert (await said(reader)).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "value",
    [
        2**53 + 1,
        -(2**63),
        10**30,
        1.5e300,
        -0.0,
        1e-320,
        "\u2028\x7f\ufffd\U0001f600\U0010fffd",
        10**307,
        {"": {"": [None]}},
    ],
)
async def test_unusual_values_come_back_as_they_were(client: Client, value: Any) -> None:
    assert json.dumps(await client.call("Core/echo", {"x": value})) == json.dumps({"x": value})


async def test_white_space_escapes_and_unknown_members_are_legal(client: Client) -> None:
    text = (
        '\r\n\t {"methodCalls" : [ [ "Core\\/echo" , { "\\u0061" : "\\ud83d\\ude00" } , "\\"" ] ] ,'
        ' "using":["urn:ietf:params:jmap:core","urn:ietf:params:jmap:core"], "extra": {"a": []}} \n'
    )
    assert (await client.post(text.encode())).json()["methodResponses"] == [["Core/echo", {"a": "😀"}, '"']]
