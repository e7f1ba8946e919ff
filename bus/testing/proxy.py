"""A TCP proxy between a client and a server that does to the bytes what a bad network does.

    with Proxy(("127.0.0.1", 4222)) as proxy:            # or a path: Proxy("/run/redis/redis.sock")
        async with Bus.open(f"nats://{proxy.address}") as bus:
            proxy.down = Toxics(delay=0.2, jitter=0.1)   # server -> client; `up` is client -> server
            proxy.up = proxy.down = Toxics(hold=True)    # both ways silent, connections stay open
            proxy.heal()
            proxy.reset()                                # RST on every open connection
            proxy.refuse()                               # nobody listens; forward() is back on the same port
            proxy.silence()                              # new connections are accepted and never answered

It runs in a thread of its own, so that it goes on while the event loop of a test is blocked. Its calls are
synchronous and short, each returns when its effect is there. It listens on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, TypeVar

from bus.testing.line import Line, bytes_in

__all__ = ["Proxy", "Record", "Toxics"]

_T = TypeVar("_T")
_CHUNK = 65_536
# Of a way with delay: the product of its rate and its delay must fit.
_MOST_WAITING = 4 << 20
# Small buffers of the kernel, so that a held or slow way is soon felt by whoever writes into it.
_BUFFER = 65_536
_CONNECT = _CALL = 5.0
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxics:
    """What happens to the bytes of one direction; the default is nothing.

    Setting one replaces what was in force, also for open connections; what was late by the old one then goes.
    """

    # Seconds that bytes are late, and at most so many more; their order is kept.
    delay: float = 0.0
    jitter: float = 0.0
    # Bytes a second of each connection; a Line: of all those together that have it.
    rate: float | Line | None = None
    # Bytes of the largest piece that is written at once.
    slice: int | None = None
    # Nothing is read and nothing passes; it waits and is not lost. The sender's own buffers fill up.
    hold: bool = False
    # Everything is read and thrown away. What follows later is no longer in step: reset() afterwards.
    black_hole: bool = False
    # The receiver is told that nothing more comes (FIN), the other direction stays open.
    half_close: bool = False
    # So many bytes of each connection pass, from when this is set, then it is reset.
    limit: int | None = None
    # The byte at this offset of each connection, from when this is set, has all its bits flipped.
    corrupt: int | None = None


@dataclass(slots=True)
class Record:
    """The first bytes of one connection as they came from the client (`up`) and from the server (`down`)."""

    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)


class Proxy:
    """Forwards what connects to `host:port` to a TCP address or the path of a unix socket.

    `target` may be set at any time and counts for new connections. `keep` is the number of first bytes that
    each `Record` holds. Works while it is entered.
    """

    host = "127.0.0.1"

    def __init__(self, target: tuple[str, int] | str, *, keep: int = 65_536) -> None:
        self.target = target
        # One for each connection that was accepted, in order.
        self.records: list[Record] = []
        self._keep = keep
        self._up, self._down = _Way(), _Way()
        self._mode: Literal["forward", "silence", "refuse"] = "forward"
        self._connections: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Task[None] | None = None
        # Bound but deaf: while nobody listens, the port stays ours and connections to it are refused.
        self._place = _bound(0)
        self.port: int = self._place.getsockname()[1]
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Proxy:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bus-testing-proxy", daemon=True)
        self._thread.start()
        self.forward()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Reset every connection, stop listening and end the thread; idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._call(self._set_mode("refuse"))
            self._call(self._reset())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(_CALL)
            self._loop.close()
        self._place.close()

    @property
    def address(self) -> str:
        """`host:port`, for an URL."""
        return f"{self.host}:{self.port}"

    @property
    def up(self) -> Toxics:
        """What happens from the client to the server."""
        return self._up.toxics

    @up.setter
    def up(self, toxics: Toxics) -> None:
        self._call(self._up.become(toxics))

    @property
    def down(self) -> Toxics:
        """What happens from the server to the client."""
        return self._down.toxics

    @down.setter
    def down(self, toxics: Toxics) -> None:
        self._call(self._down.become(toxics))

    @property
    def connections(self) -> int:
        """How many were accepted so far."""
        return len(self.records)

    @property
    def open_connections(self) -> int:
        """How many of them are still open."""
        return len(self._connections)

    @property
    def bytes_up(self) -> int:
        """Bytes that came from clients so far."""
        return self._up.count

    @property
    def bytes_down(self) -> int:
        """Bytes that came from the server so far."""
        return self._down.count

    def heal(self) -> None:
        """Take every toxic back, and forward; what is open stays open."""
        self.up = self.down = Toxics()
        self.forward()

    def forward(self) -> None:
        """New connections go to the target: the way it begins. One to a dead target is reset."""
        self._call(self._set_mode("forward"))

    def silence(self) -> None:
        """New connections are accepted, recorded and never answered; the target does not see them."""
        self._call(self._set_mode("silence"))

    def refuse(self) -> None:
        """Nobody listens; what is open stays open. forward() and silence() are back on the same port."""
        self._call(self._set_mode("refuse"))

    def reset(self) -> None:
        """RST, both ways, on every open connection."""
        self._call(self._reset())

    def _call(self, work: Coroutine[object, object, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL)

    # What follows runs in the thread.

    async def _set_mode(self, mode: Literal["forward", "silence", "refuse"]) -> None:
        self._mode = mode
        if mode == "refuse" and self._listener is not None:
            await _ended(self._listener)
            self._listener = None
        elif mode != "refuse" and self._listener is None:
            listening = _bound(self.port)
            listening.listen(128)
            self._listener = asyncio.create_task(self._accept(listening))

    async def _reset(self) -> None:
        for connection in list(self._connections):
            await _ended(connection)

    async def _accept(self, listening: socket.socket) -> None:
        with listening:
            while True:
                client, _ = await self._loop.sock_accept(listening)
                self.records.append(record := Record())
                connection = asyncio.create_task(self._serve(client, record))
                self._connections.add(connection)
                connection.add_done_callback(self._connections.discard)

    async def _serve(self, client: socket.socket, record: Record) -> None:
        sockets = [_prepared(client)]
        is_ended = False
        try:
            server = None
            if self._mode == "forward":
                family = socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET
                server = _prepared(socket.socket(family, socket.SOCK_STREAM))
                sockets.append(server)
                async with asyncio.timeout(_CONNECT):
                    await self._loop.sock_connect(server, self.target)
            async with asyncio.TaskGroup() as group:
                group.create_task(_Pipe(self._up, client, server, record.up, self._keep).run())
                if server is not None:
                    group.create_task(_Pipe(self._down, server, client, record.down, self._keep).run())
            is_ended = True
        except* OSError:  # one side is gone: the other learns it by the reset
            pass
        finally:
            for sock in sockets:
                if not is_ended:
                    with suppress(OSError):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.close()


class _Way:
    """One direction of all connections."""

    def __init__(self) -> None:
        self.toxics = Toxics()
        self.count = 0
        self.pipes: set[_Pipe] = set()

    async def become(self, toxics: Toxics) -> None:
        self.toxics = toxics
        for pipe in self.pipes:
            pipe.wake()


class _Pipe:
    """One direction of one connection: a reader and a writer with a queue between them.

    Two, since bytes that are late must not keep those behind them from being read. Without a target what is
    read goes nowhere.
    """

    def __init__(
        self, way: _Way, source: socket.socket, target: socket.socket | None, first: bytearray, keep: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._way = way
        self._source = source
        self._target = target
        self._first = first
        self._keep = keep
        # (time when it may go, bytes); no bytes: the end.
        self._queue: deque[tuple[float, bytes]] = deque()
        self._waiting = 0
        self._changed = asyncio.Event()
        # Bytes written since the toxics were set.
        self._offset = 0
        self._under = way.toxics

    def wake(self) -> None:
        """Reader and writer look again at what is so."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until the source has ended and all is written. Raises OSError: the connection is to be reset."""
        self._way.pipes.add(self)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read())
                if self._target is not None:
                    group.create_task(self._write(self._target))
        except* OSError as errors:
            raise ConnectionResetError from errors
        finally:
            self._way.pipes.discard(self)

    async def _read(self) -> None:
        due = 0.0
        data = b"-"
        while data:
            while self._way.toxics.hold or self._waiting > self._room():
                await self._change()
            data = await self._loop.sock_recv(self._source, min(_CHUNK, self._room()))
            self._way.count += len(data)
            self._first += data[: self._keep - len(self._first)]
            toxics = self._way.toxics
            if self._target is None or (data and (toxics.black_hole or toxics.half_close)):
                continue
            late = toxics.delay + random.uniform(0, toxics.jitter)
            due = max(due, time.monotonic() + late)
            self._queue.append((due, data))
            self._waiting += len(data)
            self.wake()

    def _room(self) -> int:
        # A slow way holds little, else its bytes would be old when they arrive.
        rate = self._way.toxics.rate
        return _MOST_WAITING if rate is None else bytes_in(0.1, rate)

    async def _write(self, target: socket.socket) -> None:
        while True:
            while self._way.toxics.hold or not (self._queue or self._way.toxics.half_close):
                await self._change()
            if self._way.toxics.half_close:
                break
            due, data = self._queue.popleft()
            await self._pause(due)
            if not data:
                break
            await self._send(target, memoryview(data))
            self._waiting -= len(data)
            self.wake()
        target.shutdown(socket.SHUT_WR)

    async def _send(self, target: socket.socket, data: memoryview) -> None:
        while data:
            while self._way.toxics.hold:
                await self._change()
            toxics = self._way.toxics
            if toxics is not self._under:
                self._under, self._offset = toxics, 0
            size = toxics.slice or len(data)
            if toxics.rate is not None:
                size = min(size, bytes_in(0.02, toxics.rate))
            if toxics.limit is not None:
                size = min(size, toxics.limit - self._offset)
            piece, data = bytearray(data[:size]), data[size:]
            if toxics.corrupt is not None and 0 <= toxics.corrupt - self._offset < len(piece):
                piece[toxics.corrupt - self._offset] ^= 0xFF
            if isinstance(toxics.rate, Line):
                await self._pause(toxics.rate.book(len(piece)))
            await self._loop.sock_sendall(target, piece)
            self._offset += len(piece)
            if self._offset == toxics.limit:
                raise ConnectionResetError
            if isinstance(toxics.rate, float | int):
                await self._pause(time.monotonic() + len(piece) / toxics.rate)

    async def _pause(self, until: float) -> None:
        """Wait for that time, at most until the toxics are others."""
        toxics = self._way.toxics
        while (left := until - time.monotonic()) > 0 and self._way.toxics is toxics:
            await self._change(left)

    async def _change(self, seconds: float | None = None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Not SO_REUSEADDR, by which others could take a port at which nobody listens.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((Proxy.host, port))
    return _prepared(sock)


def _prepared(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    if sock.family == socket.AF_INET:
        # A slice is a segment.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
