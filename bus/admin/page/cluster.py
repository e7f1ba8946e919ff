"""What one node knows of the cluster, as one document: the nodes, their rates, who hears whom.

Who hears whom is said by everybody's heartbeats. Each names at most 8 others: with up to 9 nodes all of them,
with more in turn, so that a word may be some seconds old, and a pair that was not named is unknown.
"""

# A Bus offers its users neither its engine nor its subscriptions; who watches a node needs both, here only.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from bus.admin.page import shown
from bus.protocol.control import MAX_ENTRIES
from bus.protocol.peer import NOT_HEARD

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject
    from bus.bus import Bus
    from bus.node import Node
    from bus.protocol.peer import Peer

State = Literal["self", "up", "silent", "down", "left"]

# Rows, and nodes in the matrix; of more only the number is told.
MOST_NODES, MOST_IN_MATRIX = 64, 16
# Seconds that a node is shown after it said goodbye, or after it went silent for good.
SHOW_LEFT, SHOW_DOWN = 60.0, 600.0
# Seconds that two nodes have to hear each other before one is called deaf.
PATIENCE = 4.0


class Row(NamedTuple):
    """One node; `peer` is None for the node that looks."""

    name: str
    state: State
    since: float
    peer: Peer | None
    has_twin: bool = False


class Census:
    """The cluster as this node sees it; `look` once a second, for the rates."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        # Epoch -> its state, and since when; -> the highest number that it had published, and when.
        self._states: dict[int, tuple[State, float]] = {}
        self._numbers: dict[int, tuple[int, float]] = {}
        # Epoch -> when it was first seen here.
        self._met: dict[int, float] = {}

    def look(self) -> JsonObject:
        """The document; ready for JSON, every text fit to be shown."""
        bus, node = self._bus, self._bus.node
        now = node.loop.now()
        status = bus.status()
        rows, gone = self._rows(node, now)
        nodes = [self._node(node, row, now) for row in rows]
        subscriptions = list(bus._subscriptions)
        self._numbers = {row.peer.epoch if row.peer else node.epoch: _number(node, row, now) for row in rows}
        return {
            "node": shown.name(node.name),
            "epoch": f"{node.epoch:016x}",
            "channel": node.channel,
            "state": status.state,
            "links": [
                {
                    "type": link.type, "state": link.state, "since": round(link.since),
                    "error": None if link.error is None else shown.plain(link.error, 500).text,
                }
                for link in status.links
            ],
            "published": status.published,
            "held": max(0, status.log_last - status.log_first + 1),
            "unsent": max(0, node.unsent_events()),
            "subscriptions": len(subscriptions),
            "waiting": sum(one.waiting for one in subscriptions),
            "dropped": sum(one.dropped for one in subscriptions),
            "refused": _refused(node),
            "nodes": nodes,
            "gone": gone,
            "matrix": _matrix(node, rows, now),
        }  # fmt: skip

    def _rows(self, node: Node, now: float) -> tuple[list[Row], int]:
        """This node and its peers, by name; and how many are not shown."""
        rows = [Row(node.name, "self", now, None)]
        named: dict[str, list[Peer]] = {}
        # In the order in which they were met.
        self._met = {epoch: self._met.get(epoch, now) for epoch in node.engine.peers}
        for peer in node.engine.peers.values():
            named.setdefault(peer.node, []).append(peer)
        states: dict[int, tuple[State, float]] = {}
        gone = 0
        for peers in named.values():
            living = self._living(peers, now)
            for peer in living:
                state = _state(peer)
                before = self._states.get(peer.epoch)
                since = before[1] if before is not None and before[0] == state else now
                states[peer.epoch] = (state, since)
                age = now - since
                if (state == "left" and age > SHOW_LEFT) or (state == "down" and age > SHOW_DOWN):
                    gone += 1
                else:
                    has_twin = len(living) > 1 or peer.node == node.name
                    rows.append(Row(peer.node, state, since, peer, has_twin))
        self._states = states
        rows.sort(key=lambda row: (row.state in ("down", "left"), row.name))
        gone += max(0, len(rows) - MOST_NODES)
        rows = rows[:MOST_NODES]
        return sorted(rows, key=lambda row: (row.name, row.peer.epoch if row.peer else 0)), gone

    def _living(self, peers: list[Peer], now: float) -> list[Peer]:
        """Of the runs of one name the last one; and each that was heard since that one began: a twin."""
        last = peers[-1]
        age = now - self._met[last.epoch]
        return [peer for peer in peers if peer is last or (not peer.is_down and peer.unheard < age - 1)]

    def _node(self, node: Node, row: Row, now: float) -> JsonObject:
        number, at = _number(node, row, now)
        epoch = row.peer.epoch if row.peer is not None else node.epoch
        before, before_at = self._numbers.get(epoch, (number, at))
        found: JsonObject = {
            "name": shown.name(row.name),
            "epoch": f"{epoch:016x}",
            "state": row.state,
            "rate": max(0.0, round((number - before) / (at - before_at), 1)) if at > before_at else 0.0,
        }
        peer = row.peer
        if peer is None:
            return found
        return found | {
            "since": round(now - row.since),
            "latency": None if peer.latency is None else round(peer.latency * 1e3, 2),
            "delivered": peer.delivered,
            "behind": max(0, peer.target - peer.next + 1),
            "repaired": peer.repaired,
            "lost": peer.lost,
            "duplicates": peer.duplicates,
            "lostOfOurs": peer.lost_of_us,
            "hasTwin": row.has_twin,
        }  # fmt: skip


def _state(peer: Peer) -> State:
    if peer.is_bye:
        return "left"
    if peer.is_down:
        return "down"
    return "silent" if peer.unheard >= NOT_HEARD else "up"


def _number(node: Node, row: Row, now: float) -> tuple[int, float]:
    return (node.engine.log.last if row.peer is None else row.peer.next - 1), now


def _refused(node: Node) -> JsonObject:
    """Frames that were no good, by reason, without what is usual: our echo, data before a heartbeat."""
    return {
        reason: count for reason, count in node.engine.refused.items() if reason not in ("own", "unknown")
    }


def _matrix(node: Node, rows: list[Row], now: float) -> list[str]:
    """A text for each row, a character for each column: `y` hears, `n` deaf, `?` unknown, `-` itself."""
    shown = rows[:MOST_IN_MATRIX]
    alive = sum(row.state in ("self", "up") for row in rows)
    return ["".join(_hears(node, one, other, alive, now) for other in shown) for one in shown]


def _hears(node: Node, one: Row, other: Row, alive: int, now: float) -> str:
    if one is other:
        return "-"
    if one.peer is None:
        return "y" if other.state == "up" else "n" if other.state != "left" else "?"
    if one.state != "up":
        return "?"
    # All times are of the clock of `one`.
    beat = one.peer.beat_us
    said, entry = one.peer.hears.get(other.peer.epoch if other.peer is not None else node.epoch, (0, None))
    is_named_each_time = alive <= MAX_ENTRIES + 1
    if entry is None or beat - said > (NOT_HEARD + (0 if is_named_each_time else alive / 2)) * 1e6:
        is_new = now - one.since < PATIENCE or (other.peer is not None and now - other.since < PATIENCE)
        return "n" if is_named_each_time and not is_new and other.state != "left" else "?"
    if said - entry.heard_us < NOT_HEARD * 1e6:
        return "y"
    return "n" if other.state != "left" else "?"
