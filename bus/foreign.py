"""Says once, in the log, that frames come which the cluster key keeps out, or for which one is missing.

They are counted for good (`status().refused`); a flood of them must not flood the log as well.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

log: logging.Logger = logging.getLogger("bus")

_WORDS = {
    "sealed": "frames on %s are sealed, and this node has no cluster key: it hears nothing of their senders. "
    "Give it their key: Bus.open(key=...), --key-file, or keyFile in its settings",
    "key": "frames on %s are sealed with a cluster key that this node does not have: it hears nothing of "
    "their senders. Give all nodes a new key beside the old one before the first of them seals with it",
    "unsealed": "frames without the cluster key come on %s and are ignored: from a node that was not given "
    "the key, or from somebody who has access to the messaging system",
    "forged": "frames on %s were changed on their way, or sealed with another key, and are ignored",
}


class Foreign:
    """One node has one of these."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._told: set[str] = set()

    def look(self, refused: Mapping[str, int]) -> None:
        """Tell what is new among the counts of the engine."""
        for reason, words in _WORDS.items():
            if reason in refused and reason not in self._told:
                self._told.add(reason)
                log.warning(words, self._channel)


def outsiders(refused: Mapping[str, int]) -> list[str]:
    """Why nobody may be heard although there is somebody: in words, empty when a key is not the reason."""
    return [
        f'{refused[reason]} frames were refused as "{reason}": is the cluster key the same on all nodes?'
        for reason in ("sealed", "key", "unsealed")
        if refused.get(reason)
    ]
