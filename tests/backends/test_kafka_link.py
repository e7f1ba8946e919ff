"""What a Kafka link makes of a topic: its stamps, its partitions, its damage, its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from bus import opening, progress
from bus.cli.findings import examine
from bus.cli.observer import Observer
from bus.errors import ConfigError, Fault, LinkError
from bus.isolation import current_loop
from bus.testing.brokers import Broker
from bus.testing.brokers.kafka import KafkaServer
from bus.testing.conformance import Harness
from bus.testing.conformance.station import Recorder, Station, channel, numbered, numbers, until
from bus_kafka.reader import FETCH, TRIES, Reader
from bus_kafka.topic import SETTINGS
from bus_kafka.wire import Address, Request, Wire
from tests.backends.kafka_admin import Admin

SOON = 5.0
GZIP, ZSTD = 1, 4


@pytest.fixture
def server(kafka_server: Broker) -> KafkaServer:
    if not isinstance(kafka_server, KafkaServer):
        pytest.skip("needs the files and the permissions of a Kafka of our own")
    return kafka_server


@pytest.fixture
def admin(server: KafkaServer) -> Admin:
    return Admin(server.port)


@asynccontextmanager
async def station(server: KafkaServer, topic: str) -> AsyncGenerator[Station, None]:
    made = Station(Harness(coordinator=lambda: server.url), topic)
    try:
        await made.connect()
        yield made
        made.check()
    finally:
        await made.drop()


def hears(one: Station, *frames: bytes) -> Callable[[], bool]:
    return lambda: all(frame in one.heard for frame in frames)


async def test_topic_is_made_with_our_settings(server: KafkaServer, admin: Admin) -> None:
    topic = channel()
    async with station(server, topic):
        found = await admin.describe(topic)
        assert {name: found[name] for name in SETTINGS} == SETTINGS
        assert list((await admin.layout(topic)).leaders) == [0]


async def test_stamps_are_the_time_of_the_broker(server: KafkaServer) -> None:
    async with station(server, channel()) as one:
        await one.send(numbered(1))
        await until(hears(one, numbered(1)), SOON, "it did not come back")
        (stamp,) = one.recorder.stamps
        assert abs(stamp - time.time()) < SOON


async def test_topic_with_the_time_of_senders_gives_no_stamps(server: KafkaServer, admin: Admin) -> None:
    """Rule 14 is off there: a sender's clock proves nothing."""
    topic = channel()
    await admin.create(topic, message_timestamp_type="CreateTime")
    async with station(server, topic) as one:
        await one.send(numbered(1))
        await until(hears(one, numbered(1)), SOON, "it did not come back")
        assert one.recorder.stamps == []


@pytest.mark.parametrize("kind", ["CreateTime", "LogAppendTime"])
async def test_the_doctor_notices_a_topic_with_the_time_of_senders(
    kind: str, server: KafkaServer, admin: Admin
) -> None:
    topic = channel()
    await admin.create(topic, message_timestamp_type=kind)
    node = Observer(topic.removeprefix("bus."), "spy")
    connection = opening.prepare(node, opening.coordinator_of(server.url, None))
    assert connection is not None
    node.start(current_loop())
    try:
        node.add(connection)
        await progress.ready(node, SOON * 2, 0)
        assert examine(node).is_timeless is (kind == "CreateTime")
    finally:
        await node.close(0.5)


@pytest.mark.loops
async def test_every_partition_is_heard_and_sends_go_to_the_first(server: KafkaServer, admin: Admin) -> None:
    topic = channel()
    await admin.create(topic, partitions=3)
    async with station(server, topic) as one:
        for partition in range(3):
            await admin.append(topic, numbered(partition), partition=partition)
        await until(hears(one, *map(numbered, range(3))), SOON, lambda: f"only {numbers(one.heard)}")
        await one.send(*map(numbered, range(3, 9)))
        await until(hears(one, *map(numbered, range(3, 9))), SOON, lambda: f"only {numbers(one.heard)}")
        assert [await admin.end(topic, partition) for partition in range(3)] == [7, 1, 1]


