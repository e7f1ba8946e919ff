"""What each field of the variant Kafka does, on a real broker; `docs/fields.md` is made from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest

from bus import AuthError, Bus, ConfigError, TlsError
from bus.testing.brokers import free_port
from bus.testing.conformance import Harness
from bus.testing.conformance.station import Station, channel, numbered, until
from bus.testing.proxy import Toxics
from tests.backends.kafka_secured import Secured, secret, secured_of, token
from tests.fields.effects import effect

SOON = 5.0


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    yield from secured_of(tmp_path_factory)


async def ready(fields: dict[str, object]) -> None:
    """Raises ConfigError when it never will be."""
    async with Bus.open(fields, node="one") as bus:
        await bus.ready(timeout=SOON)


async def refused(fields: dict[str, object], kind: type[ConfigError], text: str) -> None:
    with pytest.raises(kind, match=text):
        await ready(fields)


@effect("Kafka", "brokers", "one of them that answers is enough, in any order; it leads to the others")
async def test_one_broker_that_answers_is_enough(secured: Secured) -> None:
    dead = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    for place in range(4):
        brokers = [*dead[:place], secured.server.address("PLAINTEXT"), *dead[place:]]
        await ready(secured.fields("PLAINTEXT", brokers=brokers))
    async with Bus.open(secured.fields("PLAINTEXT", brokers=dead), node="one") as bus:
        with pytest.raises(TimeoutError):
            await bus.ready(timeout=0.5)


@effect("Kafka", "groupId", "the name of each client in the broker's logs and quotas begins with it")
async def test_client_names_begin_with_the_group(secured: Secured) -> None:
    before = len(secured.proxy.records)
    fields = secured.fields("PROXIED", brokers=[secured.proxy.address], groupId="mail-cluster")
    async with Bus.open(fields, node="node-7") as bus:
        await bus.ready(timeout=SOON)
        connections = secured.proxy.records[before:]
        assert len(connections) == 2  # to read, and to send
        for record in connections:
            assert b"mail-cluster-node-7" in bytes(record.up)


@asynccontextmanager
async def station(secured: Secured, **changes: object) -> AsyncGenerator[Station, None]:
    fields = secured.fields("PROXIED") | {"brokers": [secured.proxy.address]} | changes
    made = Station(Harness(coordinator=lambda: fields), channel())
    try:
        await made.connect()
        await made.send(numbered(1))
        await until(lambda: made.heard and made.recorder.confirmed, SOON, "it did not come back")
        yield made
    finally:
        secured.proxy.heal()
        await made.drop()


@effect(
    "Kafka", "timeoutMessage", "a frame that is not acknowledged for so long ends the link, for a new one"
)
async def test_frame_that_is_not_acknowledged_ends_the_link(secured: Secured) -> None:
    for seconds in (0.4, 1.2):
        async with station(secured, timeoutMessage=int(seconds * 1000), timeoutSession=60_000) as one:
            secured.proxy.down = Toxics(hold=True)
            await asyncio.sleep(0.2)
            assert one.end is None
            started = time.monotonic()
            await one.link.send(numbered(2))
            error = await one.ended(SOON)
            assert isinstance(error, TimeoutError)
            assert f"did not acknowledge within {seconds:g} s (timeoutMessage)" in str(error)
            assert seconds <= time.monotonic() - started < seconds + 3.0


@effect("Kafka", "timeoutSession", "a broker that says nothing for so long ends the link, for a new one")
async def test_broker_that_says_nothing_ends_the_link(secured: Secured) -> None:
    for seconds in (0.4, 1.2):
        async with station(secured, timeoutSession=int(seconds * 1000), timeoutMessage=60_000) as one:
            await asyncio.sleep(2 * seconds)
            assert one.end is None, "a quiet topic is no silent broker"
            started = time.monotonic()
            secured.proxy.down = Toxics(hold=True)
            error = await one.ended(SOON)
            assert isinstance(error, TimeoutError)
            assert f"is silent for {seconds:g} s (timeoutSession)" in str(error)
            assert seconds / 2 <= time.monotonic() - started < seconds + 3.0


@effect(
    "Kafka",
    "securityProtocol",
    "with or without TLS and login; the wrong one is refused before any secret leaves",
)
async def test_security_protocol_says_how_to_speak(secured: Secured) -> None:
    for listener, mechanism in (
        ("PLAINTEXT", None),
        ("SSL", None),
        ("SASL_PLAINTEXT", "PLAIN"),
        ("SASL_SSL", "PLAIN"),
    ):
        await ready(secured.fields(listener, mechanism))
    before = len(secured.proxy.records)
    fields = secured.fields("SASL_SSL", "PLAIN", brokers=[secured.proxy.address])
    await refused(fields, TlsError, "securityProtocol.*speaks plain text")
    sent = b"".join(bytes(record.up) for record in secured.proxy.records[before:])
    assert sent and b"bus-secret" not in sent


@pytest.mark.loops
@effect(
    "Kafka", "saslMechanism", "the way of logging in; one that the listener does not have is refused by name"
)
async def test_mechanism_is_the_way_of_logging_in(secured: Secured) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        await ready(secured.fields("SASL_SSL", mechanism))
    await ready(secured.fields("SASL_SSL", "OAUTHBEARER", authSecret=secret(token())))
    fields = secured.fields("SASL_PLAIN_ONLY", "SCRAM-SHA-256")
    await refused(fields, ConfigError, "saslMechanism.*takes no SCRAM-SHA-256, only PLAIN")


@effect("Kafka", "authUsername", "who logs in; another one with the same password is refused")
async def test_user_name_is_who_logs_in(secured: Secured) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-512"):
        await ready(secured.fields("SASL_PLAINTEXT", mechanism))
        fields = secured.fields("SASL_PLAINTEXT", mechanism, authUsername="guest")
        await refused(fields, AuthError, "login of 'guest'")


@effect("Kafka", "authSecret", "the password, or the token; read again for each connection")
async def test_secret_is_read_again_for_each_connection(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_variable = {"@type": "EnvironmentVariable", "variableName": "BUS_TEST_SECRET"}
    fields = secured.fields("SASL_PLAINTEXT", "SCRAM-SHA-256", authSecret=from_variable)
    made = Station(Harness(coordinator=lambda: fields), channel())
    monkeypatch.setenv("BUS_TEST_SECRET", "wrong")
    with pytest.raises(AuthError, match="authSecret"):
        await made.connect()
    monkeypatch.setenv("BUS_TEST_SECRET", "bus-secret")
    await made.connect()
    await made.drop()


@effect("Kafka", "tlsCa", "only a broker whose certificate it has signed is believed")
async def test_authority_decides_who_is_believed(secured: Secured) -> None:
    await ready(secured.fields("SSL"))
    other = str(secured.certificates.other_ca)
    await refused(secured.fields("SSL", tlsCa=other), TlsError, "tlsCa")
    await refused(secured.fields("SSL", tlsCa=None), TlsError, "tlsCa")


@effect("Kafka", "tlsCert", "our certificate, for a listener that demands one")
@effect("Kafka", "tlsKey", "its key")
async def test_certificate_and_key_are_shown_to_a_listener_that_demands_them(secured: Secured) -> None:
    mine = secured.certificates.client
    shown = {"tlsCert": str(mine.certificate), "tlsKey": str(mine.key)}
    await ready(secured.fields("SSL_DEMANDS", **shown))
    await ready(secured.fields("SSL_DEMANDS", tlsCert=str(mine.both)))
    await refused(secured.fields("SSL_DEMANDS"), TlsError, "tlsCert")
    wrong = shown | {"tlsKey": str(secured.certificates.server.key)}
    await refused(secured.fields("SSL_DEMANDS", **wrong), TlsError, "tlsCert, tlsKey")


@effect(
    "Kafka",
    "tlsHostname",
    "the name to expect in the certificates of all brokers, in place of their addresses",
)
async def test_host_name_is_what_the_certificate_must_say(secured: Secured) -> None:
    await ready(secured.fields("SSL_OTHER", tlsHostname="other.test"))
    await refused(secured.fields("SSL_OTHER"), TlsError, "tlsHostname")
    await refused(secured.fields("SSL", tlsHostname="other.test"), TlsError, "tlsHostname")
