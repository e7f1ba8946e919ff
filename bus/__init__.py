"""One async pub/sub API for the coordinator of a cluster: when one node changes something, every
other knows.

The public names; the other public import paths are `bus.backend`, `bus.config` and `bus.testing`.
"""

import importlib
import typing

from bus.release import VERSION as _VERSION

# Public name -> the module that defines it.
_HOMES = {
    "AuthError": "bus.errors",
    "Balance": "bus.signals",
    "Bus": "bus.bus",
    "BusError": "bus.errors",
    "Change": "bus.signals",
    "Closed": "bus.errors",
    "ConfigError": "bus.errors",
    "Confirmed": "bus.signals",
    "Down": "bus.signals",
    "Duplicate": "bus.signals",
    "Event": "bus.event",
    "Forked": "bus.errors",
    "Gap": "bus.signals",
    "Limits": "bus.protocol.limits",
    "LinkError": "bus.errors",
    "LinkStatus": "bus.signals",
    "Loss": "bus.signals",
    "Message": "bus.event",
    "Overflow": "bus.signals",
    "PeerStatus": "bus.signals",
    "QueueStatus": "bus.signals",
    "Restarted": "bus.signals",
    "Resync": "bus.signals",
    "Status": "bus.signals",
    "Subscription": "bus.subscription",
    "TlsError": "bus.errors",
    "TooLarge": "bus.errors",
    "UnknownEventType": "bus.errors",
    "Up": "bus.signals",
    "UsageError": "bus.errors",
    "WrongThread": "bus.errors",
}

if typing.TYPE_CHECKING:
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
        Balance,
        Change,
        Confirmed,
        Down,
        Duplicate,
        Gap,
        LinkStatus,
        Loss,
        Overflow,
        PeerStatus,
        QueueStatus,
        Restarted,
        Resync,
        Status,
        Up,
    )
    from bus.subscription import Subscription
else:

    def __getattr__(name: str) -> object:
        """A public name, loaded when it is first asked for: the command line starts without the runtime."""
        module = _HOMES.get(name)
        if module is not None:
            found = getattr(importlib.import_module(module), name)
            # Found at once from now on.
            globals()[name] = found
            return found
        if name in ("backend", "config"):
            return importlib.import_module(f"bus.{name}")
        raise AttributeError(f"module 'bus' has no attribute {name!r}")


__version__ = _VERSION

__all__ = [
    "AuthError",
    "Balance",
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
    "QueueStatus",
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
