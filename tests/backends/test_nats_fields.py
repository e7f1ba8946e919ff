"""What each field of the variant Nats does, seen at a real server, or at a scripted one that says when."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bus import Bus, ConfigError, Overflow
from bus.errors import AuthError, TlsError
from bus.testing.brokers.broker import Broker
from bus.testing.brokers.certificates import Certificates
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.nats import NatsServer
from bus.testing.brokers.process import free_port
from bus.testing.conformance.station import channel
from tests.backends.nats_kit import SECONDS, End, Note, ends, eventually, nats, script
from tests.fields.effects import effect

VALUE = {"@type": "Value"}
TEXT = {"@type": "Text"}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("nats-certificates"))


async def connects(source: object) -> None:
    await (await End(source).connect()).drop()


async def is_refused(source: object, kind: type[Exception]) -> None:
    assert type(await End(source).fails()) is kind


# -- where, and how often --------------------------------------------------------------------------


@effect("Nats", "addresses", "the servers are tried in this order; after a loss from the one behind the last")
async def test_addresses_are_tried_in_their_order_and_after_a_loss_in_turn() -> None:
    async with script({}) as first, script({}) as second:
        dead = f"127.0.0.1:{free_port()}"
        end = End(nats(addresses=[dead, first.url, second.url]))
        for server in (first, second, first, second):
            first.received.clear()
            second.received.clear()
            await end.connect()
            assert server.received
            assert not (second if server is first else first).received
            server.hang_up()
            await end.ended()
        await end.drop()


@effect("Nats", "addresses", "tls:// in one of them demands TLS from all")
async def test_an_address_with_tls_demands_it_from_all() -> None:
    async with script({}) as plain:
        await is_refused(nats(addresses=[plain.url, f"tls://127.0.0.1:{plain.port}"]), TlsError)
        assert not plain.received


@effect(
    "Nats", "maxReconnects", "so many reconnects in a row may fail, then the bus gives up; 0: none is made"
)
@pytest.mark.parametrize("most", [0, 2])
async def test_so_many_reconnects_are_made_and_no_more(most: int) -> None:
    async with script({}) as server:
        async with Bus.open(f"{server.url}?maxReconnects={most}", cluster=channel()[4:]) as bus:
            await bus.ready(SECONDS)
            server.refuses = True
            server.hang_up()
            await eventually(lambda: bus.status().state == "FATAL", 10)
            with pytest.raises(ConfigError, match=f"maxReconnects is {most}"):
                await bus.ready()
        assert server.connections == 1 + most


# -- times -----------------------------------------------------------------------------------------


@effect("Nats", "timeoutConnection", "an attempt to connect ends after this time")
async def test_an_attempt_to_connect_ends_after_its_time() -> None:
    async with script() as silent:
        started = time.monotonic()
        error = await End(nats(addresses=[silent.url], timeoutConnection=300), timeout=60).fails()
        assert 0.3 <= time.monotonic() - started < 2
        assert isinstance(error, TimeoutError)
        assert "timeoutConnection" in str(error)


@effect("Nats", "timeoutRequest", "a link ends when the server has not answered a PING for this time")
async def test_a_link_ends_when_an_answer_is_late() -> None:
    async with script({}) as server, ends(f"{server.url}?timeoutRequest=300", server.url) as both:
        strict, patient = both
        server.answers = False
        started = time.monotonic()
        await strict.link.send(b"x")
        await patient.link.send(b"x")
        error = await strict.ended()
        assert 0.3 <= time.monotonic() - started < 2
        assert isinstance(error, TimeoutError)
        assert "timeoutRequest" in str(error)
        assert not patient.is_over


@effect(
    "Nats",
    "pingInterval",
    "a quiet connection is pinged at this interval, at most 2 s: the bus wants a proof",
)
async def test_a_quiet_connection_is_pinged_at_the_interval() -> None:
    async with script({}) as server:
        async with ends(f"{server.url}?pingInterval=100"):
            before = server.received.count(b"PING")
            await asyncio.sleep(1.0)
            assert 5 <= server.received.count(b"PING") - before <= 11
        async with ends(server.url):
            before = server.received.count(b"PING")
            await asyncio.sleep(1.0)
            assert server.received.count(b"PING") == before
            await eventually(lambda: server.received.count(b"PING") > before, 3)


# -- capacities ------------------------------------------------------------------------------------


@effect("Nats", "capacityClient", "so many frames may be unanswered by the server; the next one waits")
@pytest.mark.parametrize("capacity", [1, 5])
async def test_only_so_many_frames_are_under_way(capacity: int) -> None:
    async with script({}) as server, ends(f"{server.url}?capacityClient={capacity}") as (end,):
        server.answers = False
        for _ in range(capacity):
            await end.link.send(b"frame")
        late = asyncio.create_task(end.link.send(b"late"))
        await eventually(lambda: server.received.count(b"frame") == capacity)
        await asyncio.sleep(0.1)
        assert not late.done()
        assert b"late" not in server.received
        server.say(b"PONG\r\n")
        await late


async def most_in_one_go(capacity: int, size: int, count: int) -> int:
    """How many of the messages that wait in the socket are delivered in one turn of the loop."""
    turn = 0
    turns: list[int] = []
    async with script({}) as server:
        url = f"{server.url}?capacityReadBuffer={capacity}"
        end = await End(url, deliver=lambda frame: turns.append(turn)).connect()
        server.say(b"MSG x 1 %d\r\n%b\r\n" % (size, bytes(size)) * count)
        while len(turns) < count:
            await asyncio.sleep(0)
            turn += 1
        await end.drop()
    return max(turns.count(number) for number in set(turns))


@effect("Nats", "capacityReadBuffer", "so many bytes are read in one go, before other tasks have their turn")
async def test_so_much_is_read_before_others_have_their_turn() -> None:
    assert await most_in_one_go(10_000, size=1_000, count=200) <= 10
    assert 20 <= await most_in_one_go(100_000, size=1_000, count=200) <= 100


@effect(
    "Nats", "capacitySubscription", "so many events wait for a subscriber; what is dropped is told exactly"
)
async def test_only_so_many_events_wait_for_a_subscriber(nats_server: Broker) -> None:
    cluster = channel()[4:]
    async with (
        Bus.open(nats_server.url, cluster=cluster, events=(Note,)) as sender,
        Bus.open(f"{nats_server.url}?capacitySubscription=10", cluster=cluster) as receiver,
        receiver.subscribe(Note) as inbox,
    ):
        await receiver.ready(SECONDS, peers=1)
        await sender.ready(SECONDS, peers=1)
        for number in range(100):
            sender.publish(Note(number))
        confirmed = await sender.confirm(100, SECONDS)
        assert len(confirmed.heard) == 1
        batch = await inbox.batch()
        assert batch[0] == Overflow(90)
        assert batch[1:] == [Note(number) for number in range(90, 100)]


# -- echo ------------------------------------------------------------------------------------------


@effect(
    "Nats", "noEcho", "true: the server does not send our own frames back; false: it does, as proof of life"
)
async def test_own_frames_come_back_only_when_asked_for(nats_server: Broker) -> None:
    quiet, loud = f"{nats_server.url}?noEcho=true", f"{nats_server.url}?noEcho=false"
    async with ends(quiet, loud) as (one, other):
        await one.link.send(b"of one")
        await other.link.send(b"of other")
        await eventually(lambda: len(other.heard) == 2)
        # Two connections: which frame the server takes first is its own affair.
        assert sorted(other.heard) == [b"of one", b"of other"]
        assert one.heard == [b"of other"]
    async with Bus.open(loud, cluster=channel()[4:], events=(Note,)) as bus, bus.subscribe(Note) as inbox:
        await bus.ready(SECONDS)
        bus.publish(Note(1))
        await bus.flush(SECONDS)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(inbox)


# -- who we are ------------------------------------------------------------------------------------


@effect("Nats", "authUsername", "the user that logs in with authSecret")
@effect("Nats", "authSecret", "the password of authUsername")
async def test_user_and_password_are_what_the_server_wants(broker_of: BrokerFactory) -> None:
    server = broker_of(NatsServer, auth="password")
    at, secret = {"addresses": [server.address]}, {**VALUE, "secret": server.password}
    await connects(nats(**at, authUsername=server.user, authSecret=secret))
    await is_refused(nats(**at, authUsername="other", authSecret=secret), AuthError)
    await is_refused(nats(**at, authUsername=server.user, authSecret={**VALUE, "secret": "x"}), AuthError)


@effect("Nats", "credentials", "a token, the seed of an NKey, or the text of a .creds file logs in")
@pytest.mark.parametrize("kind", ["token", "nkey", "jwt"])
async def test_credentials_of_each_kind_log_in(broker_of: BrokerFactory, kind: str) -> None:
    if kind == "token":
        server = broker_of(NatsServer, auth="token")
    elif kind == "nkey":
        server = broker_of(NatsServer, auth="nkey")
    else:
        server = broker_of(NatsServer, auth="jwt")
    secret = server.credentials or (server.nkey.seed if server.nkey else server.token)
    await connects(nats(addresses=[server.address], credentials={**TEXT, "secret": secret}))
    await is_refused(nats(addresses=[server.address]), AuthError)


# -- TLS -------------------------------------------------------------------------------------------


@effect("Nats", "useTls", "a server without TLS is refused before anything is sent")
async def test_tls_is_demanded(broker_of: BrokerFactory, certificates: Certificates) -> None:
    async with script({}) as plain:
        await is_refused(nats(addresses=[plain.url], useTls=True), TlsError)
        assert not plain.received
        await connects(nats(addresses=[plain.url]))
    server = broker_of(NatsServer, tls=certificates.server)
    at = f"127.0.0.1:{server.port}"
    await connects(nats(addresses=[at], useTls=True, tlsCa=str(certificates.ca)))


@effect("Nats", "tlsCa", "only a server whose certificate this authority signed is trusted")
async def test_only_the_given_authority_is_trusted(
    broker_of: BrokerFactory, certificates: Certificates
) -> None:
    server = broker_of(NatsServer, tls=certificates.server)
    await connects(nats(addresses=[server.address], tlsCa=str(certificates.ca)))
    await is_refused(nats(addresses=[server.address], tlsCa=str(certificates.other_ca)), TlsError)


@effect("Nats", "tlsCert", "the certificate that is shown to a server that wants one")
@effect("Nats", "tlsKey", "the key of tlsCert; null: it is in the file of tlsCert")
async def test_our_certificate_is_shown(broker_of: BrokerFactory, certificates: Certificates) -> None:
    server = broker_of(NatsServer, tls=certificates.server, verify=True)
    at = {"addresses": [server.address], "tlsCa": str(certificates.ca)}
    client = certificates.client
    await connects(nats(**at, tlsCert=str(client.certificate), tlsKey=str(client.key)))
    await connects(nats(**at, tlsCert=str(client.both)))
    await is_refused(nats(**at), TlsError)
    wrong: Path = certificates.server.key
    await is_refused(nats(**at, tlsCert=str(client.certificate), tlsKey=str(wrong)), ConfigError)


@effect("Nats", "tlsHostname", "the name that the server's certificate must have, in place of the host's")
async def test_the_certificate_must_have_the_given_name(
    broker_of: BrokerFactory, certificates: Certificates
) -> None:
    server = broker_of(NatsServer, tls=certificates.wrong_host)
    at = {"addresses": [server.address], "tlsCa": str(certificates.ca)}
    await is_refused(nats(**at), TlsError)
    await connects(nats(**at, tlsHostname="other.test"))
    await is_refused(nats(**at, tlsHostname="else.test"), TlsError)