async def test_more_partitions_end_the_link_and_the_next_one_hears_them(
    server: KafkaServer, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus_kafka.link.LOOK", 0.1)
    topic = channel()
    async with station(server, topic) as one:
        await admin.grow(topic, 2)
        error = await one.ended(SOON)
        assert isinstance(error, LinkError)
        assert f"the partitions of {topic} have changed" in str(error)
    async with station(server, topic) as one:
        await admin.append(topic, numbered(1), partition=1)
        await until(hears(one, numbered(1)), SOON, "the new partition is not heard")


async def test_records_of_one_batch_come_in_order(server: KafkaServer, admin: Admin) -> None:
    topic = channel()
    async with station(server, topic) as one:
        await admin.append(topic, *map(numbered, range(5)))
        await admin.append(topic, numbered(5), numbered(6), codec=GZIP)
        await until(hears(one, numbered(6)), SOON, lambda: f"only {numbers(one.heard)}")
        assert numbers(one.heard) == list(range(7))


async def test_what_stands_before_the_position_in_its_batch_is_old(server: KafkaServer, admin: Admin) -> None:
    topic = channel()
    await admin.create(topic)
    await admin.append(topic, *map(numbered, range(5)))
    async with reading(server, topic, {0: 3}) as (_, recorder):
        await until(lambda: len(recorder.frames) == 2, SOON, lambda: f"{recorder.frames}")
        assert numbers(recorder.frames) == [3, 4]


async def test_damaged_record_is_left_out_after_three_tries(
    server: KafkaServer, admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    topic = channel()
    await admin.create(topic)
    for number in range(3):
        await admin.append(topic, numbered(number))
    damage(server.data / f"{topic}-0", numbered(1))
    with caplog.at_level(logging.WARNING):
        async with reading(server, topic, {0: 0}) as (reader, recorder):
            await until(lambda: len(recorder.frames) == 2, SOON, lambda: f"{recorder.frames}")
            assert numbers(recorder.frames) == [0, 2]
            assert reader.positions == {0: 3}
    assert [line.getMessage() for line in caplog.records] == [
        f"Kafka: record 1 of partition 0 of {topic} cannot be read (checksum) and is left out"
    ]


async def test_unknown_compression_is_told_and_not_skipped(server: KafkaServer, admin: Admin) -> None:
    topic = channel()
    await admin.create(topic, compression_type="zstd")
    async with station(server, topic) as one:
        await admin.append(topic, numbered(1))
        error = await one.ended(SOON)
        assert isinstance(error, ConfigError)
        assert "compression.type to producer" in str(error)


async def test_position_beyond_the_end_ends_the_link(server: KafkaServer, admin: Admin) -> None:
    """As after a topic was deleted and made again (T15)."""
    topic = channel()
    await admin.create(topic)
    async with reading(server, topic, {0: 1000}) as (reader, _):
        await asyncio.wait({reader.wire.over}, timeout=SOON)
        assert "OffsetOutOfRange" in str(reader.wire.error)


async def test_deleted_topic_ends_the_link(server: KafkaServer, admin: Admin) -> None:
    topic = channel()
    async with station(server, topic) as one:
        await admin.delete(topic)
        error = await one.ended(SOON)
        assert isinstance(error, LinkError)
        assert one.backend.classify(error) is Fault.UNREACHABLE


async def test_frame_over_the_limit_of_the_topic_ends_the_link(server: KafkaServer, admin: Admin) -> None:
    """The core then halves its frames, and skips an event that never fits (rule 16)."""
    topic = channel()
    await admin.create(topic, max_message_bytes="10000")
    async with station(server, topic) as one:
        await one.send(numbered(1, 9_000))
        await one.link.send(numbered(2, 20_000))
        error = await one.ended(SOON)
        assert isinstance(error, LinkError)
        assert "max.message.bytes" in str(error)
        with pytest.raises(LinkError):
            await one.link.send(numbered(3))


@asynccontextmanager
async def reading(
    server: KafkaServer, topic: str, positions: dict[int, int]
) -> AsyncGenerator[tuple[Reader, Recorder], None]:
    """A reader that starts at these positions."""
    recorder = Recorder("reader", topic, SOON)
    wire = Wire(Address("127.0.0.1", server.port), "reader")
    await wire.open(None)
    try:
        reader = Reader(wire, positions, recorder.context, None, SOON)
        reader.start()
        yield reader, recorder
    finally:
        wire.abort()


def damage(folder: Path, frame: bytes) -> None:
    """Change one byte of a frame on the disk of the broker."""
    log = next(folder.glob("*.log"))
    with log.open("r+b") as file:
        file.seek(file.read().index(frame) + len(frame) - 1)
        file.write(b"!")


class Quiet(Wire):
    """Keeps what it is asked for the test to answer."""

    def post(self, request: Request, take: Callable[[object], object]) -> None:
        self.take = take

    def answer(self, end: int, data: bytes = b"") -> None:
        row: tuple[object, ...] = (0, 0, end, end, [], data)
        self.take(SimpleNamespace(topics=[("topic", [row])]))


@pytest.mark.parametrize("end", [20, 3])
async def test_reader_that_stands_still_is_noticed(end: int) -> None:
    """Its log goes on and nothing comes, or ends before it, and the broker says nothing (T14, T15)."""
    recorder = Recorder("reader", "topic", SOON)
    wire = Quiet(Address("127.0.0.1", 1), "reader")
    reader = Reader(wire, {0: 10}, recorder.context, None, patience=0.2)
    reader.start()
    wire.answer(10)
    wire.answer(end)
    await asyncio.sleep(0.25)
    wire.answer(10)
    wire.answer(end)
    await asyncio.sleep(0.25)
    with pytest.raises(LinkError, match=f"stands still at 10; its log ends at {end}"):
        wire.answer(end)


async def test_batch_that_is_cut_off_is_left_out_after_three_tries() -> None:
    recorder = Recorder("reader", "topic", SOON)
    wire = Quiet(Address("127.0.0.1", 1), "reader")
    reader = Reader(wire, {0: 10}, recorder.context, None, patience=SOON)
    reader.start()
    for _ in range(TRIES):
        assert reader.positions == {0: 10}
        wire.answer(20, b"\0" * 30)
    assert reader.positions == {0: 11}


async def test_over_a_slow_link_less_is_fetched_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the echo of our heartbeat waits behind a long reply, and a broker that sends seems silent."""
    now = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    wire = Quiet(Address("127.0.0.1", 1), "reader")
    reader = Reader(wire, {0: 10}, Recorder("reader", "topic", SOON).context, None, patience=SOON)
    reader.start()
    sizes: list[int] = []
    for took, size in (
        (0.1, 10),
        (2, 300_000),
        (2, 150_000),
        (2, 1),
        (0.1, 9_000),
        (0.1, 9_000),
        (0.5, 32_000),
    ):
        now += took
        wire.answer(10, bytes(size))
        sizes.append(reader.size)
    assert sizes == [FETCH, 150_000, 75_000, 16_384, 32_768, 32_768, 32_768]
    for _ in range(8):
        wire.answer(10, bytes(sizes[-1]))
        sizes.append(reader.size)
    assert sizes[-1] == FETCH
