"""Ten thousand malformed requests: none is answered with 500, none hangs, none leaves an error in a log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from bus.config import Nats, Value
from tests.admin.kit import ALIAS, CORE, EVERY, OURS, TOKEN, FakeNode, Reply, World, world

ALLOWED = {200, 400, 401, 403, 404, 405, 421, 429, 431}
HANG = 5.0


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[tuple[World, Callable[[Any], Any]]]:
    """A server, and a way to run something against it from a test that is not async."""
    monkeypatch.setattr("bus.admin.app.CHANGES_PER_SECOND", 10**9)
    monkeypatch.setattr("bus.admin.server.FAILURES_PER_MINUTE", 10**9)
    with asyncio.Runner() as runner:
        context = world(tmp_path, node=FakeNode(Nats(auth_secret=Value("s3cr3t"))))
        here = runner.run(context.__aenter__())

        async def bounded(what: Any) -> Any:
            async with asyncio.timeout(HANG):
                return await what

        yield here, lambda what: runner.run(bounded(what))
        runner.run(context.__aexit__(None, None, None))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def judge(reply: Reply) -> None:
    assert reply.status in ALLOWED, (reply.status, reply.body)
    assert b"Traceback" not in reply.body
    assert b"s3cr3t" not in reply.body
    if reply.body and "json" in reply.headers["content-type"]:
        found = json.loads(reply.body)
        for _, result, _ in found.get("methodResponses", ()):
            assert result.get("type") not in ("serverFail", "serverUnavailable") or "list" in result, result


NAMES = st.one_of(
    st.sampled_from(["x:Coordinator/get", "x:Coordinator/set", "x:Coordinator/rollback", "Core/echo"]),
    st.text(max_size=8),
)
KEYS = st.one_of(
    st.sampled_from(
        [
            "ids",
            "#ids",
            "properties",
            "update",
            "create",
            "destroy",
            "ifInState",
            "accountId",
            "dryRun",
            "validate",
            "generation",
            "singleton",
            "@type",
            "id",
            "addresses",
            "authSecret",
            "authSecret/secret",
            "authSecret/@type",
            "pingInterval",
            "url",
            "config",
            "resultOf",
            "name",
            "path",
            "using",
            "methodCalls",
            "createdIds",
        ]
    ),
    st.text(max_size=5),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=10),
    st.sampled_from(
        [
            "singleton",
            "Nats",
            "Redis",
            "Zenoh",
            "Kafka",
            "Disabled",
            "Memory",
            "Value",
            "File",
            "None",
            "****",
            "c1",
            "/list/*/id",
            "5s",
            "admin",
            "none",
            "{}",
            "h:1",
            "redis://u:****@h",
            "x:Coordinator/get",
        ]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)
CALLS = st.lists(st.tuples(NAMES, ARGUMENTS, st.sampled_from(["c1", "c2", ""])).map(list), max_size=4)
USING = st.lists(st.sampled_from([CORE, ALIAS, OURS, "urn:x"]), max_size=3)
NEARLY = st.fixed_dictionaries({"using": st.just(EVERY), "methodCalls": CALLS})
PATCHES = st.dictionaries(KEYS, VALUES, max_size=4)


def times(count: int) -> settings:
    """So many examples; a slow one is no news here, and none is kept: the server is another one next time."""
    unfit = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=count, deadline=None, database=None, suppress_health_check=unfit)


@pytest.mark.timeout(60)
def test_hundreds_of_requests_that_are_nearly_good(run: Any) -> None:
    here, go = run

    @times(800)
    @given(NEARLY | st.fixed_dictionaries({"using": USING | VALUES, "methodCalls": CALLS | VALUES}) | VALUES)
    def send(value: Any) -> None:
        judge(go(here.client.ask("POST", "/api", json.dumps(value).encode())))

    send()


@pytest.mark.timeout(60)
def test_hundreds_of_patches(run: Any) -> None:
    here, go = run

    @times(700)
    @given(PATCHES, st.sampled_from(["connect", "schema"]))
    def send(patch: dict[str, Any], validate: str) -> None:
        arguments = {"update": {"singleton": patch}, "validate": validate, "dryRun": True}
        judge(go(here.client.post([["x:Coordinator/set", arguments, "c"]])))

    send()


GOOD = json.dumps(
    {
        "using": EVERY,
        "methodCalls": [["x:Coordinator/set", {"update": {"singleton": {"@type": "Nats"}}}, "c"]],
    }
).encode()


@pytest.mark.timeout(60)
def test_thousands_of_bodies_that_were_damaged_on_the_way(run: Any) -> None:
    here, go = run

    @times(3500)
    @given(
        st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 5), st.binary(max_size=4)), max_size=4)
    )
    def send(cuts: list[tuple[int, int, bytes]]) -> None:
        body = GOOD
        for at, length, put in cuts:
            body = body[:at] + put + body[at + length :]
        judge(go(here.client.ask("POST", "/api", body)))

    send()


HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-type", "authorization", "host", "origin", "content-length", "accept", "x", "last-event-id"]
    ),
    st.one_of(
        st.none(),
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20),
        st.sampled_from(
            ["application/json", f"Bearer {TOKEN}", "localhost", "[::1", "-1", "9" * 30, "Bearer "]
        ),
    ),
    max_size=4,
)
PATHS = st.one_of(
    st.sampled_from(
        ["/api", "/jmap", "/jmap/session", "/.well-known/jmap", "/api/schema", "/health/ready", "/"]
    ),
    st.text(max_size=10).map(lambda text: "/" + text.replace("?", "")),
)


@pytest.mark.timeout(60)
def test_thousands_of_requests_with_odd_heads(run: Any) -> None:
    here, go = run

    @times(2500)
    @given(
        st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "X"]),
        PATHS,
        HEADERS,
        st.binary(max_size=20),
    )
    def send(method: str, path: str, headers: dict[str, str | None], body: bytes) -> None:
        judge(go(here.client.ask(method, path, body, headers)))

    send()


async def over_the_wire(here: World, sent: bytes) -> bytes:
    where = urlsplit(here.admin.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(sent)
        writer.write_eof()
        return await reader.read(-1)
    except ConnectionError:
        return b""
    finally:
        writer.close()


HEAD = (
    b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)


@pytest.mark.timeout(60)
def test_thousands_of_times_bytes_that_are_no_http(run: Any) -> None:
    here, go = run

    @times(2500)
    @given(
        st.binary(max_size=60)
        | st.tuples(st.integers(0, len(HEAD)), st.integers(0, 9), st.binary(max_size=6)).map(
            lambda cut: HEAD[: cut[0]] + cut[2] + HEAD[cut[0] + cut[1] :]
        )
    )
    def send(sent: bytes) -> None:
        answer = go(over_the_wire(here, sent))
        assert b"Traceback" not in answer
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 3", b"HTTP/1.1 2")), answer

    send()
