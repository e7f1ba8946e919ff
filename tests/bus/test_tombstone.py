"""An event that no link can carry is told at its place as Gap(too_large_for_link) (rule 16)."""

from __future__ import annotations

import pytest

from bus import Bus, Event, Gap


class Named(Event, tag="tombstone.named"):
    """Tagged by a text."""

    number: int


class Numbered(Event, tag=4_711):
    """Tagged by a number, as our own tombstone is."""

    number: int


@pytest.mark.parametrize("kind", [Named, Numbered])
async def test_a_buried_event_is_told_between_its_neighbours(kind: type[Named] | type[Numbered]) -> None:
    cluster = f"tombstone-{kind.__name__}"
    async with (
        Bus.open("memory://", node="a", cluster=cluster) as sender,
        Bus.open("memory://", node="b", cluster=cluster) as receiver,
    ):
        await sender.ready(5, peers=1)
        inbox = receiver.subscribe(kind)
        for number in (1, 2, 3):
            sender.publish(kind(number))
        # What the engine does when a link died twice with this event in flight.
        sender._node.engine.log.bury(2)  # pyright: ignore[reportPrivateUsage]  # no public way to fail so
        items = [await anext(inbox) for _ in range(3)]
        gap = Gap("a", sender.status().epoch, ((2, 2),), "too_large_for_link")
        assert items == [kind(1), gap, kind(3)]
        assert (await sender.confirm(2, 5)).missing == {"b"}
        assert (await sender.confirm(3, 5)).heard == {"b"}
        assert [peer.lost for peer in receiver.status().peers] == [1]
