"""The bounded queue of one subscription: shared batches of events, and the losses between them.

Events come as the batch of one frame and stay that list, shared by all inboxes that take the whole
of it: a fan-out to fifty subscribers costs fifty references, not fifty copies. Bounds hold exactly
in events and, as the average of each batch, in encoded bytes. Losses (rule 11) do not count, are
never evicted, and are merged so that between two kept events stand at most one Overflow, one Gap
per epoch and one Resync per epoch.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, TypeVar

from bus.signals import Gap, Loss, Overflow, Resync

DropPolicy = Literal["oldest", "newest", "close"]
MAX_RANGES = 16

E = TypeVar("E")


class Chunk(Generic[E]):
    """The rest of one batch: `events[start:]`. The list is shared and never changed."""

    __slots__ = ("each", "events", "start")

    def __init__(self, events: list[E], each: int) -> None:
        self.events: list[E] = events
        self.start: int = 0
        self.each: int = each


class Losses:
    """What was lost between two kept events, merged."""

    __slots__ = ("dropped", "final", "told")

    def __init__(self) -> None:
        self.dropped: int = 0
        self.final: bool = False
        self.told: dict[tuple[type[Loss], int | None], Gap | Resync] = {}

    def add(self, loss: Loss) -> None:
        """Merge one loss."""
        if isinstance(loss, Overflow):
            self.dropped += loss.count
            self.final |= loss.final
        elif isinstance(loss, Gap):
            known = self.told.get((Gap, loss.epoch))
            ranges = _join(known.ranges, loss.ranges) if isinstance(known, Gap) else loss.ranges
            if len(ranges) <= MAX_RANGES:
                reason = known.reason if isinstance(known, Gap) else loss.reason
                self.told[Gap, loss.epoch] = Gap(loss.node, loss.epoch, ranges, reason)
            else:
                self.told.pop((Gap, loss.epoch), None)
                self.add(Resync(loss.node, loss.epoch, ranges[0][0] - 1, "many gaps"))
        elif isinstance(loss, Resync):
            known = self.told.get((Resync, loss.epoch))
            if isinstance(known, Resync):
                after = None if known.after is None or loss.after is None else min(known.after, loss.after)
                loss = Resync(known.node, known.epoch, after, known.reason)
            self.told[Resync, loss.epoch] = loss

    def items(self) -> list[Loss]:
        """The losses, in the order in which they are handed out."""
        overflow: list[Loss] = [Overflow(self.dropped, self.final)] if self.dropped else []
        return [*overflow, *self.told.values()]

    def pop(self) -> Loss:
        """Take the first one out; there must be one."""
        if self.dropped:
            overflow = Overflow(self.dropped, self.final)
            self.dropped = 0
            return overflow
        return self.told.pop(next(iter(self.told)))

    def __bool__(self) -> bool:
        return bool(self.dropped or self.told)


def _join(old: tuple[tuple[int, int], ...], new: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Ascending ranges of both, neighbours joined."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted((*old, *new)):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


class Inbox(Generic[E]):
    """A bounded queue of events with told loss; `drop` says which events go when it is full."""

    def __init__(self, capacity: int, max_bytes: int, drop: DropPolicy = "oldest") -> None:
        self.count: int = 0
        self.bytes: int = 0
        self.dropped: int = 0
        self.is_closed: bool = False
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._drop = drop
        # What waits. Public to be asked whether there is anything: a call would be half the price of `take`.
        self.items: deque[Chunk[E] | Losses] = deque()

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def capacity(self) -> int:
        """The most events that it holds."""
        return self._capacity

    def offer(self, events: list[E], size: int) -> None:
        """Add the events of one frame; `size` is their encoded bytes together."""
        if self.is_closed or not events:
            return
        count = len(events)
        each = max(1, -(-size // count))
        if self.count + count <= self._capacity and self.bytes + each * count <= self._max_bytes:
            self.count += count
            self.bytes += each * count
            self.items.append(Chunk(events, each))
        elif self._drop == "oldest":
            self.count += count
            self.bytes += each * count
            self.items.append(Chunk(events, each))
            self._evict()
        else:
            self._refuse(events, each)

    def tell(self, loss: Loss) -> None:
        """Add a loss behind what is queued."""
        if self.is_closed:
            return
        last = self.items[-1] if self.items else None
        if not isinstance(last, Losses):
            last = Losses()
            self.items.append(last)
        last.add(loss)
        if not last:  # an Overflow of none: nobody is to wake up for it
            self.items.pop()

    def close(self) -> None:
        """Take nothing more; what is queued can still be taken."""
        self.is_closed = True

    def take(self) -> E | Loss:
        """The next item. Raises IndexError when there is none."""
        head = self.items[0]
        if isinstance(head, Losses):
            loss = head.pop()
            if not head:
                self.items.popleft()
            return loss
        events, start = head.events, head.start
        head.start = after = start + 1
        self.count -= 1
        self.bytes -= head.each
        if after == len(events):
            self.items.popleft()
        return events[start]

    def take_all(self) -> list[E | Loss]:
        """Everything that waits, as a list of the caller's own."""
        taken: list[E | Loss] = []
        for item in self.items:
            if isinstance(item, Losses):
                taken += item.items()
            elif item.start:
                taken += item.events[item.start :]
            else:
                taken += item.events
        self.items.clear()
        self.count = self.bytes = 0
        return taken

    def _evict(self) -> None:
        """Drop the oldest events until the bounds hold; their Overflow stands at the head."""
        losses = Losses()
        dropped = 0
        while self.count > self._capacity or self.bytes > self._max_bytes:
            head = self.items[0]
            if isinstance(head, Losses):
                for loss in head.items():
                    losses.add(loss)
                self.items.popleft()
                continue
            waiting = len(head.events) - head.start
            excess = max(self.count - self._capacity, -(-(self.bytes - self._max_bytes) // head.each))
            gone = min(waiting, excess)
            head.start += gone
            self.count -= gone
            self.bytes -= gone * head.each
            dropped += gone
            if gone == waiting:
                self.items.popleft()
        losses.add(Overflow(dropped))
        self.dropped += dropped
        behind = self.items[0] if self.items else None
        if isinstance(behind, Losses):
            for loss in behind.items():
                losses.add(loss)
            self.items.popleft()
        self.items.appendleft(losses)

    def _refuse(self, events: list[E], each: int) -> None:
        """Keep what fits of the new events; the rest is an Overflow behind the last kept one."""
        room = min(self._capacity - self.count, (self._max_bytes - self.bytes) // each)
        if room > 0:
            self.count += room
            self.bytes += each * room
            self.items.append(Chunk(events[:room], each))
        dropped = len(events) - room
        self.dropped += dropped
        self.tell(Overflow(dropped, final=self._drop == "close"))
        if self._drop == "close":
            self.close()
