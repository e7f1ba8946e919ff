"""Who is on the bus, by what an observer hears: for `nodes`, `top` and `doctor`.

A node that was asked has said whom it hears, all of them (`Observer.ask`). Of one that was not, or does not
answer, there are its heartbeats: each names at most 8 of the others, so with more than 9 nodes who hears whom
is known only in part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bus.cli.client import Json
    from bus.cli.observer import Observer
    from bus.protocol.peer import Peer

# Seconds after which who was heard is not heard any more: heartbeats come each second, one may get lost.
FRESH = 2.5
NAMED = 8


class NodeView(NamedTuple):
    """One node now."""

    node: str
    epoch: int
    state: str
    uptime: float
    published: int
    held: int
    # Epoch -> milliseconds one way, None where that is not known: whom it hears now.
    hearing: dict[int, float | None]
    # The names of these that are here.
    hears: list[str]
    # Nodes that it should hear and does not name; None: too many to be known.
    deaf_to: list[str] | None
    lost: int
    behind: int
    # Whether it has answered.
    is_told: bool = False

    def as_json(self) -> Json:
        """For programs."""
        return {
            "node": self.node, "epoch": self.epoch, "state": self.state, "uptime": round(self.uptime, 1),
            "published": self.published, "held": self.held, "hears": self.hears, "deafTo": self.deaf_to,
            "lost": self.lost, "behind": self.behind,
        }  # fmt: skip


def census(node: Observer) -> list[NodeView]:
    """All that were heard, by name."""
    peers = node.engine.peers
    alive = {peer.epoch: peer for peer in peers.values() if peer.unheard < FRESH and not peer.is_bye}
    return sorted(
        (_view(node, peer, alive) for peer in peers.values()), key=lambda view: (view.node, view.epoch)
    )


def _view(node: Observer, peer: Peer, alive: dict[int, Peer]) -> NodeView:
    told = node.told.get(peer.epoch)
    # It goes on naming whom it does not hear any more, with the time when it did, by the clock of its stamps.
    outlets = node.engine.outlets
    heard_at = max((outlet.heard_of.get(peer.epoch, (0, 0))[0] for outlet in outlets), default=0)
    since = node.loop.now() * 1e6 - heard_at
    entries = {
        epoch: entry
        for epoch, (_, entry) in peer.hears.items()
        if since + peer.beat_us - entry.heard_us < FRESH * 1e6
    }
    if told is not None:
        hearing = {
            one.epoch: None if one.latency_us is None else one.latency_us / 1e3
            for one in told.heard.values()
            if not one.is_over and one.silent_us < FRESH * 1e6
        }
        lost = sum(account.lost for account in told.accounts.values())
        positions = {account.epoch: account.position for account in told.accounts.values()}
    else:
        hearing = dict.fromkeys(entries)
        lost = sum(entry.lost for entry in entries.values())
        positions = {entry.epoch: entry.position for entry in entries.values()}
    others = set(alive) - {peer.epoch}
    heard = [epoch for epoch in hearing if epoch in others]
    is_whole = peer.epoch in alive and (told is not None or len(others) <= NAMED)
    return NodeView(
        peer.node, peer.epoch,
        "UP" if peer.epoch in alive else "ENDED" if peer.is_bye else "SILENT",
        peer.uptime_us / 1e6, peer.last, max(0, peer.last - peer.held + 1),
        hearing, sorted(alive[one].node for one in heard),
        sorted(alive[one].node for one in others - set(heard)) if is_whole else None,
        lost, sum(max(0, alive[one].last - positions.get(one, 0)) for one in heard), told is not None,
    )  # fmt: skip


def duration(seconds: float) -> str:
    """As people say it."""
    whole = int(seconds)
    for size, unit, rest in ((86_400, "d", 3_600), (3_600, "h", 60), (60, "m", 1)):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // rest:02}"
    return f"{whole}s"


HEAD = ("node", "state", "uptime", "published", "hears", "lost", "behind")


def row(view: NodeView) -> tuple[str, ...]:
    """For `HEAD`."""
    hears = str(len(view.hears)) + (f" not {', '.join(view.deaf_to)}" if view.deaf_to else "")
    return (
        view.node, view.state, duration(view.uptime), str(view.published), hears, str(view.lost),
        str(view.behind),
    )  # fmt: skip
