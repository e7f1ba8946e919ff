"""MemoryFaults: what a network may do to the buses of one process, by script and seed.

    with MemoryFaults(seed=7, drop=0.05, delay=(0.0, 0.2)) as faults:
        async with Bus.open("memory://", node="a") as a, Bus.open("memory://", node="b") as b:
            faults.partition("a", "b")
            ...
            faults.heal()

It works between the links of the Memory backend, below numbering and repair: frames are lost, come
late, twice or out of order. Run it on a SimLoop, and half a minute of outage takes milliseconds.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, cast

from bus import registry

if TYPE_CHECKING:
    from bus.backend import Context

__all__ = ["MemoryFaults"]

PassOn = Callable[[bytes], None]


class _MemoryLink(Protocol):
    context: Context

    def abort(self) -> None: ...


class _Hub(Protocol):
    fate: Callable[[Any, Any, bytes, PassOn], None] | None

    def links(self, channel: str) -> tuple[_MemoryLink, ...]: ...


class MemoryFaults:
    """While the block runs, every frame between two nodes of this process goes through it.

    `drop` and `duplicate` are probabilities per frame and receiver, `delay` is (shortest, longest)
    in seconds, drawn for each frame, so that frames may overtake each other; all three can be
    changed at any time. Frames for which `loses(frame)` is true are lost as well. A node hears its
    own frames undisturbed unless it is cut off. Delays need asyncio. One block at a time, in the
    thread of the buses.
    """

    def __init__(
        self, *, seed: int = 0, drop: float = 0.0, duplicate: float = 0.0,
        delay: tuple[float, float] = (0.0, 0.0),
    ) -> None:  # fmt: skip
        self.drop = drop
        self.duplicate = duplicate
        self.delay = delay
        # Frames between two nodes for which it is true are lost: those of one kind, for example.
        self.loses: Callable[[bytes], bool] | None = None
        self.dropped: int = 0
        self._seed = seed
        self._randoms: dict[tuple[str, str], Random] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._hub = _hub()

    def __enter__(self) -> MemoryFaults:
        if self._hub.fate is not None:
            raise RuntimeError("somebody already decides what happens to the frames of Memory links")
        self._hub.fate = self._decide
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hub.fate = None

    def cut(self, sender: str, receiver: str) -> None:
        """From now on nothing gets from `sender` to `receiver` (the other way it does).

        `cut("a", "a")` takes from a node the echo of its own frames, its proof of life.
        """
        self._cuts.add((sender, receiver))

    def partition(self, one: str, other: str) -> None:
        """Cut both ways."""
        self.cut(one, other)
        self.cut(other, one)

    def heal(self, one: str | None = None, other: str | None = None) -> None:
        """Take back the cuts between two nodes, or all cuts."""
        self._cuts = {pair for pair in self._cuts if one is not None and set(pair) != {one, other or one}}

    def lose(self, node: str, cluster: str = "default") -> None:
        """The connection of this node breaks; it makes a new one."""
        for link in self._hub.links(f"bus.{cluster}"):
            if link.context.node == node:
                link.abort()

    def _decide(self, sender: _MemoryLink, receiver: _MemoryLink, frame: bytes, pass_on: PassOn) -> None:
        pair = (sender.context.node, receiver.context.node)
        if pair in self._cuts:
            self.dropped += 1
        elif pair[0] == pair[1]:
            pass_on(frame)
        else:
            # A pair has dice of its own: what happens to it does not hang on who else talks.
            dice = self._randoms.setdefault(pair, Random(f"{self._seed} {pair}"))
            if dice.random() < self.drop or (self.loses is not None and self.loses(frame)):
                self.dropped += 1
                return
            self._carry(dice, frame, pass_on)
            if dice.random() < self.duplicate:
                self._carry(dice, frame, pass_on)

    def _carry(self, dice: Random, frame: bytes, pass_on: PassOn) -> None:
        seconds = dice.uniform(*self.delay)
        if seconds > 0:
            asyncio.get_running_loop().call_later(seconds, pass_on, frame)
        else:
            pass_on(frame)


def _hub() -> _Hub:
    """The hub of the Memory backend, found as the bus finds it: by its `@type`."""
    module = sys.modules[registry.load("Memory").__module__]
    return cast("_Hub", vars(module)["hub"])
