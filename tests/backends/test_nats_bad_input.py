"""What an operator can get wrong with NATS: each has an error of its own, in time, that names the field.

An error that waiting cannot mend is fatal before the first READY (rule 17), every other one is tried again.
No text shows a secret.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus import AuthError, Bus, ConfigError, TlsError
from bus.errors import Fault, LinkError
from bus.testing.brokers.certificates import Certificates
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.nats import NatsServer
from bus.testing.brokers.nats_jwt import NKey, Operator
from bus.testing.brokers.process import free_port
from bus.testing.proxy import Proxy
from bus_nats import LEAST
from tests.backends.nats_kit import SECONDS, End, nats, refused, script

SECRET = "hunter2-secret"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("nats-certificates"))


def value(secret: str) -> dict[str, str]:
    return {"@type": "Value", "secret": secret}


def text(secret: str) -> dict[str, str]:
    return {"@type": "Text", "secret": secret}


async def failure(source: object, fault: Fault, *said: str, timeout: float = SECONDS) -> None:
    """`connect` fails in time with this kind of fault, and the text has these words and no secret."""
    end = End(source, timeout=timeout)
    started = time.monotonic()
    error = await end.fails()
    assert time.monotonic() - started < timeout
    assert end.backend.classify(error) is fault, repr(error)
    for words in said:
        assert words in str(error), str(error)
    assert SECRET not in f"{error} {error!r}"


# -- credentials -----------------------------------------------------------------------------------


async def test_wrong_logins_are_refused_by_name(broker_of: BrokerFactory) -> None:
    server = broker_of(NatsServer, auth="password")
    at = {"addresses": [f"127.0.0.1:{server.port}"]}
    wrong = nats(**at, authUsername="bus", authSecret=value(SECRET))
    await failure(wrong, Fault.AUTH, f"127.0.0.1:{server.port}", "authUsername 'bus'", "authSecret")
    unknown = nats(**at, authUsername="nobody", authSecret=value(server.password))
    await failure(unknown, Fault.AUTH, "authUsername 'nobody'")
    await failure(nats(**at), Fault.AUTH, "without login", "authUsername and authSecret, or credentials")
    await failure(nats(**at, credentials=text(SECRET)), Fault.AUTH, "the token in credentials")
    error = await refused(wrong)
    assert type(error) is AuthError
    assert "authSecret" in str(error)


async def test_an_unknown_token_and_an_unknown_nkey_are_refused_by_name(broker_of: BrokerFactory) -> None:
    at = {"addresses": [broker_of(NatsServer, auth="token").address]}
    await failure(nats(**at, credentials=text(SECRET)), Fault.AUTH, "the token in credentials")
    at = {"addresses": [broker_of(NatsServer, auth="nkey").address]}
    await failure(nats(**at, credentials=text(NKey("user").seed)), Fault.AUTH, "NKey", "credentials")


async def test_a_jwt_that_has_expired_says_when(broker_of: BrokerFactory) -> None:
    server = broker_of(NatsServer, auth="jwt")
    assert server.operator is not None
    at = {"addresses": [server.address]}
    old = server.operator.user(seconds=-60)
    await failure(nats(**at, credentials=text(old)), Fault.AUTH, "JWT in credentials", "expired at 20")
    foreign = Operator().user()
    await failure(nats(**at, credentials=text(foreign)), Fault.AUTH, "the JWT in credentials (")


async def test_a_jwt_that_expires_while_connected_ends_the_link_as_what_it_is(
    broker_of: BrokerFactory,
) -> None:
    server = broker_of(NatsServer, auth="jwt")
    assert server.operator is not None
    short = server.operator.user(seconds=2)
    end = await End(nats(addresses=[server.address], credentials=text(short))).connect()
    error = await end.ended()
    assert isinstance(error, AuthError)
    assert "JWT in credentials" in str(error)
    assert "xpired" in str(error)
    await end.drop()


def damaged(seed: str) -> str:
    return seed[:-3] + ("A" if seed[-3] != "A" else "B") + seed[-2:]


CREDS = Operator().user() if sys.platform else ""
JWT, SEED = CREDS.split("\n")[1], CREDS.split("\n")[5]
MALFORMED = {
    "two words": f"{SECRET} and more",
    "no seed block": CREDS[: CREDS.index("-----BEGIN USER")],
    "no jwt block": CREDS[CREDS.index("-----BEGIN USER") :],
    "cut off": CREDS[:-60],
    "empty blocks": CREDS.replace(JWT, "").replace(SEED, ""),
    "not a jwt": CREDS.replace(JWT, SECRET),
    "damaged seed in the file": CREDS.replace(SEED, damaged(SEED)),
    "damaged seed": damaged(SEED),
    "short seed": SEED[:-4],
    "seed of an account": NKey("account").seed,
    "another file": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_credentials_are_told_before_anything_is_sent(name: str) -> None:
    """T10: nats-py would look for a line that never comes, and hold the event loop for ever."""
    async with script({"auth_required": True, "nonce": "x" * 20}) as server:
        secret = MALFORMED[name]
        source = nats(addresses=[server.url], credentials=text(secret))
        await failure(source, Fault.CONFIG, "credentials: ")
        error = await refused(source)
        assert type(error) is ConfigError
        for line in secret.split():
            assert len(line) < 20 or line not in str(error)
        assert not server.received


@pytest.mark.parametrize("name", ["crlf", "no line at the end", "comments around", "blanks around a token"])
async def test_credentials_may_look_a_little_different(broker_of: BrokerFactory, name: str) -> None:
    server = broker_of(NatsServer, auth="token" if "token" in name else "jwt")
    creds = server.credentials or ""
    secret = {
        "crlf": creds.replace("\n", "\r\n"),
        "no line at the end": creds.strip(),
        "comments around": f"# for the bus\n{creds}\n\n****\nkeep it\n",
        "blanks around a token": f" {server.token}\n",
    }[name]
    end = await End(nats(addresses=[server.address], credentials=text(secret))).connect()
    await end.drop()


async def test_a_secret_that_is_not_there_is_named() -> None:
    where = {"@type": "EnvironmentVariable", "variableName": "BUS_TEST_NO_SUCH"}
    await failure(nats(credentials=where), Fault.CONFIG, "BUS_TEST_NO_SUCH")
    where = {"@type": "File", "filePath": "/nowhere/password"}
    await failure(nats(authUsername="bus", authSecret=where), Fault.CONFIG, "/nowhere/password")


def test_without_the_client_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(ConfigError, match=r"pip install 'coordinator-bus\[nats\]'"):
        Bus.open(nats(credentials=text(SEED)))
    monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    with pytest.raises(ConfigError, match=r"pip install 'coordinator-bus\[nats\]'"):
        Bus.open("nats://127.0.0.1")


# -- permissions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["password", "jwt"])
@pytest.mark.parametrize(("denied", "granted"), [("publish", "subscribe"), ("subscribe", "publish")])
async def test_a_missing_permission_is_told_with_the_channel(
    broker_of: BrokerFactory, auth: str, denied: str, granted: str
) -> None:
    permissions = {denied: ["other.>"], granted: ["bus.>"]}
    server = broker_of(NatsServer, auth="jwt" if auth == "jwt" else "password", permissions=permissions)
    source = nats(addresses=[server.address], credentials=text(server.credentials or ""))
    if auth == "password":
        source = nats(addresses=[server.address], authUsername="bus", authSecret=value(server.password))
    end = End(source)
    await failure(source, Fault.AUTH, "'bus.", f"permit this user to {denied}")
    async with Bus.open(source, cluster="kitchen") as bus:
        with pytest.raises(AuthError, match=rf"{denied} to 'bus\.kitchen'"):
            await bus.ready(SECONDS)
        assert bus.status().state == "FATAL"
    assert end.heard == []


async def test_a_permission_that_is_taken_away_ends_the_link(broker_of: BrokerFactory) -> None:
    server = broker_of(NatsServer, auth="password")
    end = await End(server.url).connect()
    user = {"user": server.user, "password": server.password, "permissions": {"subscribe": ["other.>"]}}
    server.config["authorization"] = {"users": [user]}
    server.reload()
    assert isinstance(await end.ended(), AuthError)
    await end.drop()


# -- TLS -------------------------------------------------------------------------------------------


def secure(server: NatsServer, ca: Path | None, **fields: object) -> dict[str, object]:
    return nats(addresses=[server.address], tlsCa=str(ca) if ca else None, useTls=True, **fields)


async def test_a_certificate_that_does_not_fit_is_told_with_the_reason(
    broker_of: BrokerFactory, certificates: Certificates
) -> None:
    good = broker_of(NatsServer, tls=certificates.server)
    await failure(secure(good, certificates.other_ca), Fault.TLS, "tlsCa")
    await failure(secure(good, None), Fault.TLS, "tlsCa")
    await failure(nats(addresses=[f"127.0.0.1:{good.port}"]), Fault.TLS, "tlsCa")
    await failure(secure(good, certificates.ca, tlsHostname="else.test"), Fault.TLS, "tlsHostname")
    expired = broker_of(NatsServer, tls=certificates.expired)
    await failure(secure(expired, certificates.ca), Fault.TLS, "has expired")
    other = broker_of(NatsServer, tls=certificates.wrong_host)
    await failure(secure(other, certificates.ca), Fault.TLS, "tlsHostname")
    error = await refused(secure(other, certificates.ca))
    assert type(error) is TlsError


async def test_a_server_that_wants_our_certificate_says_so(
    broker_of: BrokerFactory, certificates: Certificates
) -> None:
    server = broker_of(NatsServer, tls=certificates.server, verify=True)
    await failure(secure(server, certificates.ca), Fault.TLS, "tlsCert")
    foreign = certificates.foreign
    mine = {"tlsCert": str(foreign.certificate), "tlsKey": str(foreign.key)}
    end = End(secure(server, certificates.ca, **mine))
    # Whoever closes first may close before it said why: the next attempt may tell.
    async with asyncio.timeout(10):
        while not isinstance(error := await end.fails(), TlsError):
            assert isinstance(error, LinkError)
    assert "tlsCert" in str(error)


async def test_without_a_certificate_nothing_is_sent_to_a_server_that_wants_one() -> None:
    """It closes the connection, now and then before it says why."""
    async with script({"tls_required": True, "tls_verify": True}) as server:
        await failure(nats(addresses=[server.url], useTls=True), Fault.TLS, "tlsCert and tlsKey")
        assert server.received == b""


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_no_byte_goes_to_a_server_that_offers_no_tls(scheme: str) -> None:
    """T9: nats-py would send the password in clear text."""
    async with script({"auth_required": True}) as server:
        fields = {"authUsername": "bus", "authSecret": value(SECRET), "useTls": scheme == "nats"}
        source = nats(addresses=[f"{scheme}://127.0.0.1:{server.port}"], **fields)
        await failure(source, Fault.TLS, "offers no TLS", "useTls")
        assert server.received == b""
        assert type(await refused(source)) is TlsError


async def test_a_server_that_offers_tls_and_does_not_insist_gets_it(
    broker_of: BrokerFactory, certificates: Certificates
) -> None:
    server = broker_of(NatsServer, tls=certificates.server, options={"allow_non_tls": True})
    with Proxy(("127.0.0.1", server.port)) as proxy:
        source = nats(addresses=[str(proxy.address)], tlsCa=str(certificates.ca), useTls=True)
        end = await End(source).connect()
        assert proxy.records[0].up.startswith(b"\x16\x03")
        await end.drop()


async def test_files_that_cannot_be_used_are_named(tmp_path: Path, certificates: Certificates) -> None:
    nothing = tmp_path / "no.pem"
    noise = tmp_path / "noise.pem"
    noise.write_text(SECRET)
    client, server = certificates.client, certificates.server
    for fields, said in (
        ({"tlsCa": nothing}, ("tlsCa", str(nothing), "No such file")),
        ({"tlsCa": noise}, ("tlsCa", str(noise))),
        ({"tlsCert": nothing}, ("tlsCert", str(nothing))),
        ({"tlsCert": client.certificate, "tlsKey": server.key}, ("tlsKey", str(server.key))),
        ({"tlsCert": client.certificate}, ("tlsCert", str(client.certificate))),
        ({"tlsCert": client.certificate, "tlsKey": encrypted(client.key)}, ("tlsKey",)),
    ):
        source = nats(useTls=True, **{name: str(path) for name, path in fields.items()})
        await failure(source, Fault.CONFIG, *said)


def encrypted(key: Path) -> Path:
    from cryptography.hazmat.primitives import serialization as form

    loaded = form.load_pem_private_key(key.read_bytes(), None)
    path = key.with_name("encrypted.key")
    cipher = form.BestAvailableEncryption(SECRET.encode())
    path.write_bytes(loaded.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, cipher))
    return path


# -- the address -----------------------------------------------------------------------------------


async def test_an_address_where_nobody_listens_or_that_has_no_name_is_tried_again() -> None:
    at = f"127.0.0.1:{free_port()}"
    await failure(nats(addresses=[at]), Fault.UNREACHABLE, at, "addresses")
    await failure(
        nats(addresses=["no-such-host.invalid:4222"]), Fault.UNREACHABLE, "no-such-host", "addresses"
    )
    for host in "no..host", "h" * 64:
        await failure(
            nats(addresses=[host]), Fault.UNREACHABLE, f"{host}: that cannot be a name", "addresses"
        )


async def test_a_server_that_is_full_says_so(broker_of: BrokerFactory) -> None:
    server = broker_of(NatsServer, options={"max_connections": 1})
    async with Bus.open(server.url) as bus:
        await bus.ready(SECONDS)  # when the fixture's own connection is gone
        # It says so and hangs up. What we write meanwhile may break the pipe before its words are read; each
        # attempt has the same fault, and one of a few has the words.
        async with asyncio.timeout(4 * SECONDS):
            while True:
                end = End(nats(addresses=[server.address]), timeout=SECONDS)
                error = await end.fails()
                assert end.backend.classify(error) is Fault.UNREACHABLE, repr(error)
                if "maximum connections exceeded" in str(error):
                    break


async def test_a_server_that_takes_no_heartbeat_is_refused(broker_of: BrokerFactory) -> None:
    """It would end each link with the first one, without end."""
    server = broker_of(NatsServer, options={"max_payload": LEAST - 1})
    await failure(nats(addresses=[server.address]), Fault.CONFIG, "max_payload is 511", "512", "addresses")
    server.config["max_payload"] = LEAST
    await asyncio.to_thread(server.restart)
    end = await End(nats(addresses=[server.address])).connect()
    await end.drop()


@asynccontextmanager
async def stranger(greeting: bytes, *, hangs_up: bool = False) -> AsyncGenerator[str, None]:
    """The address of a server of something else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        if not hangs_up:
            while await reader.read(1 << 16):
                pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"INFO none\r\n",
        b"INFO []\r\n",
        b"INFO \xff\xfe\r\n",
        b"x" * 100_000,
        b"INFO {" + b" " * 100_000,
    ],
    ids=lambda greeting: greeting[:10].decode(errors="replace"),
)
async def test_what_is_no_nats_server_is_called_so(greeting: bytes) -> None:
    async with stranger(greeting) as at:
        await failure(nats(addresses=[at]), Fault.UNREACHABLE, at, "no NATS server", "the port in addresses")


