"""The ledger: what every node published against what every other node took or was told.

Pure arithmetic over lives (one node process each, with its epoch), their journals and receipts. The
account of one sender epoch at one receiver life covers a window of numbers:
    first   the baseline at which the receiver joined; what is before it was never due
    last    the last number in the sender's journal; for a receiver that was killed, the last one
            that it had taken: what follows lies before the baseline of its next life
A row adds up the windows of all epochs of two nodes. `lost_told` are numbers in Gaps, numbers that
did not come after a Resync of their epoch, and Overflow counts. An Overflow names no sender: it
explains numbers that were passed over (or never came) at that receiver, sender by sender in order,
one number per dropped event and no more. When a live receiver was told of more dropped events than
numbers are missing, the rest is booked on its last row, which then cannot balance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from bus.demo.account import Account


class Journal(msgspec.Struct, frozen=True):
    """What one epoch published: the highest number, and how many there are."""

    last: int
    count: int

    @property
    def is_whole(self) -> bool:
        """Numbers start at 1 and leave none out."""
        return self.last == self.count


class Life(msgspec.Struct, frozen=True):
    """One process of one node; `born` and `died` (None: not before the end) are of one clock."""

    node: str
    epoch: int
    born: float
    died: float | None
    dropped: int
    stale: int
    accounts: tuple[Account, ...]

    def account_of(self, sender: Life) -> Account | None:
        """How this life took the events of another one."""
        return next((one for one in self.accounts if one.epoch == sender.epoch), None)

    def met(self, other: Life) -> bool:
        """Both lived at the same time."""
        return (self.died is None or self.died > other.born) and (
            other.died is None or other.died > self.born
        )


class Pair(msgspec.Struct):
    """One row: an ordered pair of nodes."""

    sender: str
    receiver: str
    published: int = 0
    delivered: int = 0
    lost_told: int = 0
    twice: int = 0

    @property
    def unexplained(self) -> int:
        """Numbers that nobody can account for; negative: more was accounted for than published."""
        return self.published - self.delivered - self.lost_told


class Ledger(msgspec.Struct, frozen=True):
    """The result of a run."""

    backend: str
    nodes: int
    published: int
    pairs: tuple[Pair, ...]
    stale_reads: int
    # Nodes whose journal has holes: errors could make up for each other, so it never balances.
    broken: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        """Every number was delivered once or told lost."""
        return not self.broken and all(pair.unexplained == 0 and pair.twice == 0 for pair in self.pairs)

    def to_json(self) -> str:
        """One line, for scripts."""
        pairs = [
            {
                "from": pair.sender,
                "to": pair.receiver,
                "published": pair.published,
                "delivered": pair.delivered,
                "lost_told": pair.lost_told,
                "unexplained": pair.unexplained,
            }
            for pair in self.pairs
        ]
        return json.dumps(
            {
                "backend": self.backend,
                "nodes": self.nodes,
                "published": self.published,
                "pairs": pairs,
                "stale_reads": self.stale_reads,
                "balanced": self.balanced,
            }
        )


def balance(backend: str, lives: Sequence[Life], journals: Mapping[int, Journal]) -> Ledger:
    """Add everything up."""
    names = list(dict.fromkeys(life.node for life in lives))
    pairs = {(a, b): Pair(a, b) for a in names for b in names if a != b}
    for receiver in lives:
        unused = receiver.dropped
        row: Pair | None = None
        for sender in _senders(receiver, lives):
            row = pairs[sender.node, receiver.node]
            unused -= _book(row, sender, receiver, journals, unused)
        # A killed one was told of dropped events, but had not yet taken what followed them.
        if row is not None and receiver.died is None:
            row.lost_told += unused
    return Ledger(
        backend=backend,
        nodes=len(names),
        published=sum(_journal(life, journals).count for life in lives),
        pairs=tuple(pairs.values()),
        stale_reads=sum(life.stale for life in lives),
        broken=tuple(life.node for life in lives if not _journal(life, journals).is_whole),
    )


def unsettled(lives: Sequence[Life], journals: Mapping[int, Journal]) -> list[tuple[str, str]]:
    """(from, to) of the pairs for which something may still come, or has still to be told."""
    return [
        (sender.node, receiver.node)
        for receiver in lives
        if receiver.died is None
        for sender in _senders(receiver, lives)
        if not _is_settled(sender, receiver.account_of(sender), _journal(sender, journals).last)
    ]


def _is_settled(sender: Life, account: Account | None, last: int) -> bool:
    position = account.position if account is not None else 0
    is_told = account is not None and account.is_resynced and sender.died is not None
    return position >= last or is_told


def _senders(receiver: Life, lives: Sequence[Life]) -> Iterator[Life]:
    return (life for life in lives if life.node != receiver.node and life.met(receiver))


def _journal(life: Life, journals: Mapping[int, Journal]) -> Journal:
    return journals.get(life.epoch, Journal(0, 0))


def _book(row: Pair, sender: Life, receiver: Life, journals: Mapping[int, Journal], dropped: int) -> int:
    """Book one window; returns how many of the receiver's `dropped` events it used up."""
    journal = _journal(sender, journals)
    account = receiver.account_of(sender)
    if account is None:
        # Nothing of it was ever heard: for one that lives on, all of it is missing.
        if receiver.died is not None:
            return 0
        account = Account.since(sender.epoch, 1)
    last = journal.last if receiver.died is None else min(journal.last, account.position)
    # A journal with holes is broken: what is not in it was not published.
    row.published += max(0, last - account.baseline + 1) - (journal.last - journal.count)
    row.delivered += account.delivered
    row.twice += account.twice
    tail = max(0, last - account.position)
    missing, told = account.skipped, account.open
    if account.is_resynced:
        told += tail
    else:
        missing += tail
    row.lost_told += account.told + told + min(missing, dropped)
    # A number told by a Resync may have been dropped as well: told twice, lost once.
    return min(missing + told, dropped)
