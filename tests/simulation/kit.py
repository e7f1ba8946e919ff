"""What the directed scenarios have in common: readings of a node, and a steady publisher."""

from __future__ import annotations

from bus.signals import Change, Gap, Resync
from bus.testing.network import SimNode

SLOW_AND_FAST = ((0.002, 0.002), (0.4, 0.4))


def reasons(node: SimNode) -> list[str]:
    """Why something was lost, in order."""
    return [loss.reason for loss in node.losses() if isinstance(loss, Gap | Resync)]


def numbers(node: SimNode, sender: SimNode) -> list[int]:
    """The numbers of the sender's present log that this node got."""
    return [item.seq for item in node.events(sender.name) if item.epoch == sender.epoch]


def every(node: SimNode, seconds: float, body: object, until: float) -> None:
    """Publish again and again until that moment."""
    if node.net.now < until and node.is_running:
        if not node.is_frozen:
            node.publish(body)
        node.net.after(seconds, lambda: every(node, seconds, body, until))


def states(node: SimNode) -> list[str]:
    """The states of its links."""
    return [link.lifecycle.state for link in node.links if link.lifecycle is not None]


def told(node: SimNode, kind: type[Change]) -> list[Change]:
    """The changes of one kind that its application was told."""
    return [change for change in node.changes if isinstance(change, kind)]
