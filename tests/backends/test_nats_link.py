"""One NATS link: what it makes of the bytes that come, how it notices the end, what it never does.

Real servers where they can be made to do it; a scripted one for what no healthy server says.
"""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path

import pytest

from bus.errors import AuthError, LinkError
from bus.testing.brokers.broker import Broker
from bus.testing.brokers.certificates import Certificates
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.nats import NatsServer
from bus.testing.conformance.station import channel
from bus.testing.proxy import Proxy, Toxics
from bus_nats.link import LARGEST_MESSAGE, LONGEST_LINE
from tests.backends.nats_kit import End, ends, eventually, script

FRAME = bytes(range(256)) * 5


def message(end: End, body: bytes, head: bytes = b"MSG %b 1 %d\r\n") -> bytes:
    return head % (end.channel.encode(), len(body)) + body + b"\r\n"


# -- the bytes that come ---------------------------------------------------------------------------


@pytest.mark.loops
@pytest.mark.parametrize("size", [1, 7, 64])
async def test_frames_arrive_whole_however_the_network_cuts_them(nats_server: Broker, size: int) -> None:
    port = int(nats_server.url.rpartition(":")[2])
    with Proxy(("127.0.0.1", port)) as proxy:
        async with ends(nats_server.url, f"nats://{proxy.address}") as (sender, receiver):
            proxy.down = Toxics(slice=size)
            frames = [FRAME[:length] for length in (1, 2, 60, 64, 65, 1280)]
            for frame in frames:
                await sender.link.send(frame)
            await eventually(lambda: len(receiver.heard) == len(frames))
            assert receiver.heard == frames
            proxy.down = Toxics()


@pytest.mark.loops
async def test_frames_arrive_through_tls(broker_of: BrokerFactory, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    server = broker_of(NatsServer, tls=certificates.server)
    url = f"{server.url}?tlsCa={certificates.ca}"
    async with ends(url, url) as (sender, receiver):
        frames = [b"%d" % size + bytes(size) for size in (0, 100, 65_535, 1 << 18, 983_040, 7)]
        for frame in frames:
            await sender.link.send(frame)
        await eventually(lambda: len(receiver.heard) == len(frames))
        assert receiver.heard == frames
        await sender.link.close()
        server.kill()
        assert isinstance(await receiver.ended(), LinkError)


@pytest.mark.parametrize("capacity", [1, 100, 65_535, 2**53 - 1])
async def test_no_size_of_the_read_buffer_changes_what_arrives(nats_server: Broker, capacity: int) -> None:
    source = f"{nats_server.url}?capacityReadBuffer={capacity}"
    async with ends(nats_server.url, source) as (sender, receiver):
        frames = [b"%d" % length + b"x" * length for length in (0, 1, 99, 100, 1_000, 65_535, 300_000, 5)]
        for frame in frames:
            await sender.link.send(frame)
        await eventually(lambda: len(receiver.heard) == len(frames))
        assert receiver.heard == frames


async def test_what_comes_in_one_piece_with_the_login_is_not_missed() -> None:
    async with script({}) as server:
        end = End(server.url)
        server.with_first_pong = b"PING\r\n+OK\r\n" + message(end, b"early")
        await end.connect()
        server.say(message(end, b"late"))
        await eventually(lambda: end.heard == [b"early", b"late"])
        await eventually(lambda: b"PONG\r\n" in server.received)
        await end.drop()


async def test_what_the_server_says_or_does_behind_the_login_is_noticed() -> None:
    async with script({}) as server:
        end = End(server.url)
        server.with_first_pong = b"-ERR 'Authorization Violation'\r\n"
        assert isinstance(await end.fails(), AuthError)
        server.with_first_pong = None
        error = await end.fails()
        assert isinstance(error, LinkError)
        assert "closed the connection" in str(error)


async def test_the_beginning_of_a_line_waits_for_its_end() -> None:
    async with script({}) as server:
        end = await End(server.url).connect()
        server.say(b"+OK\r\n" + message(end, b"one") + b"MS")
        await eventually(lambda: end.heard == [b"one"])
        server.say(message(end, b"two")[2:])
        await eventually(lambda: end.heard == [b"one", b"two"])
        await end.drop()


async def test_empty_messages_are_dropped_and_headers_and_replies_do_no_harm() -> None:
    async with script({}) as server:
        end = await End(server.url).connect()
        server.say(message(end, b""))
        server.say(message(end, b"")[:-2])
        await asyncio.sleep(0.05)  # its end comes alone
        server.say(b"\r\n" + message(end, b"one", b"MSG %b 1 reply.to %d\r\n"))
        server.say(message(end, b"NATS/1.0\r\n\r\ntwo", b"HMSG %b 1 12 %d\r\n"))
        await eventually(lambda: len(end.heard) == 2)
        assert end.heard == [b"one", b"NATS/1.0\r\n\r\ntwo"]
        await end.drop()


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"MSG x 1 -5\r\n",
        b"MSG x 1 many\r\n",
        b"MSG \r\n",
        b"MSG x 1 %d\r\n" % (LARGEST_MESSAGE + 1),
        b"INFO {\r\n",
        b"INFO []\r\n",
        b"PONG\r\nPONG\r\nPONG\r\n",
        b"x" * (LONGEST_LINE + 1),
    ],
    ids=lambda text: text[:12].decode(),
)
async def test_what_is_not_the_protocol_ends_the_link(text: bytes) -> None:
    async with script({}) as server:
        end = await End(server.url).connect()
        server.answers = False
        server.say(text)
        error = await end.ended()
        assert isinstance(error, LinkError)
        assert "not the protocol" in str(error)
        with pytest.raises(LinkError, match="not the protocol"):
            await end.link.send(b"x")
        await end.drop()


