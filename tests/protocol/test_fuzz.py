"""Whatever comes, true, untrue or nonsense: the engine lives, stays small, and speaks readably.

Each seed is one long attack; a failure names the seed and the frame.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from bus.protocol import frame as wire
from bus.protocol.control import Entry
from bus.signals import Gap, Loss, Resync
from tests.protocol import corpus
from tests.protocol.kit import A, Delivered, beat, data, request
from tests.protocol.victim import SAMPLES, TOP, Victim, all_held, body, footprint, readable

WORDS = [0, 1, 2, 3, 4, 5, 9, 64, 0xFFFF, 1 << 31, 1 << 40, TOP - 1, TOP, 1 << 63, (1 << 64) - 1]


def some(dice: random.Random) -> int:
    """A number, often one of those that break things."""
    return dice.choice(WORDS) if dice.random() < 0.5 else dice.randrange(200)


def thing(dice: random.Random, depth: int = 0) -> object:
    """Any msgpack value."""
    roll = dice.randrange(10 if depth < 4 else 6)
    if roll < 4:
        return some(dice)
    if roll < 6:
        return dice.choice([None, True, "", "a", "é" * 64, b"\xff", 1.5, -1, float("inf")])
    if roll < 8:
        return [thing(dice, depth + 1) for _ in range(dice.randrange(6))]
    return {dice.choice("nculhsvwdgprqaz"): thing(dice, depth + 1) for _ in range(dice.randrange(6))}


def frame(dice: random.Random, epochs: list[int]) -> bytes:
    """A frame with a right checksum: true, untrue or nonsense."""
    epoch = dice.choice(epochs)
    roll = dice.randrange(8)
    if roll < 2:
        first = max(1, some(dice) % wire.MAX_SEQ)
        last = min(TOP, first + dice.randrange(5))
        return data(epoch, first, last, some(dice) % wire.MAX_SEQ, repeat=dice.random() < 0.3)
    if roll < 4:
        last = some(dice) % wire.MAX_SEQ
        entries = [Entry(dice.choice([2, *epochs]), *(some(dice) % wire.MAX_SEQ for _ in range(4)))
                   for _ in range(dice.randrange(4))]  # fmt: skip
        return beat(
            epoch, some(dice) % wire.MAX_SEQ, sent_us=some(dice) % wire.MAX_SEQ,
            name=dice.choice(["a", "b", "c", "é" * 64]), uptime_us=some(dice) % wire.MAX_SEQ,
            last=last, held=min(TOP, some(dice) % (last + 2)), sent=some(dice) % (last + 1),
            entries=entries, flags=dice.choice([0, 0, 0, 1, 2, 4, 0xFFDF]),
        )  # fmt: skip
    if roll < 5:
        ranges = [(some(dice) % wire.MAX_SEQ, some(dice) % wire.MAX_SEQ) for _ in range(4)]
        return request(epoch, {dice.choice([2, epoch]): ranges})
    if roll < 6:
        sample = bytearray(dice.choice(SAMPLES).frame)
        sample[dice.randrange(2, len(sample))] ^= 1 << dice.randrange(8)
        return corpus.reseal(bytes(sample))
    kind = dice.choice([1, 2, 3, 4, 5, 77])
    return body(kind, thing(dice), dice.choice([0, 0, 16, 0x8000]), epoch)


def orderly(stream: Sequence[Delivered | Loss], epoch: int) -> bool:
    """Ascending without a hole, but for what Resyncs took back."""
    at: int | None = None
    for item in stream:
        ranges: tuple[tuple[int, int], ...] = ()
        if not isinstance(item, Loss):
            ranges = ((item[1], item[1]),) if item[0] == epoch else ()
        elif isinstance(item, Gap):
            ranges = item.ranges if item.epoch == epoch else ()
        elif isinstance(item, Resync) and item.epoch == epoch:
            at = None
        for first, last in ranges:
            if at is not None and first != at + 1:
                return False
            at = last
    return True


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_the_engine_lives_and_speaks_readably(seed: int) -> None:
    dice = random.Random(seed)
    # With few epochs they are forgotten and come again; with many, each has one stream.
    limit = 8 if seed % 2 else 64
    victim = Victim(epochs=limit, hold_bytes=2_000)
    victim.sink.is_strict = False  # events of others come, too
    epochs = [A, 0, 1, 12, 13, (1 << 64) - 1, *range(30, 40)]
    now = 1.0
    for number in range(3_000):
        attack = frame(dice, epochs)
        try:
            victim.hear(attack, now=now)
            if number % 20 == 0:
                now += dice.choice([0.0, 0.05, 0.5])
                victim.publish(dice.randrange(3))
                victim.engine.tick(now)
                readable(victim.says(now))
            assert victim.hold.used == all_held(victim) <= 2_000
            assert len(victim.engine.peers) <= limit
        except Exception as error:
            error.add_note(f"seed {seed}, frame {number}: {attack.hex()}")
            raise
    for epoch in epochs if limit > 8 else ():
        assert orderly(victim.sink.stream, epoch), f"seed {seed}, epoch {epoch}"
    assert footprint(victim.engine) < 20_000
