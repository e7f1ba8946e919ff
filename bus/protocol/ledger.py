"""The ledger on request: what became of every number of every log here, told to whoever asks (REPORT).

A sender asks one peer what it has of its log (`Bus.confirm`); an observer asks everybody for everything:
the accounts, how each peer is heard, and what the node says of itself. Heartbeats name eight peers at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.protocol import control
from bus.protocol.control import MAX_NAME, About, Heard, Report
from bus.protocol.frame import MAX_SEQ, REPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bus.protocol.log import Log
    from bus.protocol.outlet import Outlet
    from bus.protocol.peer import Peer
    from bus.protocol.repair import Repair

# Of an answer: peers in all, and in one frame, which then stays below 60,000 bytes (Zenoh).
MOST = 256
PER_FRAME = 64
# Bytes for one of them, at most.
PER_PEER = 900
# Answers that wait on one link; whoever asks more often gets fewer.
MOST_WAITING = 64


class Ledger:
    """Asks and answers; one engine has one of these."""

    def __init__(self, log: Log, peers: Mapping[int, Peer], repair: Repair) -> None:
        # What this node says of itself, made when it is asked.
        self.about: Callable[[], About] | None = None
        # Who wants to see the answers of others: their epoch, the answer, and the time.
        self.on_report: Callable[[int, Report, float], None] | None = None
        self._log = log
        self._peers = peers
        self._repair = repair

    def ask(self, epoch: int) -> None:
        """Ask one peer for its account of our log."""
        peer = self._peers.get(epoch)
        if peer is not None and (outlet := self._repair.way_to(peer)) is not None:
            question = (REPORT, control.encode(Report(ask=epoch)))
            if question not in outlet.control:  # it is asked again and again, also while nothing can go
                outlet.control.append(question)

    def ask_all(self, outlet: Outlet) -> None:
        """Ask everybody on this link for everything."""
        _put(outlet, Report(ask=0))

    def receive(self, outlet: Outlet, epoch: int, report: Report, now: float) -> None:
        """A question, an answer, or both."""
        peer = self._peers.get(epoch)
        if report.ask is not None and len(outlet.control) < MOST_WAITING:
            if report.ask == 0:
                self._tell_all(outlet)
            elif report.ask == self._log.epoch:
                _put(outlet, Report(accounts=[peer.account()] if peer is not None else []))
        if peer is not None:
            for account in report.accounts:
                if account.epoch == self._log.epoch:
                    peer.account_of_us = account
        if self.on_report is not None and report.ask is None:
            self.on_report(epoch, report, now)

    def _tell_all(self, outlet: Outlet) -> None:
        # Whoever is heard goes first; a sorted list of equals keeps its order.
        asked = sorted(self._peers.values(), key=lambda peer: peer.is_bye or peer.is_told)[:MOST]
        about: About | None = self.about() if self.about is not None else About()
        most = min(PER_FRAME, max(1, outlet.control_room // PER_PEER))
        if most < PER_FRAME:  # a server that carries little
            _put(outlet, Report(about=about))
            about = None
        for first in range(0, len(asked) or 1, most):
            some = asked[first : first + most]
            accounts, heard = [peer.account() for peer in some], [_heard(peer) for peer in some]
            _put(outlet, Report(accounts=accounts, heard=heard, about=about))
            about = None


def _put(outlet: Outlet, body: Report) -> None:
    outlet.control.append((REPORT, control.encode(body)))


def _heard(peer: Peer) -> Heard:
    latency = None if peer.latency is None else min(int(peer.latency * 1e6), MAX_SEQ - 1)
    name = peer.node[:MAX_NAME]
    return Heard(peer.epoch, name, int(peer.unheard * 1e6), latency, peer.is_bye or peer.is_told)
