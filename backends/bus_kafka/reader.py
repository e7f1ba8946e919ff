"""Reads the partitions that one broker leads: fetch, deliver, fetch again, in the callback of the reply.

There is no consumer group: with one, the nodes would share the events instead of each hearing all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bus.errors import ConfigError, LinkError
from bus_kafka.topic import refusal
from bus_kafka.wire import Reply, Wire, codecs

if TYPE_CHECKING:
    from bus.backend import Context

# Bytes of one fetch; a single larger record still comes whole.
FETCH = 1 << 20
# Seconds: after a reply that took longer less is fetched at a time, else what is new would wait behind it,
# and the broker seem silent; more again where a full reply comes quickly.
SLOW, QUICK = 1.0, 0.25
SMALLEST_FETCH = 16_384
# Milliseconds that a broker waits for something to come.
LONGEST_WAIT = 500
# So often a record that cannot be read is asked for: it may be the way that damaged it, and not the disk.
TRIES = 3
_LOG_APPEND_TIME = 1


class Reader:
    """Some partitions, each from a position on. `patience`: seconds of silence, or of standing still."""

    def __init__(
        self, wire: Wire, positions: Mapping[int, int], context: Context, user: str | None, patience: float
    ) -> None:
        self.wire = wire
        self.patience = patience
        self.positions: dict[int, int] = dict(positions)
        self._context = context
        self._user = user
        self._wait = max(1, min(LONGEST_WAIT, int(patience * 500)))
        self._now = asyncio.get_running_loop().time
        # When each partition got on, or was at its end.
        self._moved = dict.fromkeys(self.positions, self._now())
        self._tries = dict.fromkeys(self.positions, 0)
        # Bytes of the next fetch.
        self.size: int = FETCH
        self._asked_at = 0.0

    def start(self) -> None:
        """Begin; from then on each reply leads to the next fetch. Raises what ended the wire."""
        self._asked_at = self._now()
        wanted = [(partition, offset, self.size) for partition, offset in self.positions.items()]
        topics = [(self._context.channel, wanted)]
        self.wire.post(codecs().protocol.fetch.FetchRequest(self._wait, 1, self.size, 0, topics), self._take)

    def _take(self, reply: Reply) -> None:
        rows = reply.topics[0][1] if reply.topics else ()
        self._fit(sum(len(data or b"") for *_, data in rows), self._now() - self._asked_at)
        for partition, code, end, *_, data in rows:
            if code:
                raise refusal(code, "read", self._context.channel, self._user)
            if data:
                self._read(partition, data)
            self._watch(partition, end)
        self.start()

    def _fit(self, size: int, took: float) -> None:
        """The way of the replies may be a slow one."""
        if took > SLOW and size:
            self.size = max(SMALLEST_FETCH, min(self.size, size) // 2)
        elif took < QUICK and size * 2 > self.size:
            self.size = min(FETCH, self.size * 2)

    def _read(self, partition: int, data: bytes) -> None:
        errors = codecs().errors
        batches = codecs().record.memory_records.MemoryRecords(data)
        try:
            if not batches.has_next():
                raise ValueError("no whole batch")
            while batches.has_next():
                self._deliver(partition, batches.next_batch())
        except errors.UnsupportedCodecError as error:
            channel = self._context.channel
            text = f"the records of {channel} are compressed, set its compression.type to producer: {error}"
            raise ConfigError(text) from None
        except (errors.KafkaError, ValueError, IndexError, AssertionError, OverflowError) as error:
            self._skip(partition, error)

    def _deliver(self, partition: int, batch: Any) -> None:
        context = self._context
        if not batch.validate_crc():
            raise ValueError("checksum")
        for record in () if batch.is_control_batch else batch:
            # What is before our position in its batch is old; a value of None deletes, elsewhere.
            if record.offset >= self.positions[partition] and record.value is not None:
                if record.timestamp_type == _LOG_APPEND_TIME:
                    context.deliver_stamped(record.value, record.timestamp / 1000)
                else:  # on such a topic rule 14 is off
                    context.deliver(record.value)
                self.positions[partition] = record.offset + 1
        # Behind the batch, also where compaction took its last record.
        self.positions[partition] = max(self.positions[partition], batch.next_offset)
        self._moved[partition] = self._now()
        self._tries[partition] = 0

    def _skip(self, partition: int, error: Exception) -> None:
        """What is left out is a hole in its sender's log: he is asked for it, or it is told as a Gap."""
        self._tries[partition] += 1
        if self._tries[partition] >= TRIES:
            self._context.log.warning(
                "Kafka: record %d of partition %d of %s cannot be read (%s) and is left out",
                self.positions[partition], partition, self._context.channel, error,
            )  # fmt: skip
            self.positions[partition] += 1
            self._tries[partition] = 0

    def _watch(self, partition: int, end: int) -> None:
        """A log that ends before us, or goes on and does not come: a new link has to find its end (T15)."""
        position = self.positions[partition]
        if position == end:
            self._moved[partition] = self._now()
        elif self._now() - self._moved[partition] > self.patience:
            place = f"partition {partition} of {self._context.channel}"
            raise LinkError(f"{place} stands still at {position}; its log ends at {end}")
