"""From a frame to the inboxes: decode once, share the batch, wake each reader once.

The sink of the engine. Everything here is one synchronous call stack from `Context.deliver` to the
inbox; an error in a user's callback is counted, logged and isolated.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

from bus.event import Event, Message, Spoiled, Tombstone
from bus.protocol.frame import TRAILER, events_of, marks_of
from bus.signals import Duplicate, Gap, QueueStatus
from bus.vetting import Vetting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bus.event import EventTypes
    from bus.isolation import Waker
    from bus.protocol.frame import Header, Mark
    from bus.protocol.inbox import Inbox
    from bus.protocol.peer import Peer, Sink
    from bus.signals import Change, GapReason, Loss

log: logging.Logger = logging.getLogger("bus")

# So many names that several processes have are told in the log.
MOST_TWINS = 64

E = TypeVar("E", bound=Event)


class Route(Generic[E]):
    """One subscriber: which events, and where they go."""

    def __init__(self, types: frozenset[type[Event]], topic: str | None, echo: bool) -> None:
        self.types = types
        self.topic = topic
        self.echo = echo

    def offer(self, events: list[E], size: int) -> None:
        """A batch of its events; the list is shared and must not be changed."""
        raise TypeError("a route needs a destination")

    def tell(self, loss: Loss) -> None:
        """A loss, in order."""
        raise TypeError("a route needs a destination")

    def status(self) -> QueueStatus:
        """What waits there, and what was dropped."""
        raise TypeError("a route needs a destination")

    @property
    def name(self) -> str:
        """What it receives, in words."""
        names = ", ".join(sorted(kind.__name__ for kind in self.types))
        return names if self.topic is None else f"{names} {self.topic}"


class InboxRoute(Route[E]):
    """Into a bounded inbox, read by a task."""

    def __init__(
        self, types: frozenset[type[Event]], topic: str | None, echo: bool,
        inbox: Inbox[E], waker: Waker,
    ) -> None:  # fmt: skip
        super().__init__(types, topic, echo)
        self._inbox = inbox
        self._waker = waker

    def offer(self, events: list[E], size: int) -> None:
        """Queue and wake."""
        self._inbox.offer(events, size)
        self._waker.set()

    def tell(self, loss: Loss) -> None:
        """Queue and wake."""
        self._inbox.tell(loss)
        self._waker.set()

    def status(self) -> QueueStatus:
        """The books of the inbox."""
        inbox = self._inbox
        return QueueStatus(self.name, inbox.capacity, inbox.count, inbox.dropped)


class CallbackRoute(Route[E]):
    """Straight into a function: the fastest way, without a queue."""

    def __init__(
        self, types: frozenset[type[Event]], topic: str | None, echo: bool,
        call: Callable[[E], object], on_loss: Callable[[Loss], object] | None, errors: Counter[str],
    ) -> None:  # fmt: skip
        super().__init__(types, topic, echo)
        self._call = call
        self._on_loss = on_loss
        self._errors = errors

    def offer(self, events: list[E], size: int) -> None:
        """Call for each event; an exception ends neither the others nor the bus."""
        call = self._call
        for event in events:
            try:
                call(event)
            except Exception as error:  # noqa: BLE001  # the user's code: isolate, count, say once
                self._failed(call, error)

    def tell(self, loss: Loss) -> None:
        """Call `on_loss`; without one, say it in the log: loss is never silent."""
        if self._on_loss is None:
            log.warning("%s lost events and has no on_loss: %r", _name(self._call), loss)
            return
        try:
            self._on_loss(loss)
        except Exception as error:  # noqa: BLE001  # as above
            self._failed(self._on_loss, error)

    def status(self) -> QueueStatus:
        """No queue: nothing waits, nothing is dropped."""
        call = _name(self._call)
        return QueueStatus(f"{self.name} -> {call}", 0, 0, 0, self._errors[call])

    def _failed(self, call: Callable[..., object], error: Exception) -> None:
        name = _name(call)
        self._errors[name] += 1
        if self._errors[name] == 1:
            log.error(
                "%s raised %s (further ones are only counted)",
                name,
                type(error).__name__,
                exc_info=error,
            )


def _name(call: object) -> str:
    return str(getattr(call, "__qualname__", call))


class Router:
    """Event type -> routes; the sink of the engine."""

    def __init__(self, types: EventTypes, on_change: Callable[[Change], None]) -> None:
        self.unknown: int = 0
        self.callback_errors: Counter[str] = Counter()
        # Sees everything as it comes, undecoded, to cost little: the live view, while somebody looks.
        self.tap: Sink | None = None
        # Gets the events of a frame and the traces of some: who traces, else None.
        self.on_traced: Callable[[Sequence[Event | Spoiled], list[Mark]], None] | None = None
        self.vetting: Vetting = Vetting(types)
        self._types = types
        self._on_change = on_change
        self._twins: set[str] = set()
        self._by_type: dict[type[Event], dict[Route[Event], None]] = {}
        self._all: dict[Route[Event], None] = {}
        self._echoes: dict[Route[Event], None] = {}

    @property
    def has_echoes(self) -> bool:
        """Somebody wants this node's own events."""
        return bool(self._echoes)

    def add(self, route: Route[Event]) -> None:
        """Start to deliver to it."""
        self._all[route] = None
        for cls in route.types:
            self._by_type.setdefault(cls, {})[route] = None
        if route.echo:
            self._echoes[route] = None

    def remove(self, route: Route[Event]) -> None:
        """Deliver nothing more to it."""
        self._all.pop(route, None)
        self._echoes.pop(route, None)
        for cls in route.types:
            self._by_type.get(cls, {}).pop(route, None)

    def queues(self) -> tuple[QueueStatus, ...]:
        """Every subscriber, in the order in which they came."""
        return tuple(route.status() for route in self._all)

    # -- the sink of the engine --------------------------------------------------------------------

    def events(self, peer: Peer, header: Header, frame: bytes, skip: int) -> bool:
        """The events of one DATA frame, in order. True: not before its types are known."""
        events: list[Event] | None = None
        try:
            body = events_of(frame, header)
            events = self._types.decode(body)
            parts = self._types.decode_apart(body) if events is None else events
        except ValueError:
            parts = []
        refused: dict[type[Event], str] = {}
        if peer.vetted != self._types.version and len(parts) == header.count:
            kinds = _kinds(parts) if events is None else set(map(type, events))
            verdicts = self.vetting.judge(peer, kinds)
            if verdicts is None:
                return True
            if not kinds.isdisjoint(verdicts.bad):
                events, refused = None, verdicts.bad
        if self.tap is not None:
            self.tap.events(peer, header, frame, skip)
        if header.flags & TRAILER and self.on_traced is not None:
            self.on_traced(parts, marks_of(frame, header))
        if len(parts) != header.count:
            last = header.first_seq + header.count - 1
            self._lose(peer, header.first_seq + skip, last, "undecodable", self._all)
        elif events is not None:
            self._spread(events[skip:] if skip else events, len(frame), self._types.only)
        else:
            self._spread_parts(peer, header, parts, skip, len(frame) // header.count, refused)
        return False

    def loss(self, loss: Loss) -> None:
        """A loss of one peer is everybody's: nobody knows what was in it."""
        if self.tap is not None:
            self.tap.loss(loss)
        for route in list(self._all):
            route.tell(loss)

    def change(self, change: Change) -> None:
        """A change of membership."""
        if self.tap is not None:
            self.tap.change(change)
        self._on_change(change)
        if isinstance(change, Duplicate) and change.node not in self._twins and len(self._twins) < MOST_TWINS:
            self._twins.add(change.node)  # it comes again for as long as they live; the log has it once
            log.error(
                "%d live processes have the name %s: give each its own", len(change.epochs), change.node
            )

    def echo(self, event: Event, size: int) -> None:
        """This node's own event, for subscribers with `echo=True`."""
        kind = type(event)
        for route in list(self._echoes):
            if kind in route.types:
                self._offer(route, [event], size)

    # -- inside ------------------------------------------------------------------------------------

    def _spread_parts(
        self, peer: Peer, header: Header, parts: Sequence[Event | Spoiled], skip: int, each: int,
        refused: dict[type[Event], str],
    ) -> None:  # fmt: skip
        """Runs of good events, with the Gaps between them in their places."""
        run: list[Event] = []
        for offset in range(skip, len(parts)):
            part = parts[offset]
            kind = part.type if isinstance(part, Spoiled) else type(part)
            if not isinstance(part, Spoiled) and kind not in refused:
                run.append(part)
                continue
            if run:
                self._spread(run, each * len(run))
                run = []
            self._spoil(peer, header.first_seq + offset, kind, "schema" if kind in refused else "undecodable")
        if run:
            self._spread(run, each * len(run))

    def _spread(self, events: list[Event], size: int, only: type[Event] | None = None) -> None:
        kinds = set(map(type, events)) if only is None else {only}
        if len(kinds) == 1:
            if routes := self._by_type.get(kinds.pop()):
                for route in list(routes):
                    self._offer(route, events, size)
            return
        chosen: dict[frozenset[type[Event]], list[Event]] = {}
        for route in dict.fromkeys(route for kind in kinds for route in self._by_type.get(kind, ())):
            mine = chosen.get(route.types)
            if mine is None:
                # Whoever takes all kinds of this frame shares its list.
                mine = events if kinds <= route.types else [e for e in events if type(e) in route.types]
                chosen[route.types] = mine
            self._offer(route, mine, size * len(mine) // len(events))

    def _offer(self, route: Route[Event], events: list[Event], size: int) -> None:
        if route.topic is not None:
            mine = [event for event in events if _is_on(route.topic, event)]
            size = size * len(mine) // len(events)
            events = mine
            if not events:
                return
        route.offer(events, size)

    def _spoil(self, peer: Peer, seq: int, kind: type[Event] | None, reason: GapReason) -> None:
        if kind is None:
            self.unknown += 1
        elif kind is Tombstone:
            self._lose(peer, seq, seq, "too_large_for_link", self._all)
        else:
            self._lose(peer, seq, seq, reason, self._by_type.get(kind, {}))

    def _lose(
        self, peer: Peer, first: int, last: int, reason: GapReason, routes: dict[Route[Event], None]
    ) -> None:
        peer.spoil(first, last)
        gap = Gap(peer.node, peer.epoch, ((first, last),), reason)
        if self.tap is not None:
            self.tap.loss(gap)
        for route in list(routes):
            route.tell(gap)


def _kinds(parts: Sequence[Event | Spoiled]) -> set[type[Event]]:
    """The types that are known here, whether they could be read or not."""
    kinds: set[type[Event] | None] = {
        part.type if isinstance(part, Spoiled) else type(part) for part in parts
    }
    return {kind for kind in kinds if kind is not None}


def _is_on(pattern: str, event: Event) -> bool:
    return isinstance(event, Message) and matches(pattern, event.topic)


def matches(pattern: str, topic: str) -> bool:
    """`*` stands for one word, `>` at the end for one or more; words are joined by dots."""
    if pattern == topic or pattern == ">":
        return True
    wanted: Sequence[str] = pattern.split(".")
    words = topic.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(words) <= len(wanted):
            return False
        words = words[: len(wanted)]
    return len(wanted) == len(words) and all(w in ("*", word) for w, word in zip(wanted, words, strict=True))
