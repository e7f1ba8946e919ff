"""Partition 0 of a topic of Kafka over a raw socket: Kafka's own wire, which kafka_node.py needs, too.

ListOffsets 1, Fetch 4, Produce 3 and batches of version 2 are the oldest that Kafka 4 speaks. It takes the
broker that it is given for the leader, and batches for uncompressed.
"""

import socket
import struct
import time
from collections.abc import Iterator

PRODUCE, FETCH, LIST_OFFSETS, LATEST, MOST = 0, 1, 2, -1, 1 << 20


class Log:
    def __init__(self, host: str, port: str, topic: str) -> None:
        self._link = socket.create_connection((host, int(port)))
        self._stream = self._link.makefile("rb")
        self._place = struct.pack(f">ih{len(topic)}sii", 1, len(topic), topic.encode(), 1, 0)
        reply = self._ask(LIST_OFFSETS, 1, struct.pack(">i", -1), struct.pack(">q", LATEST))
        self._next: int = struct.unpack(">q", reply[-8:])[0]

    def append(self, value: bytes) -> None:
        now, record = int(time.time() * 1000), b"\0\0\0\1" + varint(len(value)) + value + b"\0"
        body = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + varint(len(record)) + record
        batch = struct.pack(">qiibI", 0, 9 + len(body), -1, 2, crc32c(body)) + body
        self._ask(PRODUCE, 3, struct.pack(">hhi", -1, 1, 5000), struct.pack(">i", len(batch)) + batch)

    def read(self) -> Iterator[bytes]:
        """The values that are appended from now on; an empty one when none came for 0.2 s."""
        while True:
            where = struct.pack(">qi", self._next, MOST)
            reply = self._ask(FETCH, 4, struct.pack(">iiiib", -1, 200, 1, MOST, 0), where)
            # Behind the error, two offsets, the list of aborted transactions (there are none), the length.
            batches = reply[4 + len(self._place) + 2 + 16 + 4 + 4 :]
            yield b""
            while len(batches) >= 61 and len(batches) >= 12 + struct.unpack_from(">i", batches, 8)[0]:
                size = 12 + struct.unpack_from(">i", batches, 8)[0]
                for number, value in records(batches[:size]):
                    if number >= self._next:
                        self._next = number + 1
                        yield value
                batches = batches[size:]

    def _ask(self, api: int, version: int, before: bytes, behind: bytes) -> bytes:
        body = struct.pack(">hhih", api, version, 0, -1) + before + self._place + behind
        self._link.sendall(struct.pack(">i", len(body)) + body)
        return self._stream.read(int.from_bytes(self._stream.read(4), "big"))[4:]


def records(batch: bytes) -> Iterator[tuple[int, bytes]]:
    first, at = struct.unpack_from(">q", batch)[0], 61
    for _ in range(struct.unpack_from(">i", batch, 57)[0]):
        length, at = read_varint(batch, at)
        end = at + length
        _, at = read_varint(batch, at + 1)  # the time, behind a byte of attributes
        number, at = read_varint(batch, at)
        key, at = read_varint(batch, at)
        size, at = read_varint(batch, at + max(0, key))
        yield first + number, batch[at : at + size]
        at = end


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, whose sign is its lowest bit, and where it ends."""
    encoded = shift = 0
    while True:
        encoded |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return encoded >> 1 ^ -(encoded & 1), at


def varint(number: int) -> bytes:
    """A number that is not negative, in five bytes, where fewer would often do."""
    return bytes(number * 2 >> shift & 127 | 128 for shift in (0, 7, 14, 21)) + bytes([number * 2 >> 28])


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF
