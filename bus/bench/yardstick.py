"""How fast is this machine just now? Events over plain TCP, without the bus and without a loop.

Run before and after everything else: when the two differ, somebody else used the machine meanwhile
and no figure between them can be trusted. A child process encodes and sends, this one receives and
decodes; `python -m bus.bench.yardstick PORT` is the child.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from statistics import median

import msgspec

from bus.bench.crew import environment
from bus.bench.work import BURST, KEYS, KIND, CacheInvalidated

ROUNDS = 5
TIMEOUT = 20.0
GO = b"g"
SIZE = 4


def measure(events: int) -> float:
    """Events per second; the median of some rounds of `events` each."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        port = server.getsockname()[1]
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "bus.bench.yardstick", str(port), str(events)],
            env=environment(),
        )
        try:
            stream, _ = server.accept()
            with stream:
                stream.settimeout(TIMEOUT)
                _round(stream, events)
                return median(_round(stream, events) for _ in range(ROUNDS))
        finally:
            child.kill()
            child.wait()


def _round(stream: socket.socket, events: int) -> float:
    decode = msgspec.msgpack.Decoder(list[CacheInvalidated]).decode
    stream.sendall(GO)
    count = checksum = 0
    began = time.perf_counter()
    with stream.makefile("rb", buffering=1 << 18) as reader:
        while count < events:
            size = int.from_bytes(reader.read(SIZE), "little")
            for event in decode(reader.read(size)):
                checksum += event.account
                count += 1
    return events / (time.perf_counter() - began)


def _send(port: int, events: int) -> None:
    encode = msgspec.msgpack.Encoder().encode
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as stream:
        while stream.recv(1) == GO:
            for first in range(0, events, BURST):
                frame = encode([CacheInvalidated(n, KIND, KEYS) for n in range(first, first + BURST)])
                stream.sendall(len(frame).to_bytes(SIZE, "little") + frame)


if __name__ == "__main__":
    _send(int(sys.argv[1]), int(sys.argv[2]))
