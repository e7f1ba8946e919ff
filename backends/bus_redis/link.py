"""One link: a connection that hears the channel and one that publishes to it, at the same server.

The reply to PUBLISH is the confirm. What proves the link is our own frames coming back; the answer to a
PING on the hearing connection and the oldest unanswered PUBLISH are watched besides.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from bus.errors import LinkError
from bus_redis.connection import command

if TYPE_CHECKING:
    from bus.backend import Context
    from bus.config import Redis, RedisCluster, RedisSentinel
    from bus_redis.connection import Wire

# Seconds between two looks at the clock.
LOOK = 1.0
PING = command(b"PING")


class RedisLink:
    """Both connections; with `poolMaxConnections` 1 they are one."""

    def __init__(
        self, config: Redis | RedisCluster | RedisSentinel, context: Context, hearing: Wire,
        publishing: Wire, *, is_sharded: bool,
    ) -> None:  # fmt: skip
        loop = asyncio.get_running_loop()
        shard, channel = b"S" if is_sharded else b"", context.channel.encode()
        self._deliver = context.deliver
        self._confirmed = context.confirmed
        self._hearing = hearing
        self._publishing = publishing
        self._ping_limit = config.pool_timeout_recycle and config.pool_timeout_recycle.seconds
        self._reply_limit = config.pool_timeout_wait and config.pool_timeout_wait.seconds
        self._subscribe = command(shard + b"SUBSCRIBE", channel)
        self._publish = command(shard + b"PUBLISH", channel, more=1)
        self._message, self._subscribed = shard.lower() + b"message", shard.lower() + b"subscribe"
        self._now = loop.time
        self._error: Exception | None = None
        self._positioned, self._drained, self._over = (loop.create_future() for _ in range(3))
        self._is_closing = False
        # When each unanswered PUBLISH was sent, and the unanswered PING.
        self._sent: deque[float] = deque()
        self._pinged: float | None = None
        hearing.take = self._hear
        if publishing is not hearing:
            publishing.take = self._confirm
        for wire in (hearing, publishing):
            wire.on_end = self._end
            if wire.error is not None:
                self._end(wire.error)

    async def subscribe(self) -> None:
        """Return when positioned; raises what ended the link instead."""
        if self._error is None:
            self._hearing.write(self._subscribe)
            await self._until(self._positioned)
        if self._error is not None:
            raise self._error

    async def run(self) -> None:
        """Watch the clocks until the link ends, and raise why; frames come in by themselves."""
        look = min([LOOK, *(limit / 4 for limit in (self._ping_limit, self._reply_limit) if limit)])
        while self._error is None:
            before = self._now()
            await asyncio.wait((self._over,), timeout=look)
            # Who was frozen has not read the answers that came in between: judge the next time.
            if self._error is None and self._now() - before < 2 * look:
                self._judge(self._now())
        raise self._error

    async def send(self, frame: bytes) -> None:
        """Write one PUBLISH; the core's window bounds what waits in the transport."""
        if self._error is not None:
            raise self._error
        if self._is_closing:
            raise LinkError("the link is closed")
        self._sent.append(self._now())
        self._publishing.write(b"".join((self._publish, b"$%d\r\n" % len(frame), frame, b"\r\n")))

    async def close(self) -> None:
        """Wait for the replies: to close a socket with something unread resets the connection."""
        self._is_closing = True
        if self._sent and self._error is None:
            await self._until(self._drained)
        self.abort()

    def abort(self) -> None:
        """Drop both connections."""
        self._hearing.abort()
        self._publishing.abort()

    async def _until(self, future: asyncio.Future[None]) -> None:
        await asyncio.wait((future, self._over), return_when=asyncio.FIRST_COMPLETED)

    def _judge(self, now: float) -> None:
        limit = self._reply_limit
        if limit and self._sent and now - self._sent[0] > limit:
            self._publishing.fail(LinkError(f"no reply to PUBLISH within {limit:g} s (poolTimeoutWait)"))
        limit = self._ping_limit
        if limit and self._pinged is None:
            self._pinged = now
            self._hearing.write(PING)
        elif limit and self._pinged is not None and now - self._pinged > limit:
            self._hearing.fail(LinkError(f"no answer to PING within {limit:g} s (poolTimeoutRecycle)"))

    def _hear(self, reply: object) -> None:
        """A message, or the answer to SUBSCRIBE or PING; on an only connection also to PUBLISH."""
        if not isinstance(reply, list):
            # RESP3 answers as if there were no subscription. And who cannot write to its disk refuses even a
            # PING, but carries the channels on.
            if reply == b"PONG" or (self._pinged is not None and str(reply).startswith("MISCONF")):
                self._pinged = None
            else:
                self._confirm(reply)
            return
        message = cast("list[bytes]", reply)
        kind = message[0]
        if kind == self._message:
            self._deliver(message[2])
        elif kind == b"pong":
            self._pinged = None
        elif kind == self._subscribed:
            self._positioned.set_result(None)
        else:
            # sunsubscribe: the slot of the channel has moved.
            self._hearing.fail(LinkError(f"the server ended our subscription ({kind!r})"))

    def _confirm(self, reply: object) -> None:
        """The reply to the oldest PUBLISH."""
        if isinstance(reply, Exception):
            self._publishing.fail(reply)
        elif self._sent:
            self._sent.popleft()
            self._confirmed()
            if self._is_closing and not self._sent and not self._drained.done():
                self._drained.set_result(None)

    def _end(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            self._over.set_result(None)
            self.abort()
