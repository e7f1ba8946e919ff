"""What users see on a healthy system: every event, everywhere, in order, once, unchanged; and the truth."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from bus import Down, Resync, TooLarge
from bus.protocol import frame as wire
from bus.testing.conformance.cluster import (
    Node,
    Note,
    all_balanced,
    all_heard,
    all_ready,
    cluster_name,
    node,
    nodes,
    refused,
)
from bus.testing.conformance.station import Station, until

if TYPE_CHECKING:
    from bus.testing.conformance.harness import Harness

LARGEST_EVENT = 960 * 1024
BURST = 20_000
GOODBYE = 1.5
FOREIGN_VERSION = 9


class Buses:
    """Scenarios through `Bus`, without any fault."""

    async def test_every_other_node_hears_every_event(self, harness: Harness) -> None:
        """Three nodes publish at the same time; each gets all of both others, in order, once."""
        async with nodes(harness, 3) as made:
            for _ in range(50):
                for one in made:
                    one.publish(10)
                await asyncio.sleep(0.001)
            await all_heard(harness, made)

    async def test_a_node_does_not_hear_itself(self, harness: Harness) -> None:
        """Own events come to subscribers with `echo=True` only, and there at once and once."""
        async with nodes(harness, 2) as (one, other):
            async with one.bus.subscribe(Note, echo=True) as inbox:
                one.publish(100)
                await all_heard(harness, [one, other])
                # For what must not come back there is no condition to wait for.
                await asyncio.sleep(0.2)
                own = [item.number for item in await inbox.batch() if isinstance(item, Note)]
            assert own == list(range(1, 101)), f"with echo=True it got {own[:5]}..., not 1 to 100"
            assert not one.numbers(one), f"it heard itself: {one.numbers(one)[:5]}"

    async def test_clusters_do_not_mix(self, harness: Harness) -> None:
        """Two clusters on one system: neither events nor members of the other are seen."""
        name = cluster_name()
        async with (
            nodes(harness, 2, name) as made,
            nodes(harness, 2, name + "-2", "stranger") as strangers,
        ):
            for one in (*made, *strangers):
                one.publish(100, one.cluster.encode())
            await all_heard(harness, made)
            await all_heard(harness, strangers)
            # For what must not come there is no condition to wait for.
            await asyncio.sleep(0.2)
            for one in (*made, *strangers):
                foreign = [note for note in one.events if note.body != one.cluster.encode()]
                assert not foreign, f"{one.name} got events of the other cluster"
                peers = [peer.node for peer in one.bus.status().peers]
                assert len(peers) == 1, f"{one.name} has the peers {peers}, one is of its cluster"

    async def test_two_buses_of_one_process_are_two_nodes(self, harness: Harness) -> None:
        """Each has an epoch of its own, lists the other one, and outlives it."""
        async with nodes(harness, 1) as (one,):
            async with node(harness, "guest", one.cluster) as guest:
                await all_ready(harness, [one, guest])
                assert one.bus.status().epoch != guest.bus.status().epoch
                for me, other in ((one, guest), (guest, one)):
                    peers = {peer.node: peer.epoch for peer in me.bus.status().peers}
                    expected = {other.name: other.bus.status().epoch}
                    assert peers == expected, f"{me.name} lists {peers}, not {expected}"
            async with node(harness, "second guest", one.cluster) as guest:
                await all_ready(harness, [one, guest])
                one.publish(10)
                guest.publish(10)
                await all_heard(harness, [one, guest])

    async def test_events_of_every_size_arrive_exactly(self, harness: Harness) -> None:
        """From no bytes to exactly 960 KiB; one byte more raises TooLarge and the bus lives on."""
        async with nodes(harness, 2) as (one, other):
            room = LARGEST_EVENT - _overhead(one)
            sizes = (0, 1, 255, 256, 65_535, 65_536, 59_000, 262_144, 500_000, room)
            bodies = [random.Random(size).randbytes(size) for size in sizes]
            bodies.append(bytes(range(256)) * 16)
            for body in bodies:
                one.publish(1, body)
            try:
                one.bus.publish(Note(one.name, 99, bytes(room + 1)))
            except TooLarge as error:
                assert str(LARGEST_EVENT) in str(error), f"the limit is not named: {error}"
            else:
                raise AssertionError("an event over 960 KiB was accepted")
            one.publish(1, b"after")
            await all_heard(harness, [one, other], 3 * harness.patience)
            bodies.append(b"after")
            for note, body in zip(other.events, bodies, strict=True):
                assert note.body == body, f"an event of {len(body)} bytes was changed"

    async def test_a_burst_is_delivered_or_told(self, harness: Harness) -> None:
        """Of 20,000 events in one go every one is accounted for, the last ones included."""
        async with nodes(harness, 2) as (one, other):
            one.publish(BURST, b"x" * 100)
            await all_balanced([one, other], 4 * harness.patience)
            told = other.account(one).told
            assert told < BURST // 2, f"{told} of {BURST} events were lost on a healthy system"

    async def test_the_last_event_before_silence_arrives(self, harness: Harness) -> None:
        """A single event, and the last one of a burst, are not held back until something follows."""
        async with nodes(harness, 2) as (one, other):
            for count in (1, 1, 500):
                one.publish(count)
                await all_heard(harness, [one, other])

    async def test_foreign_frames_are_ignored_and_counted(self, harness: Harness) -> None:
        """Garbage, broken and foreign-version frames on the channel: no event, no loss, no peer."""
        async with nodes(harness, 2) as (one, other):
            vandal = Station(harness, f"bus.{one.cluster}", "vandal")
            try:
                await vandal.connect()
                expected = {"short", "magic", "version", "crc", "count", "kind", "unknown"}

                def uncounted() -> set[str]:
                    return {
                        reason
                        for reason in expected
                        for listener in (one, other)
                        if not refused(listener.bus)[reason]
                    }

                deadline = time.monotonic() + harness.open_timeout
                while uncounted() and time.monotonic() < deadline:
                    await vandal.send(*_junk())
                    await asyncio.sleep(0.05)
                assert not uncounted(), f"not counted: {sorted(uncounted())}"
                one.publish(100)
                other.publish(100)
                await vandal.send(*_junk())
                await all_heard(harness, [one, other])
                for me in (one, other):
                    peers = [peer.node for peer in me.bus.status().peers]
                    assert len(peers) == 1, f"{me.name} has the peers {peers}"
            finally:
                await vandal.drop()

    async def test_a_late_joiner_starts_at_its_baseline(self, harness: Harness) -> None:
        """No history and no loss for what was before; everything from then on."""
        async with nodes(harness, 2) as made:
            made[0].publish(100)
            await all_heard(harness, made)
            async with node(harness, "late", made[0].cluster) as late:
                await all_ready(harness, [*made, late])
                baselines = {peer.node: peer.baseline for peer in late.bus.status().peers}
                assert baselines == {"node-1": 101, "node-2": 1}, f"baselines: {baselines}"
                made[0].publish(10)
                made[1].publish(10)
                await until(
                    lambda: late.count(made[0]) >= 10 and late.count(made[1]) >= 10,
                    harness.patience,
                    lambda: f"the late joiner got {late.numbers(made[0])}",
                )
                assert late.numbers(made[0]) == list(range(101, 111)), "history was delivered"
                assert late.numbers(made[1]) == list(range(1, 11))
                assert not late.losses, f"a late joiner was told {late.losses}"

    async def test_a_node_that_closes_says_goodbye(self, harness: Harness) -> None:
        """The others get Down at once, its last events before, and no Resync."""
        async with nodes(harness, 2) as made:
            changes: set[object] = set()

            async def watch() -> None:
                async for change in made[0].bus.membership():
                    changes.add(change)

            watching = asyncio.create_task(watch())
            try:
                async with node(harness, "guest", made[0].cluster) as guest:
                    await all_ready(harness, [*made, guest])
                    epoch = guest.bus.status().epoch
                    guest.publish(500)
                down = Down("guest", epoch)
                await until(
                    lambda: down in changes,
                    GOODBYE,
                    lambda: f"closed {GOODBYE} s ago, and the others only saw {changes}",
                )
                await until(
                    lambda: all(one.count(guest) == 500 for one in made),
                    harness.patience,
                    "events that were published before aclose() did not arrive",
                )
                for one in made:
                    one.check_order(guest)
                    resyncs = [loss for loss in one.losses if isinstance(loss, Resync)]
                    assert not resyncs, f"a goodbye was told as {resyncs}"
            finally:
                watching.cancel()
                await asyncio.wait({watching})

    async def test_status_tells_the_truth(self, harness: Harness) -> None:
        """Type, channel, state, peers and counts, while alone, in company, and after the end."""
        async with nodes(harness, 1) as (one,):
            status = one.bus.status()
            assert (status.node, status.state, status.alone) == (one.name, "READY", True)
            assert [link.channel for link in status.links] == [f"bus.{one.cluster}"]
            async with node(harness, "guest", one.cluster) as guest:
                await all_ready(harness, [one, guest])
                one.publish(10)
                await all_heard(harness, [one, guest])
                await until(
                    lambda: not guest.bus.status().alone,
                    harness.patience,
                    "it hears a peer, and says that it is alone",
                )
                status = guest.bus.status()
                (peer,) = status.peers
                assert (peer.node, peer.state, peer.lost) == (one.name, "UP", 0)
                assert (peer.position, peer.delivered) == (10, 10)
                assert one.bus.status().published == 10
                assert [link.error for link in status.links] == [None]
            await until(
                lambda: one.bus.status().alone,
                harness.patience,
                "its only peer said goodbye, and it does not say that it is alone",
            )
        assert one.bus.status().state == "CLOSED", f"after the end: {one.bus.status().state}"

    async def test_confirm_names_the_nodes_that_have_an_event(self, harness: Harness) -> None:
        """`flush` returns, and `confirm` lists every other node and no other."""
        async with nodes(harness, 3) as (one, *others):
            one.publish(10)
            await one.bus.flush(harness.patience)
            confirmed = await one.bus.confirm(10, harness.patience)
            names = frozenset(other.name for other in others)
            assert (confirmed.heard, confirmed.missing) == (names, frozenset()), f"{confirmed}"


def _overhead(one: Node) -> int:
    """Bytes that an event of nearly 960 KiB has around its body."""
    import msgspec

    return len(msgspec.msgpack.encode(Note(one.name, 10, bytes(70_000)))) - 70_000


def _junk() -> list[bytes]:
    """Frames of nobody: each of another reason to be refused."""
    noise = random.Random(7)
    stranger = noise.getrandbits(63)
    good = wire.pack_events(stranger, 1, 1, [b"\xc0"])
    version = bytearray(good)
    version[2] = FOREIGN_VERSION
    broken = bytearray(good)
    broken[-1] ^= 0xFF
    return [
        *(noise.randbytes(size) for size in (1, 7, 39)),
        *(noise.randbytes(size) for size in (40, 100, 5_000)),
        b"\0" * 64,
        good,
        bytes(version),
        bytes(broken),
        good[:-1],
        wire.pack(wire.DATA, 0, stranger, 2, b"\xdd\0\0\0\x05\xc0", 1, 2),
        wire.pack(99, 0, stranger, 3, b""),
    ]