# -- alive or not ----------------------------------------------------------------------------------


@pytest.mark.loops
async def test_a_server_that_froze_for_a_while_costs_nothing(nats_server: NatsServer) -> None:
    """A PONG that comes late must not make us deaf (T1), and what was sent in between arrives."""
    async with ends(nats_server.url, nats_server.url) as (sender, receiver):
        nats_server.pause()
        await sender.link.send(b"while it is frozen")
        await asyncio.sleep(2.5)  # PINGs of both links are unanswered
        assert sender.recorder.confirmed == 0
        nats_server.resume()
        await sender.link.send(b"after")
        await eventually(lambda: receiver.heard == [b"while it is frozen", b"after"])
        await eventually(lambda: sender.recorder.confirmed == 2)
        assert not sender.is_over
        assert not receiver.is_over


async def test_send_to_a_frozen_server_waits_and_can_be_cancelled(broker_of: BrokerFactory) -> None:
    """T8: nats-py swallows the cancel, and its buffer grows without a bound."""
    server = broker_of(NatsServer)
    async with ends(server.url) as (end,):
        server.pause()
        frame = bytes(1 << 20)
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await end.link.send(frame)
                    sent += 1
        assert 0 < sent < 30
        task = asyncio.create_task(end.link.send(frame))
        await asyncio.sleep(0)
        started = time.monotonic()
        task.cancel()
        await asyncio.wait({task})
        assert time.monotonic() - started < 0.1
        end.link.abort()
        with pytest.raises(LinkError, match="aborted"):
            await end.link.send(frame)
        server.resume()


async def test_who_waits_to_send_is_woken_by_the_end_of_the_link(broker_of: BrokerFactory) -> None:
    server = broker_of(NatsServer)
    async with ends(f"{server.url}?capacityClient=1") as (end,):
        server.pause()
        await end.link.send(b"one")
        task = asyncio.create_task(end.link.send(b"two"))
        await asyncio.sleep(0.05)
        assert not task.done()
        server.kill()
        with pytest.raises(LinkError, match="closed the connection"):
            await asyncio.wait_for(task, 5)


async def test_the_death_of_the_server_ends_the_link_at_once(broker_of: BrokerFactory) -> None:
    server = broker_of(NatsServer)
    async with ends(server.url) as (end,):
        started = time.monotonic()
        server.kill()
        assert isinstance(await end.ended(), LinkError)
        assert time.monotonic() - started < 2


async def test_a_lame_duck_is_left_before_it_ends(broker_of: BrokerFactory) -> None:
    options = {"lame_duck_duration": "60s", "lame_duck_grace_period": "30s"}
    server = broker_of(NatsServer, options=options)
    async with ends(server.url) as (end,):
        server.signal("ldm")
        error = await end.ended()
        assert isinstance(error, LinkError)
        assert "lame duck" in str(error)
        server.kill()  # it would go on for a minute


async def test_a_reader_that_the_server_gives_up_as_too_slow_learns_it(broker_of: BrokerFactory) -> None:
    server = broker_of(
        NatsServer, options={"max_payload": 250_000, "max_pending": 300_000, "write_deadline": "500ms"}
    )
    with Proxy(("127.0.0.1", server.port)) as proxy:
        async with ends(server.url, f"nats://{proxy.address}") as (sender, slow):
            proxy.down = Toxics(hold=True)
            async with asyncio.timeout(15):
                while "Slow Consumer" not in server.logs():
                    await sender.link.send(bytes(250_000))
                    await asyncio.sleep(0.01)
            proxy.down = Toxics()
            assert isinstance(await slow.ended(), LinkError)
            assert not sender.is_over


async def test_an_attempt_that_is_given_up_late_leaves_no_connection() -> None:
    async with script({}) as server:
        server.answers_once = True
        error = await End(f"{server.url}?timeoutConnection=200").fails()
        assert isinstance(error, TimeoutError)
        assert b"SUB" in server.received
        await eventually(lambda: server.open == 0)


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.loops
async def test_close_waits_until_the_server_has_what_was_sent(nats_server: Broker) -> None:
    async with ends(nats_server.url, nats_server.url) as (sender, receiver):
        for number in range(200):
            await sender.link.send(b"%d" % number)
        await sender.link.close()
        assert sender.recorder.confirmed == 200
        with pytest.raises(LinkError):
            await sender.link.send(b"x")
        await eventually(lambda: len(receiver.heard) == 200)


async def test_close_to_a_frozen_server_can_be_cancelled_and_nothing_is_left(
    broker_of: BrokerFactory,
) -> None:
    """T11: whoever waits for a frozen server to say goodbye waits for ever."""
    server = broker_of(NatsServer)
    async with ends(server.url) as (end,):
        server.pause()
        await end.link.send(b"x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await end.link.close()
        end.link.abort()
        assert isinstance(await end.ended(1), LinkError)
        server.resume()


def test_abort_after_the_end_of_the_loop_raises_nothing(nats_server: Broker) -> None:
    made: list[End] = []

    async def live() -> None:
        end = End(nats_server.url, on=channel())
        end.link = await end.backend.connect()
        made.append(end)

    asyncio.run(live())
    made[0].link.abort()
    made[0].link.abort()
    with pytest.warns(ResourceWarning):
        made.clear()
        gc.collect()


async def test_a_link_that_is_forgotten_by_all_but_the_loop_lives_on(nats_server: Broker) -> None:
    """What nats-py made closes the transport when it is collected: the link must hold it."""
    async with ends(nats_server.url, nats_server.url) as (sender, receiver):
        gc.collect()
        await sender.link.send(b"x")
        await eventually(lambda: receiver.heard == [b"x"])
