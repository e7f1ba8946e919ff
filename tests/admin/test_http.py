"""Lines 45 and 47 on the wire: slow, large, many and malformed requests; where it listens; TLS; the stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bus import Bus, Event
from bus.admin import AdminServer, Tls
from bus.admin.listen import place
from bus.errors import ConfigError, TlsError
from bus.testing.brokers import Certificates
from bus.testing.conformance.footprint import descriptors
from tests.admin.kit import TOKEN, Client, FakeNode, Turns, Way, World, until, world
from tests.bus.cluster import cluster_name

LOGIN = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
HEAD = f"POST /api HTTP/1.1\r\n{LOGIN}Content-Type: application/json\r\n"
ECHO = b'{"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Core/echo",{},"c"]]}'


@asynccontextmanager
async def connected(
    here: World, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    where = urlsplit(here.admin.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def said(reader: asyncio.StreamReader, seconds: float = 5.0) -> bytes:
    """Everything until the server closes."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.read(-1)
        except ConnectionError:
            return b""


async def status(reader: asyncio.StreamReader) -> int:
    """The status of one response, which is read to its end."""
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
    return int(head.split()[1])


# -- 45: on the wire -------------------------------------------------------------------------------


async def test_line_45_requests_share_a_connection(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here) as (reader, writer):
        for _ in range(3):
            writer.write(HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(ECHO) + ECHO)
            assert await status(reader) == 200
        # Two at once, in order.
        writer.write((HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(ECHO) + ECHO) * 2)
        assert [await status(reader), await status(reader)] == [200, 200]


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET", HEAD.encode(), HEAD.encode() + b"Content-Length: 90\r\n\r\n{"],
    ids=["", "GET", "head", "body"],
)
async def test_line_45_a_slow_request_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("bus.admin.http.WHOLE_REQUEST", 0.5)
    async with world(tmp_path) as here, connected(here) as (reader, writer):
        before = asyncio.get_running_loop().time()
        writer.write(sent)

        async def trickle() -> None:
            while True:
                await asyncio.sleep(0.05)
                writer.write(b"x")

        trickling = asyncio.create_task(trickle())
        answer = await said(reader)
        trickling.cancel()
        await asyncio.wait({trickling})
        assert asyncio.get_running_loop().time() - before < 2
        assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
        # ... and who is not slow notices nothing.
        async with connected(here) as (other, writing):
            writing.write(HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(ECHO) + ECHO)
            assert await status(other) == 200


async def test_line_45_a_slow_answer_is_not_a_slow_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.admin.http.WHOLE_REQUEST", 0.2)
    async with world(tmp_path, "tcp") as here:
        here.node.in_trial = lambda: asyncio.sleep(0.6)
        assert "updated" in await here.client.update({"@type": "Memory"})


async def test_line_45_an_idle_connection_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.admin.http.IDLE", 0.3)
    async with world(tmp_path) as here, connected(here) as (reader, writer):
        writer.write(HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(ECHO) + ECHO)
        assert await status(reader) == 200
        assert await said(reader, 2) == b""


