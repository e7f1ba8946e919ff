"""What a link does to frames, on a healthy system: all of them, to everybody, in order, once, unchanged.

The core can repair loss, repeats and disorder; it is there for the day on which the server dies. A
backend that needs it on every other day wastes the network, so here nothing is forgiven.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bus.testing.conformance.footprint import watchdog
from bus.testing.conformance.station import (
    Station,
    channel,
    hears,
    meet,
    numbered,
    numbers,
    relay,
    stations,
    until,
)

if TYPE_CHECKING:
    from bus.testing.conformance.harness import Harness

# Header and array of a DATA frame come on top of the largest event (960 KiB).
LARGEST_EVENT_FRAME = 960 * 1024 + 45
# A frame above `max_frame` may be split by the system and is then lost more easily; the core repeats it.
TRIES = 5
LONGEST_GAP = 0.100


class Frames:
    """Scenarios of the contract itself: frames in, frames out."""

    async def test_every_link_of_a_channel_hears_every_frame(self, harness: Harness) -> None:
        """Broadcast, not a work queue: each of three links hears all frames of both others."""
        async with stations(harness, 3) as made:
            frames = {
                sender: [b"%s/%03d" % (sender.name.encode(), number) for number in range(100)]
                for sender in made
            }
            for sender in made:
                await sender.send(*frames[sender])

            def missing() -> dict[str, int]:
                return {
                    f"{station.name} of {sender.name}": len(set(frames[sender]) - set(station.heard))
                    for station in made
                    for sender in made
                    if sender is not station and set(frames[sender]) - set(station.heard)
                }

            await until(lambda: not missing(), harness.patience, lambda: f"frames missing: {missing()}")

    async def test_no_frame_is_lost_on_a_healthy_system(self, harness: Harness) -> None:
        """Of 2,000 frames sent no faster than they are received, none is missing."""
        frames = [numbered(number) for number in range(2_000)]
        async with stations(harness, 2) as (sender, receiver):
            await relay(sender, [receiver], frames)
            lost = sorted(set(range(2_000)) - set(numbers(receiver.heard)))
            assert not lost, f"{len(lost)} of 2000 frames were lost, the first are {lost[:5]}"

    async def test_frames_of_one_link_arrive_in_the_order_of_send(self, harness: Harness) -> None:
        """A frame never overtakes one that the same link sent before it."""
        frames = [numbered(number) for number in range(1_000)]
        async with stations(harness, 2) as (sender, receiver):
            await relay(sender, [receiver], frames)
            came = numbers(receiver.heard)
            turned = [(a, b) for a, b in itertools.pairwise(came) if b < a]
            assert not turned, f"frames overtook others: {turned[:5]}"
            assert came, "no frame arrived"

    async def test_no_frame_arrives_twice(self, harness: Harness) -> None:
        """On a healthy system nothing is sent again, by the backend or by its library."""
        frames = [numbered(number) for number in range(500)]
        async with stations(harness, 3) as (sender, *receivers):
            await relay(sender, receivers, frames)
            for receiver in receivers:
                twice = [n for n, times in Counter(numbers(receiver.heard)).items() if times > 1]
                assert not twice, f"{receiver.name} got {len(twice)} frames twice: {twice[:5]}"
                assert receiver.heard, "no frame arrived"

    async def test_the_last_frame_before_silence_arrives(self, harness: Harness) -> None:
        """Nothing waits for the next frame to push it out."""
        async with stations(harness, 2) as (sender, receiver):
            for number in range(3):
                await sender.send(numbered(number))
                await until(
                    hears(receiver, number),
                    harness.patience,
                    f"frame {number} was followed by silence and did not arrive",
                )

    async def test_frames_arrive_byte_for_byte(self, harness: Harness) -> None:
        """All byte values at both ends, and sizes from 1 byte to `Features.max_frame`."""
        async with stations(harness, 2) as (sender, receiver):
            most = sender.features.max_frame
            sizes = [1, 2, 3, 40, 45, 127, 128, 255, 256, 4_095, 4_096, 16_384, 65_535, 65_536]
            sizes = sorted({size for size in (*sizes, sender.features.frame) if size < most})
            frames = [bytes([value]) * 3 for value in range(256)]
            frames += [bytes(range(256)), b"\r\n", b"\0", b"MSG x 1 2\r\n", b"\xc3\x28"]
            frames += [_noise(size) for size in (*sizes, most)]
            frames = list(dict.fromkeys(frames))
            await relay(sender, [receiver], frames, window=4)
            _compare(frames, receiver.heard)

    async def test_the_largest_frames_arrive(self, harness: Harness) -> None:
        """An event of 960 KiB, and exactly `Features.max_message`; repeated as the core would do it."""
        async with stations(harness, 2) as (sender, receiver):
            most = sender.features.max_message
            for size in sorted({min(LARGEST_EVENT_FRAME, most), most}):
                frame = _noise(size)

                def has_come(expected: bytes = frame) -> bool:
                    return expected in receiver.heard

                for _ in range(TRIES):
                    await sender.send(frame)
                    try:
                        await until(has_come, harness.patience / TRIES, "")
                        break
                    except AssertionError:
                        continue
                _compare([frame], receiver.heard)

    async def test_channels_do_not_mix(self, harness: Harness) -> None:
        """Not even where one name is the beginning of another, or differs only in case."""
        name = channel()
        others = [name + "x", name + "-1", name[:-1], name.upper().replace("BUS.", "bus.", 1)]
        async with stations(harness, 2, on=name) as (first, second):
            strangers = [Station(harness, other, other) for other in others]
            try:
                for number, stranger in enumerate(strangers):
                    await stranger.connect()
                    await stranger.send(numbered(1_000 + number))
                await relay(first, [second], [numbered(number) for number in range(20)])
                await relay(second, [first], [numbered(100 + number) for number in range(20)])
                for stranger in strangers:
                    await stranger.send(numbered(2_000))
                # For what must not come there is no condition to wait for.
                await asyncio.sleep(0.2)
                for stranger in strangers:
                    foreign = [n for n in numbers(stranger.heard) if n < 1_000]
                    assert not foreign, f"frames of {name} were heard on {stranger.name}"
                for station in (first, second):
                    foreign = [n for n in numbers(station.heard) if n >= 1_000]
                    assert not foreign, f"{name} hears frames of other channels: {foreign}"
            finally:
                for stranger in strangers:
                    await stranger.drop()

    async def test_own_frames_come_back_only_as_proof(self, harness: Harness) -> None:
        """With `proof` "echo" each own frame comes back unchanged, once; with any other, none does."""
        frames = [numbered(number) for number in range(50)]
        async with stations(harness, 2) as (sender, receiver):
            expects_echo = sender.features.proof == "echo"
            listening = [receiver, sender] if expects_echo else [receiver]
            await relay(sender, listening, frames)
            # For an echo too many there is no condition to wait for.
            await asyncio.sleep(0.1)
            expected = frames if expects_echo else []
            assert sender.heard == expected, (
                f"Features.proof is {sender.features.proof!r}; of 50 own frames "
                f"{len(sender.heard)} came back, expected {len(expected)}, each unchanged and once"
            )

    async def test_what_is_sent_after_connect_returned_arrives(self, harness: Harness) -> None:
        """`connect` returns when positioned: a frame sent at that moment by another node is heard."""
        name = channel()
        async with stations(harness, 1, on=name) as (sender,):
            for number in range(10):
                receiver = Station(harness, name, f"receiver-{number}")
                try:
                    await receiver.connect()
                    await meet([sender, receiver])
                    await sender.send(numbered(number))
                    await until(
                        hears(receiver, number),
                        harness.patience,
                        "connect() returned, then a frame was sent, and it never arrived: connect() "
                        "must wait until the system has confirmed the subscription",
                    )
                finally:
                    await receiver.drop()

    async def test_a_new_link_hears_nothing_old(self, harness: Harness) -> None:
        """There is no history: what was sent before `connect` does not come."""
        name = channel()
        async with stations(harness, 2, on=name) as (sender, witness):
            await relay(sender, [witness], [numbered(number) for number in range(100)])
            late = Station(harness, name, "late")
            try:
                await late.connect()
                await meet([sender, late])
                await sender.send(numbered(100))
                await until(hears(late, 100), harness.patience, "nothing came")
                assert numbers(late.heard) == [100], f"old frames came: {numbers(late.heard)[:5]}"
            finally:
                await late.drop()

    async def test_confirms_and_stamps_come_exactly_if_features_say_so(self, harness: Harness) -> None:
        """`confirmed()` once per frame with `confirms`, else never; stamps with `broker_time`."""
        async with stations(harness, 2) as (sender, receiver):
            await relay(sender, [receiver], [numbered(number) for number in range(100)])
            expected = sender.sent if sender.features.confirms else 0
            await until(
                lambda: sender.recorder.confirmed >= expected,
                harness.patience,
                lambda: f"{sender.recorder.confirmed} of {expected} frames were confirmed",
            )
            assert sender.recorder.confirmed == expected, (
                f"confirmed() was called {sender.recorder.confirmed} times, expected {expected}: "
                f"Features.confirms is {sender.features.confirms}"
            )
            stamps, frames = len(receiver.recorder.stamps), len(receiver.heard)
            expected = frames if receiver.features.broker_time else 0
            assert stamps == expected, (
                f"{stamps} of {frames} frames had a stamp, expected {expected}: "
                f"Features.broker_time is {receiver.features.broker_time}"
            )

    async def test_the_server_proves_the_connection_if_features_say_so(self, harness: Harness) -> None:
        """With `proof` "server", `proven()` comes before `connect` returns and again within 3 s."""
        async with stations(harness, 1) as (station,):
            if station.features.proof == "server":
                assert station.recorder.proven, "connect() returned without proven()"
                before = station.recorder.proven
                await until(lambda: station.recorder.proven > before, 3.0, "no second proof within 3 s")
            else:
                await station.send(numbered(1))
                # For a proof that must not come there is no condition to wait for.
                await asyncio.sleep(0.1)
                assert not station.recorder.proven, (
                    f"proven() was called, but Features.proof is {station.features.proof!r}"
                )

    async def test_the_event_loop_is_not_blocked(self, harness: Harness) -> None:
        """While 2,000 frames pass, no other task waits 100 ms; the best of three runs counts."""
        longest: list[float] = []
        async with stations(harness, 2) as (sender, receiver):
            for _ in range(3):
                receiver.heard.clear()
                frames = [numbered(number, 1_024) for number in range(2_000)]
                async with watchdog() as gaps:
                    await relay(sender, [receiver], frames)
                longest.append(gaps.longest)
                if gaps.longest < LONGEST_GAP:
                    return
        raise AssertionError(
            f"the loop stood still for {min(longest) * 1e3:.0f} ms and more while frames passed"
        )


def _noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def _compare(sent: Sequence[bytes], heard: Iterable[bytes]) -> None:
    """Raise AssertionError for the first frame that did not arrive as it was sent."""
    came = set(heard)
    strange = came.difference(sent)
    for frame in sent:
        if frame in came:
            continue
        changed = [len(other) for other in strange if other[:4] == frame[:4]]
        what = f"was changed, it came with {changed[0]} bytes" if changed else "did not arrive"
        raise AssertionError(f"a frame of {len(frame)} bytes ({frame[:8].hex()}...) {what}")
