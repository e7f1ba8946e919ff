"""What one node process took from the bus, in a file that survives its SIGKILL.

The file has slots of 128 bytes: first the counters of the node, then one account per sender epoch.
The handler writes every account that changed after each batch, by one `pwrite` within a page: a
signal takes effect when a process leaves the kernel, so a killed process leaves each slot as it was
before or after, never half of it. (A mapped file would be torn between two of its words.) What was
in the batch at hand counts as not taken.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec

from bus import Gap, Loss, Overflow, Resync
from bus.demo.account import Account

_SLOT = struct.Struct("<9Q56x")


class Counters(msgspec.Struct):
    """Totals of one node process."""

    epoch: int = 0
    writes: int = 0
    reads: int = 0
    hits: int = 0
    # Loads that were not kept, since the key was invalidated meanwhile.
    refused: int = 0
    stale: int = 0
    # Events that Overflows told of.
    dropped: int = 0
    peers: int = 0
    latency_us: int = 0


class Receipts:
    """Counters and accounts of one node, written through to a file."""

    def __init__(self, path: str | Path, epoch: int, baseline: Callable[[int], int]) -> None:
        """`baseline` gives the first number that is due of a sender epoch."""
        self.counters: Counters = Counters(epoch)
        self._accounts: dict[int, Account] = {}
        self._baseline = baseline
        self._changed: set[int] = set()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.save()

    def account(self, epoch: int) -> Account:
        """The account of a sender; it is due to be saved from now on."""
        self._changed.add(epoch)
        found = self._accounts.get(epoch)
        if found is None:
            found = self._accounts[epoch] = Account.since(epoch, self._baseline(epoch))
        return found

    def lost(self, loss: Loss) -> None:
        """A loss was told."""
        match loss:
            case Gap():
                for first, last in loss.ranges:
                    self.account(loss.epoch).gap(first, last)
            case Resync(epoch=None):
                for epoch in list(self._accounts):
                    self.account(epoch).resynced(None)
            case Resync(epoch=int(epoch)):
                self.account(epoch).resynced(loss.after)
            case Overflow():
                self.counters.dropped += loss.count
            case _:
                raise TypeError(f"{loss!r} is no kind of loss that the ledger knows")

    def save(self) -> None:
        """Write what has changed."""
        self._write(0, self.counters)
        if self._changed:
            for slot, account in enumerate(self._accounts.values(), 1):
                if account.epoch in self._changed:
                    self._write(slot, account)
            self._changed.clear()

    def close(self) -> None:
        """Save and close the file."""
        self.save()
        os.close(self._file)

    def _write(self, slot: int, numbers: Counters | Account) -> None:
        packed = _SLOT.pack(*msgspec.structs.astuple(numbers))
        os.pwrite(self._file, packed, slot * _SLOT.size)


def read(path: str | Path) -> tuple[Counters, tuple[Account, ...]]:
    """What a file says; exact once its process is dead or quiet."""
    content = Path(path).read_bytes()
    slots = list(_SLOT.iter_unpack(content[: len(content) // _SLOT.size * _SLOT.size]))
    # It may have been made just now, and be empty.
    counters = Counters(*slots[0]) if slots else Counters()
    return counters, tuple(Account(*numbers) for numbers in slots[1:])