async def test_line_45_chunks_count_too(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here) as (reader, writer):
        writer.write(HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"maxSizeRequest" in answer


async def test_line_45_a_client_that_does_not_read_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.admin.http.UNREAD", 0.3)
    body = b'{"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Core/echo",{"x":"%s"},"c"]]}' % (
        b"y" * 900_000
    )
    async with world(tmp_path) as here:
        where = urlsplit(here.admin.url)
        lazy = socket.socket()
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect((where.hostname, where.port))
        try:
            request = HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
            await asyncio.to_thread(lazy.sendall, request * 8)
        except OSError:
            pass
        state = here.admin._http._state  # pyright: ignore[reportPrivateUsage]  # what the server holds
        assert state is not None
        await until(lambda: not state.connections)
        await until(lambda: not state.tasks)
        lazy.close()


async def test_line_45_the_65th_connection_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        where = urlsplit(here.admin.url)
        held = [await asyncio.open_connection(where.hostname, where.port) for _ in range(64)]
        async with connected(here) as (reader, _):
            answer = await said(reader)
            assert answer.startswith(b"HTTP/1.1 503")
        for _, writer in held[:5]:
            writer.close()
        await asyncio.sleep(0.1)
        assert (await here.client.ask("GET", "/health/live")).status == 200
        async with connected(here) as (reader, writer):
            writer.write(HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(ECHO) + ECHO)
            assert await status(reader) == 200
        for _, writer in held:
            writer.close()


class Tick(Event, tag="admin.tick"):
    number: int


@pytest.mark.timeout(40)
async def test_line_45_the_bus_keeps_its_rate_meanwhile(tmp_path: Path) -> None:
    """Slow, large and many: all at once, beside a bus at 500 events a second."""
    cluster = cluster_name()
    async with (
        Bus.open("memory://", node="a", cluster=cluster) as a,
        Bus.open("memory://", node="b", cluster=cluster) as b,
        world(tmp_path, node=a) as here,
        b.subscribe(Tick) as inbox,
    ):
        await a.ready(peers=1)
        where = urlsplit(here.admin.url)
        held = [await asyncio.open_connection(where.hostname, where.port) for _ in range(60)]
        is_over = False

        async def attack() -> None:
            while not is_over:
                async with connected(here) as (reader, writer):
                    writer.write(HEAD.encode() + b"Content-Length: 5000000\r\n\r\n" + b"[" * 1_000_000)
                    assert b"maxSizeRequest" in await said(reader, 10)
                async with connected(here) as (reader, writer):
                    writer.write(HEAD.encode() + b"Content-Length: 90000\r\n\r\n" + b"[" * 90_000)
                    assert b"notJSON" in await asyncio.wait_for(reader.readuntil(b"}"), 10)

        turns = Turns()
        watching = asyncio.create_task(turns.watch())
        attacks = [asyncio.create_task(attack()) for _ in range(3)]
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(1000):
            a.publish(Tick(number))
            await asyncio.sleep(max(0.0, began + number * 0.002 - loop.time()))
        is_over = True
        async with asyncio.timeout(10):
            assert [(await anext(inbox)) for _ in range(1000)] == [Tick(number) for number in range(1000)]
            await asyncio.wait(attacks)
        watching.cancel()
        await asyncio.wait({watching})
        for attacker in attacks:
            attacker.result()
        for _, writer in held:
            writer.close()
        assert turns.longest < 0.5


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  /  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=range(11),
)
async def test_line_45_what_is_no_http(tmp_path: Path, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with world(tmp_path) as here, connected(here) as (reader, writer):
        writer.write(sent)
        writer.write_eof()
        answer = await said(reader)
        assert answer == b"" or answer.split()[1] in (
            b"400",
            b"401",
            b"404",
            b"411",
            b"421",
            b"431",
            b"501",
            b"505",
        )
        assert (await here.client.ask("GET", "/health/live")).status == 200
    assert caplog.text == ""


async def test_line_45_a_client_that_vanishes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with world(tmp_path) as here:
        gate = asyncio.Event()
        here.node.in_trial = gate.wait
        body = (
            b'{"using":["urn:stalwart:jmap"],"methodCalls":'
            b'[["x:Coordinator/set",{"update":{"singleton":{"@type":"Memory"}}},"c"]]}'
        )
        async with connected(here) as (_, writer):
            writer.write(HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await until(lambda: here.node.tried)
        # What was begun is done: half a change would be worse.
        gate.set()
        await until(lambda: here.node.switched)
        async with connected(here) as (_, writer):
            writer.write(HEAD.encode() + b"Content-Length: 90\r\n\r\n{")
        await asyncio.sleep(0.05)
    assert caplog.text == ""


# -- 47: where it listens --------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080", "example.org:80", "128.0.0.1:1"])
def test_line_47_not_beyond_this_machine_without_tls(listen: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="insecure_http") as caught:
        AdminServer(FakeNode(), state_dir=tmp_path, listen=listen)
    assert "TLS" in str(caught.value)
    AdminServer(FakeNode(), state_dir=tmp_path, listen=listen, tls=Tls("cert.pem"))
    AdminServer(FakeNode(), state_dir=tmp_path, listen=listen, insecure_http=True)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.1.2.3:0", "localhost:0", "[::1]:0"])
async def test_line_47_on_this_machine(listen: str, tmp_path: Path) -> None:
    async with world(tmp_path, "tcp", listen=listen) as here:
        assert (await here.client.ask("GET", "/health/live")).status == 200
        assert (await here.client.object())["@type"] == "Disabled"


def test_line_47_the_default(tmp_path: Path) -> None:
    server = AdminServer(FakeNode(), state_dir=tmp_path)
    assert server._place == ("127.0.0.1", 8080)  # pyright: ignore[reportPrivateUsage]  # not opened: it may be taken


@pytest.mark.parametrize(
    "listen", ["", "8080", "localhost", ":80", "h:x", "h:-1", "h:65536", "h:", "http://h:1/"]
)
def test_line_47_what_is_no_place(listen: str) -> None:
    if listen == "http://h:1/":
        with pytest.raises(ConfigError):
            place(listen)
        return
    with pytest.raises(ConfigError, match="write host:port"):
        place(listen)


async def test_line_47_a_place_that_is_taken(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        where = urlsplit(here.admin.url)
        (tmp_path / "other").mkdir()
        with pytest.raises(ConfigError, match="in use"):
            async with world(tmp_path / "other", listen=f"127.0.0.1:{where.port}"):
                pass
        with pytest.raises(ConfigError, match=r"listen nowhere\.invalid:1"):
            async with world(tmp_path / "other", listen="nowhere.invalid:1", insecure_http=True):
                pass
    # Nothing of the failed starts is left: the directory is free again.
    async with world(tmp_path / "other"):
        pass


HOSTS = [
    ("localhost", 200),
    ("LOCALHOST:1", 200),
    ("127.0.0.1", 200),
    ("[::1]:8080", 200),
    ("192.0.2.7:80", 200),
    ("bus.example", 200),
    ("bus.example.:80", 200),
    ("evil.example", 421),
    ("localhost.evil.example", 421),
    ("", 421),
    ("127.0.0.1.evil.example:80", 421),
    ("[evil", 421),
    ("localhost:x", 421),
]


@pytest.mark.parametrize(("host", "wanted"), HOSTS)
async def test_line_47_the_host_must_be_ours(tmp_path: Path, host: str, wanted: int) -> None:
    async with world(tmp_path, hosts=["bus.example"]) as here:
        assert (await here.client.ask("GET", "/jmap/session", headers={"host": host})).status == wanted


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        (None, 200),
        ("http://localhost:1", 200),
        ("https://localhost:1", 403),
        ("http://evil.example", 403),
        ("null", 403),
    ],
)
async def test_line_47_no_page_of_another_origin(tmp_path: Path, origin: str | None, wanted: int) -> None:
    async with world(tmp_path) as here:
        headers = {"origin": origin, "host": "localhost:1"}
        assert (await here.client.ask("POST", "/api", ECHO, headers)).status == wanted
        assert (await here.client.ask("GET", "/jmap/session", headers=headers)).status == 200


# -- 47: TLS ---------------------------------------------------------------------------------------


async def test_line_47_tls_1_2_is_the_least(tmp_path: Path, certificates: Certificates) -> None:
    async with world(tmp_path, "tls", certificates=certificates) as here:
        for version, is_good in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
            context = here.client.context()
            context.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning) if not is_good else nullcontext():
                context.minimum_version = context.maximum_version = version
            if is_good:
                async with connected(here, context) as (_, writer):
                    assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
            else:
                with pytest.raises((ssl.SSLError, OSError)):
                    async with connected(here, context):
                        pass


