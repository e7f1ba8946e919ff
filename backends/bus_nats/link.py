"""One connection that nats-py opened and logged in; from then on its transport is ours.

A frame goes out as PUB and PING in one write; the PONG confirms it: the server has processed it, not
delivered it. nats-py's own way is slower by several objects and a task switch per message, a late
PONG kills its reading task (T1), its `publish` swallows a cancel (T8), its ways to close wait for a
server that is frozen (T11).
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from bus.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.backend import Context
    from bus.config import Nats
    from bus_nats.opening import Opened

# Seconds between PINGs: the core wants a proof every 3 s, also where pingInterval is longer.
QUIET = 2.0
# ... and where answers come late, since they wait behind a long queue: then they come often at least.
PRESSED = 0.5
# PINGs without a frame that may be unanswered.
PROBES = 64
# Bytes that a server may make us keep, whatever it announces.
LONGEST_LINE = 1 << 20
LARGEST_MESSAGE = 64 << 20


class NatsLink(asyncio.BufferedProtocol):
    """Subscribed to the channel once `settle` has returned."""

    def __init__(
        self, connection: Opened, config: Nats, context: Context, refusal: Callable[[str], Exception]
    ) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._context = context
        self._refusal = refusal
        self._channel = context.channel.encode()
        self._loop = asyncio.get_running_loop()
        self._capacity = config.capacity_client
        self._interval = min(config.ping_interval.seconds, QUIET)
        self._patience = config.timeout_request.seconds
        # Bytes of the largest frame that this server takes (rule 16).
        self.max_message: int = connection.max_payload
        unread = connection.unread
        size = min(config.capacity_read_buffer, LONGEST_LINE)
        self._text = bytearray(unread.ljust(size))
        self._buffer = memoryview(self._text)
        self._end = len(unread)
        # A message that does not end in the buffer gets one of its own, filled up to here.
        self._message: memoryview | None = None
        self._filled: int = 0
        # Of each PING that has no PONG yet: whether it came with a frame.
        self._asked: deque[bool] = deque()
        self._frames = 0
        self._last_asked = self._last_answer = 0.0
        self._is_full = self._is_leaving = False
        self._error: Exception | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._changed = asyncio.Event()
        self._transport.set_protocol(self)
        self._transport.resume_reading()
        self.buffer_updated(0)
        if connection.has_ended:
            self.connection_lost(None)

    async def settle(self) -> None:
        """Subscribe, and return when the server has processed that. Raises what ended the link.

        A server tells a missing permission to subscribe at once, but one to publish only to who
        publishes: an empty message, which every link drops, finds out before the first frame.
        """
        self._transport.write(b"SUB %b 1\r\nPUB %b 0\r\n\r\n" % (self._channel, self._channel))
        self._probe()
        await self._answers()
        if self._error is not None:
            raise self._error

    async def run(self) -> None:
        """Ping while it is quiet or answers are late, until the link has ended or no answer comes."""
        while self._error is None:
            now = self._loop.time()
            late_at = self._last_answer + self._patience if self._asked else now + self._patience
            interval = min(self._interval, PRESSED) if self._asked else self._interval
            quiet_at = self._last_asked + interval
            if now >= late_at:
                self._fail(TimeoutError(f"no answer to a PING for {self._patience:g} s (timeoutRequest)"))
                break
            if now >= quiet_at and len(self._asked) - self._frames < PROBES:
                self._probe()
            wait = quiet_at - now if quiet_at > now else interval
            await asyncio.wait({self._over}, timeout=min(wait, late_at - now))
        assert self._error is not None
        raise self._error

    async def send(self, frame: bytes) -> None:
        """Write one frame; waits while the socket is full, or `capacityClient` frames unanswered."""
        while self._error is None and (self._is_full or self._frames >= self._capacity):
            await self._change()
        if self._error is not None:
            raise self._error
        if self._is_leaving:
            raise LinkError("the link is closed")
        self._transport.writelines((b"PUB %b %d\r\n" % (self._channel, len(frame)), frame, b"\r\nPING\r\n"))
        self._frames += 1
        self._note_ping(True)

    async def close(self) -> None:
        """Leave when the server has processed what was sent."""
        self._is_leaving = True
        await self._answers()
        self._transport.close()

    def abort(self) -> None:
        """Drop the socket."""
        self._fail(LinkError("the link was aborted"))

    # -- called by the transport -------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer[self._end :] if self._message is None else self._message[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """They are there."""
        if self._message is None:
            self._end += nbytes
            try:
                self._parse()
            except (ValueError, IndexError, AttributeError):
                self._fail(LinkError("the server sent what is not the protocol of NATS"))
        else:
            self._filled += nbytes
            if self._filled == len(self._message):
                frame, self._message = bytes(self._message[:-2]), None
                self._deliver(frame)

    def pause_writing(self) -> None:
        """The socket is full."""
        self._is_full = True

    def resume_writing(self) -> None:
        """No longer."""
        self._is_full = False
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._fail(LinkError(f"the server closed the connection{f' ({exc})' if exc else ''}"))

    # -- inside ------------------------------------------------------------------------------------

    def _parse(self) -> None:
        text, start, end = self._text, 0, self._end
        while self._error is None and (stop := text.find(b"\r\n", start, end)) >= 0:
            line = bytes(self._buffer[start:stop])
            start = stop + 2
            if not line.startswith((b"MSG ", b"HMSG ")):
                self._take(line)
                continue
            size = int(line[line.rindex(b" ") :])
            if not 0 <= size <= LARGEST_MESSAGE:
                raise ValueError
            if start + size + 2 > end:
                self._message = memoryview(bytearray(size + 2))
                self._filled = end - start
                self._message[: self._filled] = self._buffer[start:end]
                start = end
                break
            self._deliver(bytes(self._buffer[start : start + size]))
            start += size + 2
        rest = self._end = end - start
        if rest >= LONGEST_LINE:
            raise ValueError
        if rest == len(text):
            self._text = text + bytearray(rest)
            self._buffer = memoryview(self._text)
        elif rest:
            self._buffer[:rest] = self._buffer[start:end]

    def _deliver(self, frame: bytes) -> None:
        if frame:
            self._context.deliver(frame)

    def _take(self, line: bytes) -> None:
        """A line without a message."""
        if line == b"PONG":
            has_frame = self._asked.popleft()
            self._last_answer = self._loop.time()
            self._context.proven()
            if has_frame:
                self._frames -= 1
                self._context.confirmed()
            self._changed.set()
        elif line == b"PING":
            self._transport.write(b"PONG\r\n")
        elif line.startswith(b"-ERR"):
            self._fail(self._refusal(line[4:].decode(errors="replace").strip(" '")))
        elif line.startswith(b"INFO "):
            # A lame duck serves for some more time: better to leave now than all at its end.
            if json.loads(line[5:]).get("ldm"):
                self._fail(LinkError("the server is going to shut down (lame duck mode)"))
        elif line != b"+OK":
            raise ValueError

    def _probe(self) -> None:
        """A PING without a frame."""
        self._transport.write(b"PING\r\n")
        self._note_ping(False)

    def _note_ping(self, has_frame: bool) -> None:
        self._last_asked = self._loop.time()
        if not self._asked:
            # The time for an answer begins with the first question.
            self._last_answer = self._last_asked
        self._asked.append(has_frame)

    async def _answers(self) -> None:
        while self._error is None and self._asked:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            with suppress(RuntimeError):  # the loop is closed
                self._transport.abort()
                self._over.set_result(None)
                self._changed.set()
