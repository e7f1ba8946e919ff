"""The raw side where there is a server: its usual client library, used the obvious way, all defaults.

nats-py     `await publish` for each event, which buffers; a subscription with a callback
redis-py    a pipeline of `publish` for each burst, `await publish` for paced events, which waits for the
            reply; `async for` over `pubsub.listen()`
aiokafka    `await send` for each event, which batches; `async for` over a consumer without a group

One connection for each end; none tells what it has dropped. Where all processes publish, each has a
channel of its own and hears the others': nobody gets his own events back.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bus.bench.load import Ends
from bus.bench.raw import Receiver, sending

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager


class Channels:
    """What one process sends on, and what it hears."""

    def __init__(self, side: str, role: str, index: int, nodes: int) -> None:
        # Sides that take turns at one server must not hear each other.
        everybody = [f"bench.{side}.{number}" for number in range(nodes)]
        self.sends: str | None
        self.sends = None if role == "subscriber" else everybody[index] if role == "node" else everybody[0]
        self.hears: list[str] = []
        if role == "subscriber":
            self.hears = everybody[:1]
        elif role == "node":
            self.hears = [name for name in everybody if name != self.sends]


def open_client(backend: str, channels: Channels, url: str) -> AbstractAsyncContextManager[Ends]:
    """One end of the raw client of a system that has a server, or both."""
    return _CLIENTS[backend](channels, url)


@asynccontextmanager
async def _reading(read: Coroutine[object, object, None]) -> AsyncGenerator[None]:
    """`read` runs as a task meanwhile."""
    task = asyncio.create_task(read)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def _open_nats(channels: Channels, url: str) -> AsyncGenerator[Ends]:
    client = await _library("nats").connect(url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        ends = Ends()
        if channels.hears:
            receiver = ends.subscriber = Receiver()

            async def take(message: Any) -> None:
                receiver.take(message.data)
                if receiver.pause:
                    await receiver.rest()

            for channel in channels.hears:
                await client.subscribe(channel, cb=take)
            await client.flush()
        if channels.sends:
            ends.publisher = await stack.enter_async_context(sending(partial(client.publish, channels.sends)))
        yield ends


@asynccontextmanager
async def _open_redis(channels: Channels, url: str) -> AsyncGenerator[Ends]:
    client = _library("redis.asyncio").from_url(url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        ends = Ends()
        if channels.hears:
            pubsub = await stack.enter_async_context(client.pubsub())
            ends.subscriber = await stack.enter_async_context(_hearing_redis(pubsub, channels.hears))
        if (channel := channels.sends) is not None:

            async def send_burst(payloads: list[bytes]) -> None:
                async with client.pipeline(transaction=False) as pipeline:
                    for payload in payloads:
                        pipeline.publish(channel, payload)
                    await pipeline.execute()

            send = partial(client.publish, channel)
            ends.publisher = await stack.enter_async_context(sending(send, send_burst))
        yield ends


@asynccontextmanager
async def _hearing_redis(pubsub: Any, names: Sequence[str]) -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    missing = len(names)
    subscribed = asyncio.Event()

    async def read() -> None:
        nonlocal missing
        async for message in pubsub.listen():
            if message["type"] == "message":
                receiver.take(message["data"])
                if receiver.pause:
                    await receiver.rest()
            elif not (missing := missing - 1):
                subscribed.set()

    await pubsub.subscribe(*names)
    async with _reading(read()):
        await subscribed.wait()
        yield receiver


@asynccontextmanager
async def _open_kafka(channels: Channels, url: str) -> AsyncGenerator[Ends]:
    aiokafka = _library("aiokafka")
    broker = urlsplit(url).netloc
    await _make_topics(broker, [name for name in (channels.sends, *channels.hears) if name])
    async with AsyncExitStack() as stack:
        ends = Ends()
        if channels.hears:
            consumer = aiokafka.AIOKafkaConsumer(*channels.hears, bootstrap_servers=broker, group_id=None)
            stack.push_async_callback(consumer.stop)
            await consumer.start()
            receiver = ends.subscriber = Receiver()

            async def read() -> None:
                async for record in consumer:
                    receiver.take(record.value)
                    if receiver.pause:
                        await receiver.rest()

            for partition in consumer.assignment():
                await consumer.position(partition)
            await stack.enter_async_context(_reading(read()))
        if channels.sends:
            producer = aiokafka.AIOKafkaProducer(bootstrap_servers=broker)
            stack.push_async_callback(producer.stop)
            await producer.start()
            send = partial(producer.send, channels.sends)
            ends.publisher = await stack.enter_async_context(sending(send))
        yield ends


async def _make_topics(broker: str, names: Sequence[str]) -> None:
    admin = _library("aiokafka.admin")
    client = admin.AIOKafkaAdminClient(bootstrap_servers=broker)
    try:
        await client.start()
        # Another process may be first: an answer for the topic, not an exception.
        await client.create_topics([admin.NewTopic(name, 1, 1) for name in names])
    finally:
        await client.close()


def _library(name: str) -> Any:
    """A client library; imported when it is used, and without types."""
    return import_module(name)


_CLIENTS: dict[str, Callable[[Channels, str], AbstractAsyncContextManager[Ends]]] = {
    "nats": _open_nats, "redis": _open_redis, "valkey": _open_redis, "kafka": _open_kafka,
}  # fmt: skip
