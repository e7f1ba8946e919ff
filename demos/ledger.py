"""The ledger of the story: what every node published against what every other one took, or was told lost.

Pure. Each document is the tally of one life (epoch) of one node, as `demos.traffic` saves it. Between two
lives the counts from `first` to the sender's last were due; what did not come must be covered by what the bus
told: Gaps of that epoch, a Resync about it, or an Overflow at the receiver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The JSON of one tally.
Document = Mapping[str, Any]


@dataclass
class Row:
    """An ordered pair of nodes."""

    sender: str
    receiver: str
    due: int = 0
    delivered: int = 0
    told: int = 0
    twice: int = 0

    @property
    def unexplained(self) -> int:
        """What neither came nor was told."""
        return self.due - self.delivered - self.told

    @property
    def is_balanced(self) -> bool:
        """Each event once, or told lost."""
        return self.unexplained == 0 and self.twice == 0


def rows(documents: Sequence[Document]) -> list[Row]:
    """One for each ordered pair, in the order of the names."""
    names = sorted({str(one["node"]) for one in documents})
    found = {(a, b): Row(a, b) for a in names for b in names if a != b}
    latest = _latest(documents)
    for receiver in documents:
        dropped = int(receiver["dropped"])
        for sender in documents:
            if sender["node"] != receiver["node"]:
                are_last = sender is latest[sender["node"]] and receiver is latest[receiver["node"]]
                row = found[sender["node"], receiver["node"]]
                dropped -= _book(row, sender, receiver, dropped, are_last=are_last)
    return list(found.values())


def settled(documents: Sequence[Document]) -> bool:
    """Every node has published what it was asked for, and nothing is open between those that live."""
    last = list(_latest(documents).values())
    return all(one["published"] == one["asked"] for one in last) and all(
        row.is_balanced for row in rows(last)
    )


def lines(found: Sequence[Row]) -> Iterator[str]:
    """As a table."""
    yield f"{'from':8} {'to':8} {'published':>10} {'delivered':>10} {'lost, told':>10} {'unexplained':>12}"
    for row in found:
        more = f"  {row.twice} came twice" if row.twice else ""
        yield (
            f"{row.sender:8} {row.receiver:8} {row.due:10,} {row.delivered:10,} {row.told:10,} "
            f"{row.unexplained:12,}{more}"
        )


def _latest(documents: Sequence[Document]) -> dict[str, Document]:
    """Node -> its life that was seen last; they come in that order."""
    return {str(one["node"]): one for one in documents}


def _book(row: Row, sender: Document, receiver: Document, dropped: int, *, are_last: bool) -> int:
    """Add one pair of lives; returns how many of the receiver's dropped events explain something."""
    epoch = sender["epoch"]
    account = next((one for one in receiver["accounts"] if one["epoch"] == epoch), None)
    if account is None:
        # One of them may have ended before the other began: only of those that live all was due.
        row.due += int(sender["published"]) if are_last else 0
        return 0
    last = int(sender["published"]) if are_last else max(int(account["position"]), account["first"] - 1)
    due = max(0, last - int(account["first"]) + 1)
    missing = due - int(account["delivered"])
    is_resynced = epoch in receiver["resynced"]
    told = missing if is_resynced else min(missing, dict(receiver["told"]).get(epoch, 0))
    overflowed = min(missing - told, dropped)
    row.due += due
    row.delivered += int(account["delivered"])
    row.told += told + overflowed
    row.twice += int(account["twice"])
    return overflowed
