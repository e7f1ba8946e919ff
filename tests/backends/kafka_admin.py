"""What an operator does to a Kafka of the tests, and what a stranger sends to it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from bus_kafka.topic import Layout, ends, layout_of, layout_request
from bus_kafka.wire import Address, Wire, codecs

MILLISECONDS = 10_000
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8}
_TOPIC, _LITERAL, _ALLOW = 2, 3, 3
Operation = Literal["Read", "Write", "Create", "Describe"]


class Admin:
    """A new connection for each call, to who leads where that matters. Raises AssertionError if refused."""

    def __init__(self, port: int) -> None:
        self._address = Address("127.0.0.1", port)
        self._requests = codecs().protocol.admin

    async def create(self, topic: str, partitions: int = 1, **settings: str) -> None:
        """A topic; `max_message_bytes="1000"` is its setting max.message.bytes."""
        named = [(name.replace("_", "."), value) for name, value in settings.items()]
        wanted: tuple[object, ...] = (topic, partitions, -1, [], named)
        reply = await self._ask(self._requests.CreateTopicsRequest([wanted], MILLISECONDS, False))
        _check(reply.topic_errors)
        for partition in range(partitions):
            await self.end(topic, partition)

    async def delete(self, topic: str) -> None:
        """Away with it."""
        reply = await self._ask(self._requests.DeleteTopicsRequest([topic], MILLISECONDS))
        _check(reply.topic_error_codes)

    async def grow(self, topic: str, count: int) -> None:
        """Give it more partitions."""
        request = self._requests.CreatePartitionsRequest([(topic, (count, None))], MILLISECONDS, False)
        _check((await self._ask(request)).topic_errors)
        await self.end(topic, count - 1)

    async def allow(self, user: str, topic: str, *operations: Operation) -> None:
        """Let a user do something with a topic."""
        for operation in operations:
            who = (f"User:{user}", "*", _OPERATIONS[operation], _ALLOW)
            reply = await self._ask(self._requests.CreateAclsRequest(_TOPIC, topic, _LITERAL, *who))
            assert reply.creation_responses[0][0] == 0, reply

    async def append(self, topic: str, *values: bytes, partition: int = 0, codec: int = 0) -> int:
        """One batch of records; gives the offset of the first."""
        batch = codecs().record.default_records.DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
        for number, value in enumerate(values):
            batch.append(number, int(time.time() * 1000), None, value, [])
        topics = [(topic, [(partition, bytes(batch.build()))])]
        request = codecs().protocol.produce.ProduceRequest(None, 1, MILLISECONDS, topics)
        reply = await self._ask(request, await self._leader(topic, partition))
        _, code, offset, *_ = reply.topics[0][1][0]
        assert code == 0, reply
        return int(offset)

    async def end(self, topic: str, partition: int = 0) -> int:
        """Where the log ends, as soon as it has a leader."""
        wire = await self._open(await self._leader(topic, partition))
        try:
            return (await ends(wire, topic, [partition], None))[partition]
        finally:
            wire.abort()

    async def layout(self, topic: str) -> Layout:
        """Who leads what."""
        return layout_of(await self._ask(layout_request(topic)))

    async def describe(self, topic: str) -> dict[str, str]:
        """The settings of a topic."""
        reply = await self._ask(self._requests.DescribeConfigsRequest([(_TOPIC, topic, None)]))
        return {setting[0]: setting[1] for setting in reply.resources[0][4]}

    async def _leader(self, topic: str, partition: int) -> Address:
        while partition not in (layout := await self.layout(topic)).leaders:
            await asyncio.sleep(0.02)
        return layout.brokers[layout.leaders[partition]]

    async def _open(self, address: Address) -> Wire:
        wire = Wire(address, "admin")
        await wire.open(None)
        return wire

    async def _ask(self, request: Any, address: Address | None = None) -> Any:
        wire = await self._open(address or self._address)
        try:
            return await wire.ask(request)
        finally:
            wire.abort()


def _check(errors: list[tuple[Any, ...]]) -> None:
    for _, code, *text in errors:
        assert code == 0, (code, text)