async def test_line_47_plain_text_to_a_tls_port(tmp_path: Path, certificates: Certificates) -> None:
    async with world(tmp_path, "tls", certificates=certificates) as here:
        async with connected(here) as (reader, writer):
            writer.write(HEAD.encode() + b"Content-Length: 2\r\n\r\n{}")
            assert b"HTTP" not in await said(reader)
        assert (await here.client.ask("GET", "/health/live")).status == 200


async def test_line_47_clients_of_an_authority_only(tmp_path: Path, certificates: Certificates) -> None:
    server, client = certificates.server, certificates.client
    async with world(tmp_path) as here:
        pass
    tls = Tls(server.certificate, server.key, client_ca=certificates.ca)
    admin = AdminServer(FakeNode(), state_dir=tmp_path / "s", listen="127.0.0.1:0", tls=tls)
    async with admin:
        here.admin = admin
        for identity, is_good in ((client, True), (certificates.foreign, False), (None, False)):
            context = ssl.create_default_context(cafile=str(certificates.ca))
            if identity is not None:
                context.load_cert_chain(identity.certificate, identity.key)
            answer = b""
            try:
                async with connected(here, context) as (reader, writer):
                    writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    answer = await said(reader)
            except ssl.SSLError:
                pass
            assert answer.startswith(b"HTTP/1.1 200") == is_good


