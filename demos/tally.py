"""What one node took from each other one, counted by the application and not by the bus.

Events of the demo carry a count of their own beside the number that the bus gave them. Others may publish on
the same bus (the page, the command line): what the bus tells lost may include events that are not ours, so it
is a limit for what may be missing, and never a replacement for it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from bus import Gap, Loss, Overflow, Resync

# So many delays are kept to take percentiles of; the highest is exact in any case.
KEPT = 4_096


@dataclass
class Account:
    """One sender epoch at this node: `delivered` of the counts from `first` to `position` came."""

    node: str
    epoch: int
    first: int
    position: int
    delivered: int = 0
    # Came although they had been passed over, or once more.
    twice: int = 0


@dataclass
class Tally:
    """All that one node took."""

    accounts: dict[int, Account] = field(default_factory=dict[int, Account])
    # Epoch -> events that Gaps told lost.
    told: dict[int, int] = field(default_factory=dict[int, int])
    # Epochs whose unknown end was told.
    resynced: set[int] = field(default_factory=set[int])
    # Events that Overflows told of; they name no sender.
    dropped: int = 0
    delays_ms: list[float] = field(default_factory=list[float])
    slowest_ms: float = 0.0

    def take(self, node: str, epoch: int, count: int, first: int, delay_ms: float) -> None:
        """An event came: number `count` of this epoch, of which those from `first` on were due here."""
        account = self.accounts.get(epoch)
        if account is None:
            account = self.accounts[epoch] = Account(node, epoch, first, first - 1)
        if count <= account.position:
            account.twice += 1
            return
        account.position = count
        account.delivered += 1
        self.slowest_ms = max(self.slowest_ms, delay_ms)
        if len(self.delays_ms) < KEPT:
            self.delays_ms.append(delay_ms)

    def lost(self, loss: Loss) -> None:
        """The bus told a loss."""
        match loss:
            case Gap():
                self.told[loss.epoch] = self.told.get(loss.epoch, 0) + loss.count
            case Resync(epoch=None):
                self.resynced.update(self.accounts)
            case Resync(epoch=int(epoch)):
                self.resynced.add(epoch)
            case Overflow():
                self.dropped += loss.count
            case _:
                raise TypeError(f"{loss!r} is no kind of loss that the tally knows")

    def forget_delays(self) -> None:
        """A new act of the story begins."""
        self.delays_ms.clear()
        self.slowest_ms = 0.0

    def document(self) -> dict[str, object]:
        """For the file that the story reads."""
        delays = sorted(self.delays_ms)
        return {
            "accounts": [asdict(one) for one in self.accounts.values()],
            "told": [[epoch, count] for epoch, count in self.told.items()],
            "resynced": sorted(self.resynced),
            "dropped": self.dropped,
            "p50_ms": delays[len(delays) // 2] if delays else 0.0,
            "p99_ms": delays[len(delays) * 99 // 100] if delays else 0.0,
            "slowest_ms": self.slowest_ms,
        }
