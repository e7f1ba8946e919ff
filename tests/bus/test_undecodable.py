"""Bodies that msgspec does not take for a DecodeError: deep nesting, bad text (T24)."""

from __future__ import annotations

from typing import Any

import pytest

from bus import Bus, Event, Gap
from bus.protocol import control, frame as wire
from bus.testing.conformance.cluster import cluster_name
from bus.testing.conformance.harness import Harness
from bus.testing.conformance.station import Station, until

GHOST = 77


class Loose(Event, tag="undecodable.loose"):
    body: Any


TAG = b"\x92\xb1undecodable.loose"


@pytest.mark.parametrize(
    "body", [b"\x91" * 100_000 + b"\xc0", b"\xa2\xff\xff", b"\xc1"], ids=["nesting", "bad text", "no type"]
)
async def test_an_event_that_cannot_be_decoded_is_a_gap_and_the_next_one_comes(body: bytes) -> None:
    harness, cluster = Harness(coordinator=lambda: "memory://"), cluster_name()
    vandal = Station(harness, f"bus.{cluster}", "vandal")
    got: list[object] = []
    async with Bus.open("memory://", node="a", cluster=cluster, events=(Loose,)) as bus:
        bus.on(Loose, got.append, on_loss=got.append)
        await bus.ready(5)
        await vandal.connect()
        try:
            beat = control.Heartbeat(name="ghost", counter=1, uptime_us=0, last=2, sent=2)
            await vandal.send(wire.pack(wire.HEARTBEAT, 0, GHOST, 1, control.encode(beat)))
            await vandal.send(wire.pack_events(GHOST, 1, 2, [TAG + body]))
            await vandal.send(wire.pack_events(GHOST, 2, 3, [TAG + b"\x07"]))
            await until(lambda: Loose(7) in got, 5.0, lambda: f"{got}")
        finally:
            await vandal.drop()
    (loss,) = got[:-1]
    assert isinstance(loss, Gap)
    assert (loss.ranges, loss.reason) == (((1, 1),), "undecodable")
