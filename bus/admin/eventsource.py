"""Push by server-sent events (RFC 8620, 7.3): the new state string of the object, and a ping now and then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import anyio

from bus.admin.jmap import ijson
from bus.admin.jmap.arguments import ACCOUNT
from bus.admin.jmap.request import Refused

if TYPE_CHECKING:
    import asyncio

    from bus.admin.cutover import Cutover

TYPE = "Coordinator"
MAX_STREAMS = 16
# Seconds; a shorter interval than asked for is allowed, and keeps proxies from closing the stream.
MIN_PING = 5
MAX_PING = 300
KEEP_ALIVE = 15


class Wanted(NamedTuple):
    """What a client asks for in the query."""

    is_ours: bool
    closes: bool
    ping: int


def wanted(query: Mapping[str, str]) -> Wanted:
    """Raises Refused for a value that is not allowed; what is missing has a harmless default."""
    types = query.get("types", "*").split(",")
    close_after = query.get("closeafter", "no")
    ping = query.get("ping", "0")
    if close_after not in ("state", "no"):
        raise Refused(400, "about:blank", 'closeafter must be "state" or "no"')
    if not (ping.isascii() and ping.isdecimal() and len(ping) < 7):
        raise Refused(400, "about:blank", "ping must be a number of seconds, 0 for none")
    seconds = min(MAX_PING, max(MIN_PING, int(ping))) if int(ping) else 0
    return Wanted(not {"*", TYPE, f"x:{TYPE}"}.isdisjoint(types), close_after == "state", seconds)


async def stream(
    wish: Wanted, cutover: Cutover, closing: asyncio.Event, last_id: str | None
) -> AsyncIterator[bytes]:
    """The body. Ends by itself when the server is being stopped, which sets `closing` and wakes it."""
    told = last_id if last_id is not None else cutover.state
    with cutover.changed.listen() as news:
        yield b"retry: 2000\n\n"
        while not closing.is_set():
            state = cutover.state
            if wish.is_ours and state != told:
                told = state
                change = {"@type": "StateChange", "changed": {ACCOUNT: {TYPE: state}}}
                yield b"id: %s\nevent: state\ndata: %s\n\n" % (state.encode(), ijson.write(change))
                if wish.closes:
                    return
            news.clear()
            with anyio.move_on_after(wish.ping or KEEP_ALIVE):
                await news.wait()
                continue
            if not closing.is_set():
                yield b'event: ping\ndata: {"interval":%d}\n\n' % wish.ping if wish.ping else b": \n\n"
