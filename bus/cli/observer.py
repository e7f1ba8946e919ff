"""Joins a bus as an observer: hears everything, is counted by nobody, asks for no repeats.

Its heartbeats say so (rule 9): to the peers it does not exist. Events are taken apart here and not decoded
into classes: an observer shows types that it has never heard of, with the node and the number of each event.
"""

from __future__ import annotations

import time
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
from bus.protocol import frame as wire
from bus.protocol.limits import Limits
from bus.protocol.peer import NOT_HEARD
from bus.signals import Gap, Loss, Overflow

if TYPE_CHECKING:
    from bus.cli.settings import Settings
    from bus.isolation import Loop
    from bus.keys import ClusterKey
    from bus.protocol.catalog import Declared
    from bus.protocol.control import About, Account, Heard, Report
    from bus.protocol.frame import Header
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


class Told(NamedTuple):
    """What a node has answered: what it says of itself and of each epoch, and how long that took."""

    about: About | None
    heard: dict[int, Heard]
    accounts: dict[int, Account]
    # Seconds from the question to the answer; what its clock on the wall is ahead of ours, if it says so.
    trip: float
    ahead: float | None


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
    """A node that only listens, and on request asks all others how they stand."""

    def __init__(self, cluster: str, name: str | None, key: ClusterKey | None = None) -> None:
        self.sink: Sink = Sink()
        # Epoch -> its answer to our newest question.
        self.told: dict[int, Told] = {}
        self._asked_at = 0.0
        super().__init__(
            opening.name_of(name), opening.new_epoch(), opening.channel_of(cluster), Limits(),
            cast("Router", self.sink),  # the part of it that the engine uses
            observer=True, key=key,
        )  # fmt: skip

    def start(self, loop: Loop, types: Declared | None = None) -> None:
        """Begin to live in `loop`."""
        super().start(loop, types)
        self.news: Waker = Waker(loop)
        self.sink.wake = self.news.set
        self.engine.ledger.on_report = self._take

    async def ask(self, timeout: float = 0.8) -> None:
        """Ask everybody for the ledger and for the event types; the answers come into `told`.

        Waits until all who are heard have answered; who is deaf never does, so at most `timeout` seconds.
        """
        self.told.clear()
        self._asked_at = self.loop.now()
        for link in self.links:
            self.engine.ledger.ask_all(link.outlet)
            self.engine.catalog.ask_all(link.outlet)
        self.wake()
        await self.watchers.until(self.loop, self.has_all_answers, timeout)

    def has_all_answers(self) -> bool:
        """Everybody who is heard has answered, also what its events look like."""
        peers = [peer for peer in self.engine.peers.values() if peer.unheard < NOT_HEARD and not peer.is_bye]
        return all(peer.epoch in self.told and (peer.types is not None or not peer.digest) for peer in peers)

    def _take(self, epoch: int, report: Report, now: float) -> None:
        before = self.told.get(epoch)
        trip = now - self._asked_at if before is None else before.trip
        about, ahead = (None, None) if before is None else (before.about, before.ahead)
        if report.about is not None:
            about = report.about
            ahead = about.wall_us / 1e6 - (time.time() - trip / 2) if about.wall_us else None
        heard = {} if before is None else before.heard
        accounts = {} if before is None else before.accounts
        heard |= {one.epoch: one for one in report.heard}
        accounts |= {one.epoch: one for one in report.accounts}
        self.told[epoch] = Told(about, heard, accounts, trip, ahead)


@asynccontextmanager
async def observing(settings: Settings, timeout: float) -> AsyncGenerator[Observer]:
    """An observer whose link is proven. Raises Failure when that takes longer than `timeout` seconds."""
    from bus.cli.settings import need_system

    coordinator = opening.coordinator_of(need_system(settings), settings.text("store"))
    node = Observer(settings.text("cluster") or "default", settings.text("node"), settings.cluster_key())
    connection = opening.prepare(node, coordinator)
    assert connection is not None
    node.start(current_loop())
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
