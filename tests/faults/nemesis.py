"""The nemesis: a seed makes a schedule of faults, any two of them at a time, that can be played again.

    hands = broker_hands(broker) | proxy_hands(proxy) | node_hands(members)
    steps = schedule(4711, seconds=120, kinds=sorted(hands))
    print(*steps, sep="\\n")
    play(steps, hands)                  # blocks; everything is healed when it returns

A hand is called with True when its fault begins, and with False when it ends. Whoever has other things to do
to a system adds hands of its own.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from bus.testing.brokers import Broker
from bus.testing.proxy import Proxy, Toxics
from tests.faults.crew import Member, pause

Hand = Callable[[bool], None]

# Seconds: of one fault, and of the peace between two pairs of them, in which all is to recover.
SHORTEST, LONGEST = 0.5, 8.0
PEACE = (3.0, 8.0)


class Step(NamedTuple):
    """One fault, from `start` to `end` (seconds of the schedule)."""

    start: float
    end: float
    kind: str

    def __str__(self) -> str:
        return f"{self.start:7.1f} s to {self.end:7.1f} s: {self.kind}"


def schedule(seed: int, seconds: float, kinds: Sequence[str]) -> list[Step]:
    """Pairs of different faults that overlap, with peace after each; all of it within `seconds`.

    The same seed, seconds and kinds make the same schedule. Raises ValueError with less than two kinds.
    """
    if len(set(kinds)) < 2:
        raise ValueError(f"kinds are {list(kinds)}; two different faults at a time need at least two")
    rng = random.Random(seed)
    steps: list[Step] = []
    now = rng.uniform(*PEACE)
    while True:
        pair = rng.sample(sorted(set(kinds)), 2)
        first = Step(now, now + rng.uniform(SHORTEST, LONGEST), pair[0])
        start = rng.uniform(first.start, first.end)
        second = Step(start, start + rng.uniform(SHORTEST, LONGEST), pair[1])
        over = max(first.end, second.end)
        now = over + rng.uniform(*PEACE)
        if now > seconds:
            return steps
        steps += [first, second]


def play(
    steps: Sequence[Step],
    hands: Mapping[str, Hand],
    told: Callable[[str], object] = lambda line: None,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Do it, in real time; ends early when `is_over`, and always with everything healed.

    `told` gets a line for each change. Raises what a hand raises.
    """
    moments = [(step.start, True, step) for step in steps] + [(step.end, False, step) for step in steps]
    began = time.monotonic()
    active: list[Step] = []
    try:
        for at, begins, step in sorted(moments, key=lambda moment: moment[:2]):
            while (left := began + at - time.monotonic()) > 0 and not is_over():
                pause(min(left, 0.2))
            if is_over():
                return
            told(f"{time.monotonic() - began:7.1f} s: {step.kind} {'begins' if begins else 'ends'}")
            # Noted before: what is half begun is to be healed as well.
            active.append(step) if begins else active.remove(step)
            hands[step.kind](begins)
    finally:
        for step in active:
            hands[step.kind](False)


def broker_hands(broker: Broker) -> dict[str, Hand]:
    """The broker dies, or freezes; both at once is dead, and frozen when it is back."""
    active: set[str] = set()

    def hand(kind: str) -> Hand:
        def do(begins: bool) -> None:
            (active.add if begins else active.discard)(kind)
            if "broker killed" in active:
                broker.kill()
            else:
                broker.mend()
                if "broker frozen" in active:
                    broker.pause()

        return do

    return {kind: hand(kind) for kind in ("broker killed", "broker frozen")}


# Fields of Toxics, of what goes to the broker and of what comes from it.
_TOXICS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "both ways silent": ({"hold": True}, {"hold": True}),
    "nothing to the broker": ({"hold": True}, {}),
    "nothing from the broker": ({}, {"hold": True}),
    "late": ({"delay": 0.1, "jitter": 0.1}, {"delay": 0.1, "jitter": 0.1}),
    "slow": ({"rate": 64_000}, {"rate": 64_000}),
    "sliced": ({"slice": 100}, {"slice": 100}),
    "torn": ({"limit": 30_000}, {"limit": 30_000}),
    "damaged": ({}, {"corrupt": 5_000}),
}
_RESET, _REFUSED, _SILENT = "reset", "refused", "accepted in silence"


def proxy_hands(proxy: Proxy) -> dict[str, Hand]:
    """What a network does: cuts, delays, a low rate, resets, a port that refuses or is silent."""
    active: list[str] = []

    def apply() -> None:
        up, down = Toxics(), Toxics()
        for kind in active:
            one, other = _TOXICS.get(kind, ({}, {}))
            up, down = replace(up, **one), replace(down, **other)  # type: ignore[arg-type]  # named above
        proxy.up, proxy.down = up, down
        if _REFUSED in active:
            proxy.refuse()
        elif _SILENT in active:
            proxy.silence()
        else:
            proxy.forward()

    def hand(kind: str) -> Hand:
        def do(begins: bool) -> None:
            active.append(kind) if begins else active.remove(kind)
            apply()
            # What is open would not notice that nobody listens any more.
            if begins and kind in (_RESET, _REFUSED, _SILENT):
                proxy.reset()

        return do

    return {kind: hand(kind) for kind in (*_TOXICS, _RESET, _REFUSED, _SILENT)}


def node_hands(members: Sequence[Member]) -> dict[str, Hand]:
    """Each node process freezes."""

    def hand(member: Member) -> Hand:
        return lambda begins: member.signal(signal.SIGSTOP if begins else signal.SIGCONT)

    return {f"node {member.name} frozen": hand(member) for member in members}