async def test_line_47_a_renewed_certificate_is_taken(tmp_path: Path) -> None:
    old, new = Certificates(tmp_path / "old"), Certificates(tmp_path / "new")
    both = tmp_path / "server.pem"
    both.write_bytes(old.server.both.read_bytes())
    admin = AdminServer(FakeNode(), state_dir=tmp_path / "s", listen="127.0.0.1:0", tls=Tls(both))
    async with admin:
        here: Any = type("Here", (), {"admin": admin})

        async def trusts(ca: Path) -> bool:
            try:
                async with connected(here, ssl.create_default_context(cafile=str(ca))):
                    return True
            except ssl.SSLError:
                return False

        assert (await trusts(old.ca), await trusts(new.ca)) == (True, False)
        both.write_text("no certificate")
        with pytest.raises(TlsError):
            await admin.reload()
        assert await trusts(old.ca)
        both.write_bytes(new.server.both.read_bytes())
        await admin.reload()
        assert (await trusts(old.ca), await trusts(new.ca)) == (False, True)


async def test_line_47_a_certificate_that_cannot_be_used(tmp_path: Path, certificates: Certificates) -> None:
    for tls in (
        Tls(tmp_path / "nothing"),
        Tls(certificates.server.certificate),
        Tls(certificates.server.certificate, certificates.client.key),
        Tls(certificates.server.certificate, certificates.server.key, client_ca=tmp_path / "nothing"),
    ):
        with pytest.raises(TlsError, match=str(tmp_path)[:4]):
            await AdminServer(
                FakeNode(), state_dir=tmp_path / "s", listen="127.0.0.1:0", tls=tls
            ).__aenter__()


# -- beginning and end -----------------------------------------------------------------------------


async def test_nothing_is_left_behind(tmp_path: Path, certificates: Certificates) -> None:
    async with world(tmp_path, "tls", certificates=certificates) as here:  # what is imported and cached once
        await here.client.object()
    before, threads = descriptors(), threading.active_count()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access")]
    settings = [(one.handlers[:], one.propagate, one.level) for one in loggers]
    ways: list[Way] = ["tcp", "tls"]
    for way in ways:
        async with world(tmp_path, way, certificates=certificates) as here:
            await here.client.object()
            assert {number: signal.getsignal(number) for number in handlers} == handlers
    await until(lambda: not descriptors() - before)
    assert threading.active_count() <= threads + 2  # idle workers of the pool
    assert [(one.handlers, one.propagate, one.level) for one in loggers] == settings


