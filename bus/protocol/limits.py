"""Every bound of the bus in one place, with its unit and default."""

from __future__ import annotations

import msgspec

MIB = 1 << 20


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one bus. Sizes are bytes of encoded events, times are seconds.

    Every field must be positive; `event` above 960 KiB would not fit the message limit of every
    system, so a later change of backend could meet an event that it cannot carry.
    """

    log_bytes: int = 64 * MIB
    log_age: float = 120.0
    log_events: int = 1_000_000
    hold_bytes: int = 16 * MIB
    event: int = 960 * 1024
    inbox_events: int = 65_536
    inbox_bytes: int = 64 * MIB
    epochs: int = 4_096
    connect: float = 5.0
    close: float = 2.0
    repair_timeout: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"Limits.{name} is {value!r}; it must be greater than 0")
        if self.event > 960 * 1024:
            raise ValueError(
                f"Limits.event is {self.event}; at most {960 * 1024} (960 KiB) fits every system"
            )
