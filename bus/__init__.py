"""One async pub/sub API for the coordinator of a cluster: when one node changes something, every
other knows.

The public names; the other public import paths are `bus.backend`, `bus.config` and `bus.testing`.
"""

from bus.bus import Bus
from bus.errors import (
    AuthError,
    BusError,
    Closed,
    ConfigError,
    Forked,
    LinkError,
    TlsError,
    TooLarge,
    UnknownEventType,
    UsageError,
    WrongThread,
)
from bus.event import Event, Message
from bus.protocol.limits import Limits
from bus.signals import (
    Change,
    Confirmed,
    Down,
    Duplicate,
    Gap,
    LinkStatus,
    Loss,
    Overflow,
    PeerStatus,
    Restarted,
    Resync,
    Status,
    Up,
)
from bus.subscription import Subscription

__version__ = "0.1.0"

__all__ = [
    "AuthError",
    "Bus",
    "BusError",
    "Change",
    "Closed",
    "ConfigError",
    "Confirmed",
    "Down",
    "Duplicate",
    "Event",
    "Forked",
    "Gap",
    "Limits",
    "LinkError",
    "LinkStatus",
    "Loss",
    "Message",
    "Overflow",
    "PeerStatus",
    "Restarted",
    "Resync",
    "Status",
    "Subscription",
    "TlsError",
    "TooLarge",
    "UnknownEventType",
    "Up",
    "UsageError",
    "WrongThread",
]
