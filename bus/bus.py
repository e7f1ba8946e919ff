"""Bus: what an application opens. Validates, numbers, subscribes, waits; what is alive is in `node`."""

from __future__ import annotations

import os
import weakref
from threading import get_ident
from typing import TYPE_CHECKING, TypeVar, cast, overload

import anyio

from bus import opening, progress, refusals, standing
from bus.errors import Closed, Forked, UsageError
from bus.event import Event, EventTypes
from bus.inlet import ThreadInlet
from bus.isolation import Job, Waker, current_loop, turn
from bus.keys import cluster_key
from bus.node import Node
from bus.protocol.inbox import DropPolicy, Inbox
from bus.protocol.limits import Limits
from bus.protocol.log import BUSY, Oversize
from bus.routing import CallbackRoute, InboxRoute, Route, Router
from bus.signals import Change, Confirmed, Loss, Status, Up
from bus.subscription import Callback, Subscription
from bus.waiting import Membership

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from bus.config import Coordinator
    from bus.keys import ClusterKey

A = TypeVar("A", bound=Event)
B = TypeVar("B", bound=Event)
C = TypeVar("C", bound=Event)

_NOBODY = -1
_open_buses: weakref.WeakSet[Bus] = weakref.WeakSet()
_made: weakref.WeakSet[Bus] = weakref.WeakSet()