async def test_a_server_that_hangs_up_at_once_is_tried_again() -> None:
    async with stranger(b"", hangs_up=True) as at:
        await failure(nats(addresses=[at]), Fault.UNREACHABLE, at, "addresses")


@pytest.mark.parametrize("kind", ["silent", "HTTP", "TLS"])
async def test_a_server_that_waits_for_us_to_speak_is_given_up_in_time(kind: str) -> None:
    """An HTTP or TLS server says nothing before the client does."""
    async with stranger(b"") as at:
        fields = {"useTls": True} if kind == "TLS" else {}
        await failure(nats(addresses=[at], **fields), Fault.TIMEOUT, at, "addresses", timeout=0.5)


async def test_one_address_that_may_come_back_keeps_the_others_from_being_fatal(
    broker_of: BrokerFactory,
) -> None:
    server = broker_of(NatsServer, auth="password")
    dead = f"127.0.0.1:{free_port()}"
    login = {"authUsername": "bus", "authSecret": value(SECRET)}
    source = nats(addresses=[server.address, dead], **login)
    await failure(source, Fault.UNREACHABLE, "authSecret", dead)
    await failure(nats(addresses=[server.address] * 2, **login), Fault.AUTH, "authSecret")


async def test_what_can_pass_is_tried_again_and_told_in_the_status(broker_of: BrokerFactory) -> None:
    at = f"127.0.0.1:{free_port()}"
    async with Bus.open(nats(addresses=[at])) as bus:
        with pytest.raises(TimeoutError, match=at):
            await bus.ready(0.5)
        assert bus.status().state in ("BACKOFF", "CONNECTING")


# -- rotated credentials ---------------------------------------------------------------------------


async def test_a_rotated_password_is_read_again_on_the_next_connect(
    broker_of: BrokerFactory, tmp_path: Path
) -> None:
    server = broker_of(NatsServer, auth="password")
    file = tmp_path / "password"
    file.write_text(SECRET)
    secret = {"@type": "File", "filePath": str(file)}
    end = End(nats(addresses=[server.address], authUsername=server.user, authSecret=secret))
    assert isinstance(await end.fails(), AuthError)
    file.write_text(server.password + "\n")
    await end.connect()
    await end.drop()


async def test_no_secret_is_logged_on_the_way(
    broker_of: BrokerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = broker_of(NatsServer, auth="password")
    with caplog.at_level(logging.DEBUG):
        await refused(f"nats://bus:{SECRET}@127.0.0.1:{server.port}")
        async with Bus.open(server.url) as bus:
            await bus.ready(SECONDS)
    assert "FATAL" in caplog.text
    for secret in (SECRET, server.password):
        assert secret not in caplog.text
