"""A node to attack: what it knew before must be what it knows afterwards, in as much memory.

Anyone who reaches the channel can send bytes. What is broken must be as if never received; what is well
formed and untrue must cost no more than its own numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import msgspec

from bus.protocol import frame as wire
from bus.protocol.limits import Limits
from tests.protocol import corpus
from tests.protocol.kit import A, Node, Recorder, beat, data, held_frames

TOP = wire.MAX_SEQ - 1
SAMPLES = corpus.load()


class Victim(Node):
    """A node that knows A up to 3 and has published five events."""

    def __init__(self, **limits: int) -> None:
        super().__init__(limits=Limits(**limits))
        self.hear(beat(A, 1), data(A, 1, 3, 1_001), beat(A, 2, last=3))
        self.publish(5)
        self.says()
        self.stream = list(self.sink.stream)
        self.changes = list(self.sink.changes)
        assert self.refused == {}

    def assert_unharmed(self) -> None:
        """Nothing was delivered or told, and A is heard as before."""
        assert self.sink.stream == self.stream
        assert self.sink.changes == self.changes
        assert set(self.engine.peers) == {A}
        self.assert_serves(A)

    def assert_serves(self, epoch: int) -> None:
        """The next event of a peer is delivered, and what the victim says is readable."""
        peer = self.engine.peers[epoch]
        before = len(self.sink.delivered(epoch))
        self.hear(data(epoch, peer.next, peer.next, 1 << 50))
        assert len(self.sink.delivered(epoch)) == before + 1
        readable(self.says(1.0))


def readable(frames: list[bytes]) -> None:
    """Others can read what we say."""
    for frame in frames:
        corpus.meaning(frame)


def body(kind: int, content: object, flags: int = 0, epoch: int = A) -> bytes:
    raw = content if isinstance(content, bytes) else msgspec.msgpack.encode(content)
    return wire.pack(kind, flags, epoch, 5_000, raw)


def footprint(root: object) -> int:
    """How many things hang on an object, in every container; the sink here keeps all, and is left out."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        one = todo.pop()
        if id(one) in seen or callable(one) or isinstance(one, Recorder):
            continue
        seen.add(id(one))
        todo += children(one)
    return len(seen)


def children(one: object) -> Iterator[object]:
    """What hangs on it directly: items, attributes, slots."""
    if isinstance(one, (str, bytes)):
        return
    yield from getattr(one, "__dict__", {}).values()
    for base in type(one).__mro__:
        for name in vars(base).get("__slots__", ()):
            yield getattr(one, name, None)
    if isinstance(one, Mapping):
        yield from cast("Mapping[object, object]", one).values()
    if isinstance(one, Iterable):
        yield from cast("Iterable[object]", one)


def all_held(victim: Victim) -> int:
    """Bytes of all frames that wait for a hole to close."""
    return sum(len(one) for epoch in victim.engine.peers for one in held_frames(victim, epoch))
