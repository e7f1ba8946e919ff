"""One link: a reader for each broker that leads partitions of our topic, and a connection to send on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bus.errors import LinkError
from bus_kafka.topic import PARTITION, Layout, layout_of, layout_request, refusal
from bus_kafka.wire import Reply, Wire, codecs

if TYPE_CHECKING:
    from bus.backend import Context
    from bus_kafka.reader import Reader

# Seconds between two looks at the layout of the topic.
LOOK = 5.0
# Behind by so much, the event loop has been standing still: the silence was ours.
STALLED = 0.5
_OVERHEAD = 1024


class KafkaLink:
    """Positioned; `run` begins to read. Frames and confirms come in the callbacks of the connections."""

    def __init__(
        self, context: Context, user: str | None, layout: Layout, readers: Sequence[Reader], sender: Wire,
        patience: float,
    ) -> None:  # fmt: skip
        self._context = context
        self._user = user
        self._layout = layout
        self._readers = readers
        self._sender = sender
        self._patience = patience
        self._wires = [*(reader.wire for reader in readers), sender]
        self._unanswered = 0
        self._is_answered = asyncio.Event()

    async def run(self) -> None:
        """Fetch, and watch the clocks, until a connection has ended or a broker is silent for too long."""
        now = asyncio.get_running_loop().time
        for reader in self._readers:
            reader.start()
        look_at = now() + LOOK
        step = min(self._patience, *(reader.patience for reader in self._readers), 1.0) / 4
        over = [wire.over for wire in self._wires]
        while True:
            before = now()
            await asyncio.wait(over, timeout=step, return_when=asyncio.FIRST_COMPLETED)
            for wire in self._wires:
                if wire.error is not None:
                    raise wire.error
            if now() - before < step + STALLED:
                self._judge()
            if now() >= look_at:
                look_at = now() + LOOK
                self._sender.post(layout_request(self._context.channel), self._compare)

    async def send(self, frame: bytes) -> None:
        """Append one frame as one record; the leader answers when it has it."""
        batch = codecs().record.default_records.DefaultRecordBatchBuilder(
            2, 0, 0, -1, -1, -1, len(frame) + _OVERHEAD
        )
        batch.append(0, int(time.time() * 1000), None, frame, [])
        topics = [(self._context.channel, [(PARTITION, bytes(batch.build()))])]
        milliseconds = int(self._patience * 1000)
        request = codecs().protocol.produce.ProduceRequest(None, 1, milliseconds, topics)
        self._sender.post(request, self._acknowledged)
        self._unanswered += 1

    async def close(self) -> None:
        """Leave when the broker has what was sent."""
        while self._unanswered and self._sender.error is None:
            self._is_answered.clear()
            await self._is_answered.wait()
        self.abort()

    def abort(self) -> None:
        """Drop the sockets."""
        for wire in self._wires:
            wire.abort()

    def _judge(self) -> None:
        for reader in self._readers:
            if reader.wire.silence() > reader.patience:
                text = f"{reader.wire.address} is silent for {reader.patience:g} s (timeoutSession)"
                raise TimeoutError(text)
        if self._sender.silence() > self._patience:
            text = f"{self._sender.address} did not acknowledge within {self._patience:g} s (timeoutMessage)"
            raise TimeoutError(text)

    def _acknowledged(self, reply: Reply) -> None:
        self._unanswered -= 1
        self._is_answered.set()
        if code := reply.topics[0][1][0][1]:
            raise refusal(code, "write", self._context.channel, self._user)
        self._context.confirmed()

    def _compare(self, reply: Reply) -> None:
        """More partitions, or other leaders: a new link hears them, and the core repairs the rest (T25)."""
        found = layout_of(reply)
        if found.code == 0 and found.leaders != self._layout.leaders:
            raise LinkError(f"the partitions of {self._context.channel} have changed: {dict(found.leaders)}")
