"""FastStream and broadcaster, as in their READMEs; run in an environment of their own (`peer_environment`).

faststream    a broker with a subscriber for `bytes`; `await broker.publish` for each event
broadcaster   `await broadcast.publish` for each event; `async for` over `broadcast.subscribe`

Where a publish waits for the server (all but NATS), up to 50 of a burst are gathered: one by one they would
measure the round trip. Neither tells what it has dropped.
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
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from bus.bench.clients import Channels

# With more at a time broadcaster runs out of connections.
GATHERED = 50
SETTLE = 0.1
MEMORY_CHANNEL = "bench.broadcaster.0"


def open_peer(side: str, backend: str, channels: Channels, url: str) -> AbstractAsyncContextManager[Ends]:
    """The ends of one peer in this process."""
    return {"faststream": _open_faststream, "broadcaster": _open_broadcaster}[side](backend, channels, url)


@asynccontextmanager
async def _open_faststream(backend: str, channels: Channels, url: str) -> AsyncGenerator[Ends]:
    kind = "redis" if backend == "valkey" else backend
    module: Any = import_module(f"faststream.{kind}")
    broker = getattr(module, f"{kind.capitalize()}Broker")(
        urlsplit(url).netloc if kind == "kafka" else url, logger=None
    )
    ends = Ends()
    async with AsyncExitStack() as stack:
        if channels.hears:
            receiver = ends.subscriber = Receiver()

            async def handle(body: bytes) -> None:
                receiver.take(body)

            broker.subscriber(channels.hears[0])(handle)
        await broker.start()
        stack.push_async_callback(broker.stop)
        if channels.sends:
            send = _to(broker.publish, channels.sends)
            burst = None if kind == "nats" else partial(_gathered, send)
            ends.publisher = await stack.enter_async_context(sending(send, burst))
        yield ends


@asynccontextmanager
async def _open_broadcaster(backend: str, channels: Channels, url: str) -> AsyncGenerator[Ends]:
    module: Any = import_module("broadcaster")
    is_memory = backend == "memory"
    broadcast = module.Broadcast("memory://" if is_memory else url)
    ends = Ends()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(broadcast)
        hears = MEMORY_CHANNEL if is_memory else (channels.hears or [""])[0]
        if hears:
            receiver = ends.subscriber = Receiver()
            subscriber = await stack.enter_async_context(broadcast.subscribe(hears))
            if not is_memory:
                # With current redis-py its listener leaves before the first SUBSCRIBE is done, for ever.
                await asyncio.sleep(SETTLE)
                broadcast._backend._ready.set()

            async def read() -> None:
                async for event in subscriber:
                    # Its messages are text: the bytes of ours, one character each.
                    receiver.take(event.message.encode("latin-1"))

            task = asyncio.create_task(read())
            stack.callback(task.cancel)
        if is_memory or channels.sends:
            sends = MEMORY_CHANNEL if is_memory else channels.sends

            async def send(payload: bytes) -> None:
                await broadcast.publish(sends, payload.decode("latin-1"))

            ends.publisher = await stack.enter_async_context(
                sending(send, None if is_memory else partial(_gathered, send))
            )
        yield ends


def _to(
    publish: Callable[[bytes, str], Awaitable[object]], channel: str
) -> Callable[[bytes], Awaitable[object]]:
    return lambda payload: publish(payload, channel)


async def _gathered(send: Callable[[bytes], Awaitable[object]], payloads: list[bytes]) -> None:
    for first in range(0, len(payloads), GATHERED):
        await asyncio.gather(*map(send, payloads[first : first + GATHERED]))
