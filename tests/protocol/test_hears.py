"""Whom a peer hears, by its own heartbeats: for the hearing matrix of the live view and the doctor."""

from __future__ import annotations

from bus.protocol.control import Entry
from bus.protocol.peer import MAX_HEARS
from tests.protocol.kit import A, Node, beat


def entry(epoch: int, position: int = 0) -> Entry:
    return Entry(epoch, position, 0, 1, 1)


def test_the_newest_word_about_each_epoch_counts_whatever_the_order() -> None:
    node = Node()
    node.hear(beat(A, 1, entries=[entry(5, 1), entry(6, 1)]))
    node.hear(beat(A, 3, entries=[entry(5, 7)]), beat(A, 2, entries=[entry(5, 4)]))
    assert node.engine.peers[A].hears == {5: (3000, entry(5, 7)), 6: (1000, entry(6, 1))}


def test_a_peer_that_speaks_of_ever_new_epochs_is_remembered_in_bounds() -> None:
    node = Node()
    for counter in range(1, MAX_HEARS):
        node.hear(beat(A, counter, entries=[entry(counter * 2), entry(counter * 2 + 1)]))
    hears = node.engine.peers[A].hears
    assert len(hears) <= MAX_HEARS
    assert MAX_HEARS * 2 - 1 in hears