@pytest.mark.parametrize("way", ["tcp", "tls"])
async def test_the_stop_is_quick_whatever_clients_do(
    tmp_path: Path, certificates: Certificates, way: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    async with world(tmp_path, way, certificates=certificates) as here:
        tls = here.client.context() if way == "tls" else None
        where = urlsplit(here.admin.url)
        opened = [await asyncio.open_connection(where.hostname, where.port, ssl=tls) for _ in range(6)]
        stream = (
            b"GET /jmap/eventsource HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n"
            % TOKEN.encode()
        )
        for _, writer in opened[:3]:
            writer.write(stream)
        opened[3][1].write(HEAD.encode() + b"Content-Length: 50\r\n\r\n{")
        opened[4][1].write(b"GET ")
        for reader, _ in opened[:3]:
            await asyncio.wait_for(reader.readuntil(b"retry"), 5)
        half_open = (
            socket.create_connection((where.hostname or "", where.port or 0)) if way == "tls" else None
        )
        before = loop.time()
    assert loop.time() - before < 1.2
    for _, writer in opened:
        writer.close()
    if half_open is not None:
        half_open.close()
    await asyncio.sleep(0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_streams_alone_hold_nothing_up(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with world(tmp_path) as here:
        where = urlsplit(here.admin.url)
        opened = [await asyncio.open_connection(where.hostname, where.port) for _ in range(3)]
        for reader, writer in opened:
            writer.write(
                b"GET /jmap/eventsource HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n"
                % TOKEN.encode()
            )
            await asyncio.wait_for(reader.readuntil(b"retry"), 5)
        before = loop.time()
    assert loop.time() - before < 0.5
    for reader, writer in opened:
        assert b"0\r\n\r\n" in await said(reader)  # ended as it should, not cut off
        writer.close()


async def test_closing_twice_and_never_opening(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.admin.aclose()
        await here.admin.aclose()
    await AdminServer(FakeNode(), state_dir=tmp_path).aclose()


@pytest.mark.loops
async def test_it_runs_on_both_loops(tmp_path: Path, certificates: Certificates) -> None:
    ways: list[Way] = ["tcp", "tls"]
    for way in ways:
        async with world(tmp_path, way, certificates=certificates) as here:
            assert "updated" in await here.client.update({"@type": "Memory"})
            assert "updated" in await here.client.update({"@type": "Disabled"})


async def test_nothing_blocks_the_loop(tmp_path: Path, nothing_blocks: Any) -> None:
    async with Bus.open("memory://", cluster=cluster_name()) as bus:
        admin = AdminServer(
            bus, state_dir=tmp_path / "state", listen="127.0.0.1:0", token_file=tmp_path / "token"
        )
        async with admin:
            text = await asyncio.to_thread((tmp_path / "token").read_text)
            client = Client(admin, "inside", text.strip())
            for patch in ({"@type": "Disabled"}, {"@type": "Memory"}, {"nonsense": 1}):
                await client.update(patch)
            await client.ask("GET", "/api/schema")
            await client.call("x:Coordinator/rollback", {})
            await admin.reload()
            await asyncio.sleep(0.05)


async def test_a_slow_reader_gets_his_answer_in_the_end(tmp_path: Path) -> None:
    text = "y" * 900_000
    body = (
        b'{"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Core/echo",{"x":"%s"},"c"]]}'
        % text.encode()
    )
    async with world(tmp_path) as here, connected(here) as (reader, writer):
        writer.write(HEAD.encode() + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await asyncio.sleep(0.3)  # the answer is larger than what the sockets hold
        found = b""
        while piece := await asyncio.wait_for(reader.read(65_536), 5):
            found += piece
            await asyncio.sleep(0.001)
        assert found.startswith(b"HTTP/1.1 200")
        assert text.encode() in found


async def test_rubbish_after_an_early_refusal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with world(tmp_path) as here, connected(here) as (reader, writer):
        writer.write(b"POST /api HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"}"), 5)).startswith(b"HTTP/1.1 401")
        writer.write(b"zz\r\n")
        assert await said(reader) == b""
    assert caplog.text == ""


async def test_without_its_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"needs uvicorn: pip install 'coordinator-bus\[admin\]'"):
        await AdminServer(FakeNode(), state_dir=tmp_path / "state").__aenter__()
    assert not (tmp_path / "state").exists()


async def test_a_start_that_fails_lets_go_of_the_directory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "tokens.toml").write_text("x")
    (state / "tokens.toml").chmod(0o600)
    with pytest.raises(ConfigError, match=r"tokens\.toml"):
        async with world(tmp_path):
            pass
    (state / "tokens.toml").unlink()
    async with world(tmp_path):
        pass
