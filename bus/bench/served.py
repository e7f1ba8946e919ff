"""The other side where there is a server: its usual client library, used the obvious way, all defaults.

nats-py     `await publish` for each event, which buffers; a subscription with a callback
redis-py    a pipeline of `publish` for each burst, `await publish` for paced events, which waits for the
            reply; `async for` over `pubsub.listen()`
aiokafka    `await send` for each event, which batches; `async for` over a consumer without a group

All use one connection for each end, and none tells what it has dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from bus.bench.load import BURST, KEYS, KIND, CacheInvalidated, Ends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from contextlib import AbstractAsyncContextManager

    from bus.bench.load import Delivery, Tally

CHANNEL = "bench.raw"


Send = Callable[[bytes], Awaitable[object]]
SendBurst = Callable[[list[bytes]], Awaitable[object]]


class Sender:
    """Sends each event by itself; a burst by `send_burst`, where the library has something for it."""

    def __init__(self, send: Send, send_burst: SendBurst | None = None) -> None:
        self._send = send
        self._send_burst = send_burst or self._one_by_one
        self._encode = msgspec.msgpack.Encoder().encode
        self._paced: asyncio.Queue[CacheInvalidated] = asyncio.Queue()
        # Paced events come from a timer's callback, which cannot wait.
        self._pump = asyncio.create_task(self._send_paced())

    async def bulk(self, count: int) -> None:
        """A burst in each turn of the loop."""
        send, encode = self._send_burst, self._encode
        for first in range(0, count, BURST):
            numbers = range(first, min(first + BURST, count))
            await send([encode(CacheInvalidated(account, KIND, KEYS)) for account in numbers])
            await asyncio.sleep(0)

    async def _one_by_one(self, payloads: list[bytes]) -> None:
        send = self._send
        for payload in payloads:
            await send(payload)

    def publish(self, event: CacheInvalidated) -> None:
        """One event, for the task that sends."""
        self._paced.put_nowait(event)

    async def close(self) -> None:
        """End the task."""
        self._pump.cancel()
        with suppress(asyncio.CancelledError):
            await self._pump

    async def _send_paced(self) -> None:
        while True:
            await self._send(self._encode(await self._paced.get()))


class Receiver:
    """Takes each event by itself."""

    # What is dropped nobody tells: when it stays silent for so long, the rest is lost.
    patience = 2.0

    def __init__(self) -> None:
        self._decode = msgspec.msgpack.Decoder(CacheInvalidated).decode
        self._tally: Tally | None = None
        self._is_timed = False
        self._over = asyncio.Event()

    def listen(self, tally: Tally, delivery: Delivery) -> Coroutine[object, object, None]:
        """Count from now on."""
        self._tally, self._is_timed = tally, delivery == "delay"
        self._over.clear()
        return self._wait()

    def take(self, payload: bytes) -> None:
        """One event has come."""
        tally = self._tally
        if tally is None:
            return
        account = self._decode(payload).account
        if self._is_timed:
            tally.delays.append(time.perf_counter_ns() - account)
        tally.add(1, account)
        if tally.is_complete:
            self._over.set()

    async def _wait(self) -> None:
        await self._over.wait()


def open_client(backend: str, role: str, url: str) -> AbstractAsyncContextManager[Ends]:
    """One end of the raw client of a system that has a server."""
    return _CLIENTS[backend](role, url)


@asynccontextmanager
async def _sending(send: Send, send_burst: SendBurst | None = None) -> AsyncGenerator[Ends]:
    sender = Sender(send, send_burst)
    try:
        yield Ends(publisher=sender)
    finally:
        await sender.close()


@asynccontextmanager
async def _reading(receiver: Receiver, read: Coroutine[object, object, None]) -> AsyncGenerator[Ends]:
    """`read` runs as a task beside the subscriber."""
    task = asyncio.create_task(read)
    try:
        yield Ends(subscriber=receiver)
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def _open_nats(role: str, url: str) -> AsyncGenerator[Ends]:
    client = await _library("nats").connect(url)
    try:
        if role == "publisher":
            async with _sending(partial(client.publish, CHANNEL)) as ends:
                yield ends
        else:
            receiver = Receiver()

            async def take(message: Any) -> None:
                receiver.take(message.data)

            await client.subscribe(CHANNEL, cb=take)
            await client.flush()
            yield Ends(subscriber=receiver)
    finally:
        await client.close()


@asynccontextmanager
async def _open_redis(role: str, url: str) -> AsyncGenerator[Ends]:
    client = _library("redis.asyncio").from_url(url)

    async def send_burst(payloads: list[bytes]) -> None:
        async with client.pipeline(transaction=False) as pipeline:
            for payload in payloads:
                pipeline.publish(CHANNEL, payload)
            await pipeline.execute()

    try:
        if role == "publisher":
            async with _sending(partial(client.publish, CHANNEL), send_burst) as ends:
                yield ends
        else:
            receiver = Receiver()
            subscribed = asyncio.Event()
            async with client.pubsub() as pubsub:

                async def read() -> None:
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            receiver.take(message["data"])
                        else:
                            subscribed.set()

                await pubsub.subscribe(CHANNEL)
                async with _reading(receiver, read()) as ends:
                    await subscribed.wait()
                    yield ends
    finally:
        await client.aclose()


@asynccontextmanager
async def _open_kafka(role: str, url: str) -> AsyncGenerator[Ends]:
    aiokafka = _library("aiokafka")
    broker = urlsplit(url).netloc
    await _make_topic(broker)
    if role == "publisher":
        client = aiokafka.AIOKafkaProducer(bootstrap_servers=broker)
    else:
        client = aiokafka.AIOKafkaConsumer(CHANNEL, bootstrap_servers=broker, group_id=None)
    try:
        await client.start()
        if role == "publisher":
            async with _sending(partial(client.send, CHANNEL)) as ends:
                yield ends
        else:
            receiver = Receiver()

            async def read() -> None:
                async for record in client:
                    receiver.take(record.value)

            for partition in client.assignment():
                await client.position(partition)
            async with _reading(receiver, read()) as ends:
                yield ends
    finally:
        await client.stop()


async def _make_topic(broker: str) -> None:
    admin = _library("aiokafka.admin")
    client = admin.AIOKafkaAdminClient(bootstrap_servers=broker)
    try:
        await client.start()
        # The other end may be first: an answer for the topic, not an exception.
        await client.create_topics([admin.NewTopic(CHANNEL, 1, 1)])
    finally:
        await client.close()


def _library(name: str) -> Any:
    """A client library; imported when it is used, and without types."""
    return import_module(name)


_CLIENTS = {"nats": _open_nats, "redis": _open_redis, "kafka": _open_kafka}
