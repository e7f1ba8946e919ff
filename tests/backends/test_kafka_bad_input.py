"""Whatever an operator gets wrong about Kafka has its own error, soon, which names the field to change.

What only an operator can mend is fatal before the first READY (rule 17); what may pass is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from bus import AuthError, Bus, ConfigError, TlsError
from bus.testing.brokers import free_port
from bus.testing.brokers.kafka import USERS
from tests.backends.kafka_admin import Admin, Operation
from tests.backends.kafka_secured import Secured, secret, secured_of, token
from tests.backends.nats_kit import assert_without_frames_of_a_login

# The deadline of a connect.
SOON = 5.0


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    yield from secured_of(tmp_path_factory)


Fields = Callable[[Secured], dict[str, object]]


def of(listener: str, mechanism: str | None = None, **changes: object) -> Fields:
    return lambda secured: secured.fields(listener, mechanism, **changes)


WRONG = secret("wrong-password")
FATAL: dict[str, tuple[Fields, type[ConfigError], str]] = {
    "wrong password, PLAIN": (of("SASL_PLAINTEXT", "PLAIN", authSecret=WRONG), AuthError, "authSecret"),
    "wrong password, SCRAM-SHA-256": (
        of("SASL_PLAINTEXT", "SCRAM-SHA-256", authSecret=WRONG),
        AuthError,
        "login of 'bus'.*authSecret",
    ),
    "wrong password, SCRAM-SHA-512": (
        of("SASL_SSL", "SCRAM-SHA-512", authSecret=WRONG),
        AuthError,
        "authUsername and authSecret",
    ),
    "unknown user": (
        of("SASL_PLAINTEXT", "SCRAM-SHA-256", authUsername="nobody"),
        AuthError,
        "login of 'nobody'.*authUsername",
    ),
    "wrong token": (
        of("SASL_PLAINTEXT", "OAUTHBEARER", authSecret=secret("abc.def.ghi")),
        AuthError,
        "token in authSecret: .*invalid_token",
    ),
    "expired token": (
        of("SASL_PLAINTEXT", "OAUTHBEARER", authSecret=secret(token(-60))),
        AuthError,
        "token in authSecret: .*invalid_token",
    ),
    "malformed token": (
        of("SASL_PLAINTEXT", "OAUTHBEARER", authSecret=secret("two words")),
        ConfigError,
        "authSecret.*no bearer token",
    ),
    "malformed password": (
        of("SASL_PLAINTEXT", "PLAIN", authSecret=secret("a\0b")),
        ConfigError,
        "authSecret.*null character",
    ),
    "no such secret": (
        of("SASL_SSL", "PLAIN", authSecret={"@type": "EnvironmentVariable", "variableName": "BUS_NO_SUCH"}),
        ConfigError,
        "BUS_NO_SUCH",
    ),
    "login where none is wanted": (
        of("PLAINTEXT", "PLAIN", securityProtocol="SASL_PLAINTEXT", authSecret=secret("x")),
        ConfigError,
        "securityProtocol.*wants no login",
    ),
    "no login where one is wanted": (
        of("SASL_PLAINTEXT"),
        AuthError,
        "securityProtocol.*wants a login: use SASL_PLAINTEXT.*saslMechanism.*SCRAM-SHA-512",
    ),
    "no login where one is wanted, TLS": (of("SASL_SSL"), AuthError, "securityProtocol.*SASL_SSL"),
    "wrong CA": (
        lambda secured: secured.fields("SSL", tlsCa=str(secured.certificates.other_ca)),
        TlsError,
        "tlsCa.*issuer",
    ),
    "CA of the system": (of("SSL", tlsCa=None), TlsError, "tlsCa.*issuer"),
    "no CA file": (of("SSL", tlsCa="/no/such/ca.pem"), TlsError, "tlsCa: /no/such/ca.pem: No such file"),
    "CA file without a CA": (
        lambda secured: secured.fields("SSL", tlsCa=str(secured.certificates.client.key)),
        TlsError,
        "tlsCa: .*client.key",
    ),
    "wrong host name": (of("SSL_OTHER"), TlsError, "tlsHostname.*not valid for '127.0.0.1'"),
    "expired certificate": (of("SSL_EXPIRED"), TlsError, "certificate has expired"),
    "no certificate of ours": (of("SSL_DEMANDS"), TlsError, "tlsCert.*refused our side"),
    "foreign certificate of ours": (
        lambda secured: secured.fields(
            "SSL_DEMANDS",
            tlsCert=str(secured.certificates.foreign.certificate),
            tlsKey=str(secured.certificates.foreign.key),
        ),
        TlsError,
        "tlsCert.*refused our side",
    ),
    "no key file": (
        lambda secured: secured.fields("SSL_DEMANDS", tlsCert=str(secured.certificates.client.certificate)),
        TlsError,
        "tlsCert, tlsKey",
    ),
    "TLS wanted, plain text offered": (
        lambda secured: secured.fields("SSL", brokers=[secured.server.address("PLAINTEXT")]),
        TlsError,
        "securityProtocol.*speaks plain text.*use PLAINTEXT",
    ),
    "TLS and login wanted, plain text offered": (
        lambda secured: secured.fields(
            "SASL_SSL", "PLAIN", brokers=[secured.server.address("SASL_PLAINTEXT")]
        ),
        TlsError,
        "securityProtocol.*speaks plain text.*use SASL_PLAINTEXT",
    ),
    "plain text wanted, TLS offered": (
        lambda secured: secured.fields("PLAINTEXT", brokers=[secured.server.address("SSL")]),
        TlsError,
        "securityProtocol.*wants TLS.*use SSL",
    ),
    "login in plain text wanted, TLS offered": (
        lambda secured: secured.fields(
            "SASL_PLAINTEXT", "PLAIN", brokers=[secured.server.address("SASL_SSL")]
        ),
        TlsError,
        "securityProtocol.*wants TLS.*use SASL_SSL",
    ),
}


@pytest.mark.loops
@pytest.mark.parametrize("case", FATAL)
async def test_what_only_an_operator_can_mend_is_fatal(secured: Secured, case: str) -> None:
    fields, kind, text = FATAL[case]
    started = time.monotonic()
    async with Bus.open(fields(secured), node="one") as bus:
        with pytest.raises(kind, match=text) as caught:
            await bus.ready(timeout=SOON)
        assert type(caught.value) is kind
        assert_without_frames_of_a_login(caught.value)
        assert bus.status().state == "FATAL"
    assert time.monotonic() - started < SOON
    for known in (*USERS.values(), "wrong-password"):
        assert known not in str(caught.value)


@asynccontextmanager
async def serving(answer: bytes, *, closes: bool = False) -> AsyncGenerator[str, None]:
    """Something that is no Kafka; gives its address."""
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read(1)
        writer.write(answer)
        if closes:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def test_http_server_is_no_broker() -> None:
    async with serving(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        plain = {"@type": "Kafka", "brokers": [address], "groupId": "bus"}
        async with Bus.open(plain) as bus:
            with pytest.raises(ConfigError, match=f"brokers: {address} does not speak.*HTTP"):
                await bus.ready(timeout=SOON)
        async with Bus.open(plain | {"securityProtocol": "SSL"}) as bus:
            with pytest.raises(TlsError, match=f"securityProtocol: {address} does not speak TLS.*brokers"):
                await bus.ready(timeout=SOON)


async def tried_again(fields: dict[str, object], text: str, seconds: float = SOON) -> None:
    """Raises AssertionError unless the link says so, and goes on trying."""
    async with Bus.open(fields, node="one") as bus:
        async with asyncio.timeout(seconds):
            while (error := bus.status().links[0].error) is None:
                await asyncio.sleep(0.005)
        assert text in error, error
        assert "brokers: " in error
        assert bus.status().state in ("BACKOFF", "CONNECTING")
        with pytest.raises(TimeoutError):
            await bus.ready(timeout=0.05)


@pytest.mark.loops
async def test_closed_port_is_tried_again(secured: Secured) -> None:
    address = f"127.0.0.1:{free_port()}"
    await tried_again(secured.fields("PLAINTEXT", brokers=[address]), f"{address} refused the connection")
    await tried_again(secured.fields("SSL", brokers=[address]), f"{address} refused the connection")


async def test_unknown_host_is_tried_again(secured: Secured) -> None:
    fields = secured.fields("PLAINTEXT", brokers=["no-such-broker.invalid:9092"])
    await tried_again(fields, "the name no-such-broker.invalid is not known")
    for host in "no..broker", "b" * 64:
        fields = secured.fields("PLAINTEXT", brokers=[f"{host}:9092"])
        await tried_again(fields, f"brokers: {host} cannot be a name")


async def test_silent_server_is_tried_again() -> None:
    async with serving(b"") as address:
        fields: dict[str, object] = {"@type": "Kafka", "brokers": [address], "groupId": "bus"}
        await tried_again(fields, f"{address} did not answer within", seconds=2 * SOON)


async def test_garbage_is_tried_again() -> None:
    """It may be a reply that was damaged on its way."""
    for answer in (b"-ERR unknown command\r\n", b"\0\0\0\1x", b"\0\0\0\10\0\0\0\1\0\0\0\1", b"\xff" * 100):
        async with serving(answer) as address:
            fields: dict[str, object] = {"@type": "Kafka", "brokers": [address], "groupId": "bus"}
            await tried_again(fields, f"{address} does not speak the protocol of Kafka")


async def test_server_that_hangs_up_is_tried_again() -> None:
    async with serving(b"", closes=True) as address:
        fields: dict[str, object] = {"@type": "Kafka", "brokers": [address], "groupId": "bus"}
        await tried_again(fields, "closed the connection")
        await tried_again(fields | {"securityProtocol": "SSL"}, "brokers: ")


@pytest.mark.parametrize(
    ("listener", "text"),
    [("LOST", "refused the connection"), ("NAMELESS", "no-such-broker.invalid is not known")],
)
async def test_unreachable_advertised_listener_is_named(secured: Secured, listener: str, text: str) -> None:
    fields = secured.fields(listener)
    await tried_again(fields, "advertised.listeners")
    await tried_again(fields, text)


async def test_all_brokers_are_named_when_none_answers(secured: Secured) -> None:
    ports = [free_port() for _ in range(3)]
    fields = secured.fields("PLAINTEXT", brokers=[f"127.0.0.1:{port}" for port in ports])
    for port in ports:
        await tried_again(fields, f"127.0.0.1:{port} refused")


async def test_one_broker_with_a_bad_certificate_among_dead_ones_is_tried_again(secured: Secured) -> None:
    """The dead ones may come back, and be good."""
    dead = f"127.0.0.1:{free_port()}"
    fields = secured.fields("SSL_OTHER", brokers=[dead, secured.server.address("SSL_OTHER")])
    await tried_again(fields, "tlsHostname")


@pytest.mark.parametrize(
    ("allowed", "text"),
    [
        ((), "the user 'guest' .authUsername. may not describe"),
        (("Describe", "Write"), "the user 'guest' .authUsername. may not read"),
        (("Describe", "Read"), "the user 'guest' .authUsername. may not write"),
    ],
)
async def test_missing_permission_is_fatal_and_names_the_topic(
    secured: Secured, allowed: tuple[Operation, ...], text: str
) -> None:
    cluster = f"denied-{len(allowed)}-{text[-4:]}"
    admin = Admin(secured.server.port)
    await admin.create(f"bus.{cluster}")
    await admin.allow("guest", f"bus.{cluster}", *allowed)
    async with Bus.open(guest(secured), node="one", cluster=cluster) as bus:
        with pytest.raises(AuthError, match=f"{text} the topic bus.{cluster}: kafka-acls.sh"):
            await bus.ready(timeout=SOON)
        assert bus.status().state == "FATAL"


async def test_missing_topic_that_we_may_not_make_is_fatal_and_names_the_command(secured: Secured) -> None:
    admin = Admin(secured.server.port)
    await admin.allow("guest", "bus.missing", "Describe", "Read", "Write")
    async with Bus.open(guest(secured), node="one", cluster="missing") as bus:
        command = (
            "kafka-topics.sh --create .* --topic bus.missing .* --config message.timestamp.type=LogAppendTime"
        )
        with pytest.raises(AuthError, match=f"bus.missing is missing, and we may not make it.*{command}"):
            await bus.ready(timeout=SOON)
    await admin.create("bus.missing")
    async with Bus.open(guest(secured), node="one", cluster="missing") as bus:
        await bus.ready(timeout=SOON)


async def test_compacted_topic_is_fatal(secured: Secured) -> None:
    await Admin(secured.server.port).create("bus.compacted", cleanup_policy="compact")
    async with Bus.open(secured.fields("PLAINTEXT"), cluster="compacted") as bus:
        with pytest.raises(ConfigError, match=r"could not write the topic bus\.compacted.*cleanup"):
            await bus.ready(timeout=SOON)


def guest(secured: Secured) -> dict[str, object]:
    return secured.server.coordinator("SASL_PLAINTEXT", "PLAIN", user="guest")
