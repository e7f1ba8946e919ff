"""Joins a bus as an observer: hears everything, is counted by nobody, asks for no repeats.

Its heartbeats say so (rule 9): to the peers it does not exist. So they cannot list it, and that it hears
them is all the proof of a link that it can have. Events are taken apart here and not decoded into classes: an
observer shows types that it has never heard of, with the node and the number of each event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

from bus import opening, progress
from bus.cli.failure import CONNECTION, TIMEOUT, Failure
from bus.errors import ConfigError
from bus.event import Tombstone, tag_of
from bus.isolation import Waker, current_loop
from bus.node import Node
from bus.protocol import control, frame as wire
from bus.protocol.limits import Limits
from bus.signals import Gap, Loss, Overflow

if TYPE_CHECKING:
    from bus.cli.settings import Settings
    from bus.isolation import Loop
    from bus.protocol.control import Entry, Heartbeat
    from bus.protocol.frame import Header
    from bus.protocol.outlet import Outlet
    from bus.protocol.peer import Peer
    from bus.routing import Router
    from bus.signals import Change

CAPACITY = 65_536
_raws = msgspec.msgpack.Decoder(list[msgspec.Raw])


class Seen(NamedTuple):
    """One event; `fields` in the order of its class."""

    node: str
    epoch: int
    seq: int
    tag: int | str
    fields: list[object]


Item = Seen | Loss


class Known(NamedTuple):
    """What a node says of itself, and of whom it hears: by epoch, with the time when it said so."""

    beat: Heartbeat
    at: float
    hears: dict[int, tuple[float, Entry]]


class Sink:
    """Where the engine puts its results: kept, bounded, until somebody shows them."""

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self.wake: Callable[[], None] = lambda: None
        self._dropped = 0

    def events(self, peer: Peer, header: Header, frame: bytes, skip: int) -> None:
        """One frame, event by event."""
        first = header.first_seq
        try:
            raws = _raws.decode(wire.events_of(frame, header))
        except (msgspec.MsgspecError, wire.FrameError, RecursionError, UnicodeDecodeError):
            raws = []
        if len(raws) != header.count:
            last = first + header.count - 1
            self.loss(Gap(peer.node, peer.epoch, ((first + skip, last),), "undecodable"))
            return
        for offset in range(skip, len(raws)):
            self._offer(_seen(peer, first + offset, raws[offset]))

    def loss(self, loss: Loss) -> None:
        """In its place."""
        self._offer(loss)

    def change(self, change: Change) -> None:
        """The heartbeats say it, too."""

    def _offer(self, item: Item) -> None:
        if len(self.items) >= CAPACITY:
            self.items.popleft()
            self._dropped += 1
        self.items.append(item)
        self.wake()

    def take(self) -> list[Item]:
        """Everything that waits, after what was dropped because nobody took it."""
        found = list(self.items)
        self.items.clear()
        if self._dropped:
            found.insert(0, Overflow(self._dropped))
            self._dropped = 0
        return found


def _seen(peer: Peer, seq: int, raw: msgspec.Raw) -> Item:
    try:
        found: object = msgspec.msgpack.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        found = None
    values = cast("list[object]", found) if isinstance(found, list) else []
    tag = values[0] if values else None
    if not isinstance(tag, int | str):
        return Gap(peer.node, peer.epoch, ((seq, seq),), "undecodable")
    if tag == tag_of(Tombstone):
        return Gap(peer.node, peer.epoch, ((seq, seq),), "too_large_for_link")
    return Seen(peer.node, peer.epoch, seq, tag, values[1:])


class Observer(Node):
    """A node that only listens."""

    def __init__(self, cluster: str, name: str | None) -> None:
        self.sink = Sink()
        # Epoch -> what was heard last.
        self.known: dict[int, Known] = {}
        super().__init__(
            opening.name_of(name), opening.new_epoch(), opening.channel_of(cluster), Limits(),
            cast("Router", self.sink),  # the part of it that the engine uses
        )  # fmt: skip

    def start(self, loop: Loop, digest: int) -> None:
        """As an observer from the first heartbeat on."""
        super().start(loop, digest)
        self.engine.observer = True
        self.news = Waker(loop)
        self.sink.wake = self.news.set

    def receive(self, outlet: Outlet, frame: bytes, stamp: float | None) -> None:
        """Also take note of who hears whom."""
        super().receive(outlet, frame, stamp)
        try:
            header = wire.parse(frame)
            if header.kind != wire.HEARTBEAT or header.epoch == self.epoch or header.flags & wire.OBSERVER:
                return
            wire.check(frame, header)
            beat = control.read_heartbeat(frame)
        except wire.FrameError:
            return
        outlet.listed = True
        now = self.loop.now()
        before = self.known.get(header.epoch)
        hears = before.hears if before is not None else {}
        hears |= {entry.epoch: (now, entry) for entry in beat.entries}
        self.known[header.epoch] = Known(beat, now, hears)


@asynccontextmanager
async def observing(settings: Settings, timeout: float) -> AsyncGenerator[Observer]:
    """An observer whose link is proven. Raises Failure when that takes longer than `timeout` seconds."""
    from bus.cli.settings import need_system

    coordinator = opening.coordinator_of(need_system(settings), settings.text("store"))
    node = Observer(settings.text("cluster") or "default", settings.text("node"))
    connection = opening.prepare(node, coordinator)
    assert connection is not None
    node.start(current_loop(), 0)
    try:
        node.add(connection)
        await until_ready(lambda: progress.ready(node, timeout, 0))
        yield node
    finally:
        await node.close(0.5)


async def until_ready(ready: Callable[[], object]) -> None:
    """Wait for `ready()`; what goes wrong becomes a Failure that names the doctor."""
    from collections.abc import Awaitable

    hint = "bus doctor, with the same arguments, says which part of the way is broken"
    try:
        await cast("Awaitable[None]", ready())
    except TimeoutError as error:
        failure = Failure(TIMEOUT, "timeout", str(error), hint)
    except ConfigError as error:
        failure = Failure(CONNECTION, "connectionFailed", str(error), hint)
    else:
        return
    raise failure