class Bus:
    """One node of the cluster. `async with Bus.open(...) as bus`; see `open`."""

    def __init__(
        self, coordinator: Coordinator, name: str, channel: str, events: Iterable[type[Event]],
        limits: Limits, store: object, key: ClusterKey | None = None,
    ) -> None:  # fmt: skip
        self._types = EventTypes()
        self._types.add(refusals.event_types("events", events))
        self._known = self._types.known
        self._limits = limits
        self._router = Router(self._types, self._on_change)
        self._node = Node(name, opening.new_epoch(), channel, limits, self._router, key=key)
        self._coordinator = coordinator
        self._store = store
        self._connection = opening.prepare(self._node, coordinator)
        self._subscriptions: dict[Subscription[Event], None] = {}
        self._memberships: weakref.WeakSet[Membership] = weakref.WeakSet()
        # The thread in which `publish` is allowed: nobody's before opening, after closing, after a fork.
        self._thread = _NOBODY
        self._refusal: type[UsageError] = Closed
        self._closing: Job | None = None
        self._is_reconfiguring = False
        self._inlet = ThreadInlet(self._types, limits)
        _made.add(self)

    @classmethod
    def open(
        cls, coordinator: object, *, node: str | None = None, cluster: str = "default",
        events: Iterable[type[Event]] = (), store: object = None, key: object = None,
        limits: Limits | None = None,
    ) -> Bus:  # fmt: skip
        """Make a bus from a Coordinator: a URL, a file name, JSON text, a dict, or a variant struct.

        Validates everything before any I/O and never waits for the broker: use it with `async
        with`, then `await bus.ready()` if you want to. Of a node's file of settings only the Coordinator
        counts. `node`: name of this node (at most 128 bytes; default "<host>:<pid>", for a second bus of
        the process "<host>:<pid>.2"); `cluster` ([A-Za-z0-9_-]{1,48}) gives the channel "bus.<cluster>";
        `events`: types that are only received; `store` is what the variant Default reuses. `key`
        (docs/security.md) seals all frames: at least 16 bytes, a secret such as `bus.config.File(path)`, or
        a list of which the first seals. Raises ConfigError (all problems at once), UnknownEventType.
        """
        channel = opening.channel_of(cluster)
        name = opening.name_of(node, {bus._node.name for bus in list(_made) if bus._closing is None})
        decoded = opening.coordinator_of(coordinator, store)
        return cls(decoded, name, channel, events, limits or Limits(), store, cluster_key(key))

    async def __aenter__(self) -> Bus:
        if self._thread != _NOBODY or self._refusal is not Closed or self._closing is not None:
            raise UsageError("a bus is opened once: make another one with Bus.open()")
        loop = current_loop()
        if self._connection is not None:
            opening.check_loop(self._connection, loop.name)
        self._node.start(loop, self._types)
        standing.watch(self._node, self._router)
        self._log = self._node.engine.log
        self._lane = self._log.lane
        if self._connection is not None:
            self._node.add(self._connection)
        self._thread = get_ident()
        _open_buses.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self.aclose()

    # -- publishing --------------------------------------------------------------------------------

    def publish(self, event: Event) -> int:
        """Number one event and send it to every other node; returns its sequence number.

        Never blocks and never does I/O: with no link the log keeps it (64 MiB / 120 s by default).
        Raises UsageError (not encodable), TooLarge, UnknownEventType, Closed, WrongThread, Forked.
        """
        # The hot path: one comparison for open, thread and fork; one for the type; one for all sizes.
        if get_ident() != self._thread:
            raise self._refuse("publish")
        lane = self._lane
        buffer = lane.buffer
        try:
            lane.buffer = BUSY
            self._known[type(event)](event, buffer, lane.size)
            size = len(buffer)
        except BaseException as error:  # noqa: BLE001  # an interrupt, too, must not leave the lane busy
            return self._publish_again(event, buffer, error)
        if size > lane.bound:
            return self._publish_weighed(event, buffer)
        lane.size = size
        lane.last = seq = lane.last + 1
        lane.buffer = buffer
        return seq

    def _publish_again(self, event: Event, buffer: bytearray, error: BaseException) -> int:
        """Not encoded: what is known of the type only now is, or the event cannot be."""
        if buffer is BUSY:
            raise refusals.nested(event) from error
        del buffer[self._lane.size :]
        self._lane.buffer = buffer
        if not isinstance(error, Exception):
            raise error
        if event.__class__ in self._known:
            raise refusals.unfit(event, error, self._limits.event) from error
        self._types.add((event.__class__,))
        return self.publish(event)

    def _publish_weighed(self, event: Event, buffer: bytearray) -> int:
        """It fills a frame, or is a large one, or somebody wants to know of it."""
        size = len(buffer) - self._lane.size
        try:
            seq = self._log.weigh(buffer)
        except Oversize as error:
            raise refusals.unfit(event, error, self._limits.event) from error
        self._node.appended(event, size)
        return seq

    def publish_from_thread(self, event: Event) -> None:
        """`publish` for any other thread. Encodes, and raises, in the caller's thread.

        Raises as `publish` does, and UsageError when the event loop is so far behind that a whole
        log waits.
        """
        if self._thread == _NOBODY:
            raise self._refuse("publish_from_thread")
        if self._inlet.put(event):
            try:
                self._node.loop.call_soon_from_thread(self._take_foreign)
            except RuntimeError as error:
                raise Closed("the event loop of the bus is gone") from error

    def _take_foreign(self) -> None:
        for event, body in self._inlet.take():
            self._log.append(body)
            self._node.appended(event, len(body))

    def _refuse(self, call: str) -> UsageError:
        return refusals.misplaced(call, is_open=self._thread != _NOBODY, is_forked=self._refusal is Forked)

    def _check_open(self, call: str) -> None:
        if get_ident() != self._thread:
            raise self._refuse(call)

    # -- subscribing -------------------------------------------------------------------------------

    @overload
    def subscribe(
        self, a: type[A], /, *, topic: str | None = None, capacity: int | None = None,
        max_bytes: int | None = None, drop: DropPolicy = "oldest", echo: bool = False,
    ) -> Subscription[A]: ...  # fmt: skip
    @overload
    def subscribe(
        self, a: type[A], b: type[B], /, *, topic: str | None = None, capacity: int | None = None,
        max_bytes: int | None = None, drop: DropPolicy = "oldest", echo: bool = False,
    ) -> Subscription[A | B]: ...  # fmt: skip
    @overload
    def subscribe(
        self, a: type[A], b: type[B], c: type[C], /, *, topic: str | None = None,
        capacity: int | None = None, max_bytes: int | None = None, drop: DropPolicy = "oldest",
        echo: bool = False,
    ) -> Subscription[A | B | C]: ...  # fmt: skip
    @overload
    def subscribe(
        self, a: type[Event], b: type[Event], c: type[Event], /, *types: type[Event],
        topic: str | None = None, capacity: int | None = None, max_bytes: int | None = None,
        drop: DropPolicy = "oldest", echo: bool = False,
    ) -> Subscription[Event]: ...  # fmt: skip
    def subscribe(
        self, *types: type[Event], topic: str | None = None, capacity: int | None = None,
        max_bytes: int | None = None, drop: DropPolicy = "oldest", echo: bool = False,
    ) -> Subscription[Event]:  # fmt: skip
        """Receive the events of these types from now on, with every loss in its place.

        `topic`: pattern for `Message` alone (`*` one word, `>` the rest). `capacity` in events
        (default: `capacitySubscription` of the variant, else 65,536) and `max_bytes` bound the
        inbox; when it is full, `drop` decides: "oldest" or "newest" events go and an `Overflow`
        counts them, "close" ends the subscription. `echo=True` adds this node's own events. Raises
        UsageError, UnknownEventType, Closed.
        """
        self._check_open("subscribe")
        if drop not in ("oldest", "newest", "close"):
            raise UsageError(f'drop is {drop!r}; allowed are "oldest", "newest" and "close"')
        usual = getattr(self._coordinator, "capacity_subscription", None) or self._limits.inbox_events
        capacity = int(usual) if capacity is None else capacity
        max_bytes = self._limits.inbox_bytes if max_bytes is None else max_bytes
        if capacity < 1 or max_bytes < 1:
            raise UsageError(f"capacity is {capacity} and max_bytes {max_bytes}; both must be at least 1")
        inbox: Inbox[Event] = Inbox(capacity, max_bytes, drop)
        loop = self._node.loop
        waker = Waker(loop)
        route = InboxRoute(self._checked("subscribe", types, topic), topic, echo, inbox, waker)

        def leave() -> None:
            self._router.remove(route)
            self._subscriptions.pop(subscription, None)

        subscription: Subscription[Event] = Subscription(inbox, waker, leave, lambda: turn(loop))
        self._subscriptions[subscription] = None
        self._add_route(route)
        return subscription

    def on(
        self, kind: type[A], call: Callable[[A], object], on_loss: Callable[[Loss], object] | None = None,
        *, topic: str | None = None, echo: bool = False,
    ) -> Callback:  # fmt: skip
        """Call `call(event)` for each event, straight from the link: the fastest way, without a
        queue.

        It must be short and must not block. Its exceptions are isolated, counted and logged once.
        Losses go to `on_loss`; without one they are logged. Returns a handle with `close()`. Raises
        UsageError, UnknownEventType, Closed.
        """
        self._check_open("on")
        refusals.check_callbacks(call, on_loss)
        types = self._checked("on", (kind,), topic)
        route: CallbackRoute[A] = CallbackRoute(
            types, topic, echo, call, on_loss, self._router.callback_errors
        )
        erased = cast("Route[Event]", route)
        self._add_route(erased)
        return Callback(lambda: self._router.remove(erased))

    def _add_route(self, route: Route[Event]) -> None:
        self._router.add(route)
        self._node.note_idle()

    def _checked(
        self, call: str, types: tuple[type[Event], ...], topic: str | None
    ) -> frozenset[type[Event]]:
        self._types.add(refusals.wanted(call, types, topic))
        return frozenset(types)

    # -- waiting -----------------------------------------------------------------------------------

    async def ready(self, timeout: float = 10.0, peers: int = 0) -> None:
        """Wait until a link is proven and `peers` nodes hear us and we hear them.

        Raises the ConfigError that made the bus FATAL; TimeoutError says what is missing.
        """
        self._check_open("ready")
        await progress.ready(self._node, timeout, peers)

    async def room(self) -> None:
        """Wait until less than half of the log is unsent: back-pressure for tight publishing loops."""
        self._check_open("room")
        if not self._node.is_roomy(progress.BREATHE_EVENTS):
            await progress.room(self._node)

    async def flush(self, timeout: float = 10.0) -> None:
        """Wait until everything published so far is confirmed by the server (where none confirms:
        sent).

        Says nothing about other nodes: that is `confirm`. Raises TimeoutError with what is missing.
        """
        self._check_open("flush")
        await progress.flush(self._node, timeout)

    async def confirm(self, seq: int, timeout: float = 10.0) -> Confirmed:
        """Which live nodes have event `seq`? Waits until all have it, or are known not to, or
        `timeout`.

        Never raises on timeout. A node that told a Gap over `seq` is missing.
        """
        self._check_open("confirm")
        last = self._node.engine.log.last
        if not 0 < seq <= last:
            raise UsageError(f"seq is {seq}; this node has published 1 to {last}")
        return await progress.confirm(self._node, seq, timeout)

    # -- looking -----------------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        """What of this bus is alive: for what is shipped with it (tracing, the page), not for others."""
        return self._node

    def status(self) -> Status:
        """A snapshot of this node, its links, peers and queues. Raises Closed before opening."""
        node = self._node
        if not hasattr(node, "engine"):
            raise self._refuse("status")
        is_disabled = self._connection is None and self._thread != _NOBODY
        return standing.status(node, self._router, "DISABLED" if is_disabled else node.state)

    def membership(self) -> Membership:
        """Who comes and goes, as an async iterator; starts with an `Up` for everybody who is here."""
        self._check_open("membership")
        present = [Up(peer.node, peer.epoch) for peer in self._node.live_peers()]
        membership = Membership(self._node.loop, present)
        self._memberships.add(membership)
        return membership

    def _on_change(self, change: Change) -> None:
        for membership in self._memberships:
            membership.offer(change)

    # -- changing and closing ----------------------------------------------------------------------

    async def reconfigure(self, coordinator: object, timeout: float = 15.0) -> None:
        """Move the running bus to another configuration without losing an event.

        The new link runs beside the old one (both carry the log; duplicates fall out by number) until
        everybody here lists us on it, so move all nodes at once; then the old one is closed. After `timeout`
        seconds the new one is dropped, nothing has changed. The cluster key is read again first. Raises
        ConfigError, TimeoutError, UsageError.
        """
        self._check_open("reconfigure")
        if self._is_reconfiguring:
            raise UsageError("reconfigure() is already running")
        decoded = opening.coordinator_of(coordinator, self._store)
        self._node.renew_key()
        connection = opening.prepare(self._node, decoded)
        if connection is not None:
            opening.check_loop(connection, self._node.loop.name)
        self._is_reconfiguring = True
        try:
            await self._node.replace(connection, timeout)
            self._coordinator, self._connection = decoded, connection
        finally:
            self._is_reconfiguring = False

    async def aclose(self) -> None:
        """Stop accepting, flush within the budget, say goodbye, close. At most `Limits.close`
        seconds; idempotent.

        Works in a cancelled scope, too. Subscriptions hand out what waits, then end.
        """
        if self._refusal is Forked or not hasattr(self._node, "engine"):
            self._refusal = Forked if self._refusal is Forked else Closed
            return
        if self._closing is None:
            self._take_foreign()
            self._thread = _NOBODY
            self._closing = self._node.loop.spawn(self._close, "bus.close")
        with anyio.CancelScope(shield=True):
            await self._closing.join(self._limits.close * 2)

    async def _close(self) -> None:
        try:
            await self._node.close(self._limits.close)
        finally:
            for subscription in list(self._subscriptions):
                subscription.end()
            for membership in self._memberships:
                membership.end()
            self._node.watchers.changed()

    def _forked(self) -> None:
        self._thread = _NOBODY
        self._refusal = Forked


def _mark_forked() -> None:
    for bus in list(_open_buses):
        bus._forked()  # pyright: ignore[reportPrivateUsage]  # our own class


os.register_at_fork(after_in_child=_mark_forked)
