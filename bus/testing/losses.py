"""Losses on demand: is a program's `case Loss()` right? Put one into its stream and see.

A loss comes when a machine dies or a reader is slow, so the code for it runs first in production.
`inject` tells one to every subscription and callback of a bus, in order with the events: behind
those that were received before, in front of those that come after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.signals import Gap, Loss, Overflow, Resync

if TYPE_CHECKING:
    from bus.bus import Bus
    from bus.signals import GapReason

__all__ = ["Losses", "inject"]


def inject(bus: Bus, *losses: Loss) -> None:
    """Tell these losses to everybody who subscribed on `bus`. In the thread of the bus."""
    for loss in losses:
        bus._router.loss(loss)  # pyright: ignore[reportPrivateUsage]  # a door for tests, kept here


class Losses:
    """The three kinds, each by one call, with fields that do not matter to the test left out."""

    def gap(
        self, bus: Bus, first: int = 1, last: int = 1, *, node: str = "elsewhere", epoch: int = 1,
        reason: GapReason = "gone",
    ) -> Gap:  # fmt: skip
        """Events `first` to `last` of one node are lost for good."""
        gap = Gap(node, epoch, ((first, last),), reason)
        inject(bus, gap)
        return gap

    def overflow(self, bus: Bus, count: int = 1) -> Overflow:
        """Each subscriber was so slow that `count` events were dropped at its own queue."""
        overflow = Overflow(count)
        inject(bus, overflow)
        return overflow

    def resync(
        self, bus: Bus, *, node: str | None = None, epoch: int | None = None,
        after: int | None = None, reason: str = "injected",
    ) -> Resync:  # fmt: skip
        """An unknown number of events is missing: of one node, or of everybody (None)."""
        resync = Resync(node, epoch, after, reason)
        inject(bus, resync)
        return resync
