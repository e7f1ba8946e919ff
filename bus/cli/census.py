"""Who is on the bus, by the heartbeats that an observer heard: for `nodes`, `top` and `doctor`.

A heartbeat names at most 8 of the others: with up to 9 nodes each one names all that it hears; with more, who
hears whom is known only in part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bus.cli.client import Json
    from bus.cli.observer import Observer

# Seconds after which a word is old; heartbeats come each second.
FRESH = 3.0
NAMED = 8


class NodeView(NamedTuple):
    """One node now."""

    node: str
    epoch: int
    state: str
    uptime: float
    published: int
    held: int
    hears: list[str]
    # Nodes that it should hear and does not name; None: too many to be known.
    deaf_to: list[str] | None
    lost: int
    behind: int

    def as_json(self) -> Json:
        """For programs."""
        return {
            "node": self.node, "epoch": self.epoch, "state": self.state, "uptime": round(self.uptime, 1),
            "published": self.published, "held": self.held, "hears": self.hears, "deafTo": self.deaf_to,
            "lost": self.lost, "behind": self.behind,
        }  # fmt: skip


def census(node: Observer) -> list[NodeView]:
    """All that were heard, by name."""
    now = node.loop.now()
    alive = {
        epoch: known
        for epoch, known in node.known.items()
        if now - known.at < FRESH and not _has_left(node, epoch)
    }
    views: list[NodeView] = []
    for epoch, known in node.known.items():
        beat = known.beat
        named = {one: entry for one, (at, entry) in known.hears.items() if known.at - at < FRESH}
        others = set(alive) - {epoch}
        is_whole = len(others) <= NAMED
        deaf_to = sorted(alive[one].beat.name for one in others - set(named))
        heard = [one for one in named if one in alive]
        views.append(
            NodeView(
                beat.name,
                epoch,
                "UP" if epoch in alive else "ENDED" if _has_left(node, epoch) else "SILENT",
                beat.uptime_us / 1e6,
                beat.last,
                max(0, beat.last - beat.held + 1),
                sorted(alive[one].beat.name for one in heard),
                deaf_to if is_whole and epoch in alive else None,
                sum(entry.lost for entry in named.values()),
                sum(max(0, alive[one].beat.last - named[one].position) for one in heard),
            )
        )
    return sorted(views, key=lambda view: (view.node, view.epoch))


def _has_left(node: Observer, epoch: int) -> bool:
    peer = node.engine.peers.get(epoch)
    return peer is not None and peer.is_bye


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
