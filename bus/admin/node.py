"""What the admin surface needs of a running node, and the `Bus` as one."""

# A Bus offers its users neither its configuration nor its insides; who changes one needs both, here only.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bus import config, opening
from bus.errors import ConfigError
from bus.trial import trial

if TYPE_CHECKING:
    from bus.bus import Bus
    from bus.config import Coordinator
    from bus.signals import Status


class Node(Protocol):
    """One node of the cluster."""

    @property
    def name(self) -> str:
        """What the cluster calls it."""
        ...

    @property
    def coordinator(self) -> Coordinator:
        """What it runs on."""
        ...

    def runs(self, coordinator: Coordinator) -> bool:
        """Whether it runs on this already; never raises."""
        ...

    def check(self, coordinator: Coordinator) -> None:
        """What only the backend knows of a configuration, without I/O; from a worker thread.

        Raises ConfigError.
        """
        ...

    async def trial(self, coordinator: Coordinator, timeout: float) -> None:
        """Connect with it once, beside what runs. Raises `bus.trial.TrialFailed`."""
        ...

    async def switch(self, coordinator: Coordinator, timeout: float) -> None:
        """Move to it, or stay where it is and raise ConfigError, TimeoutError, UsageError."""
        ...

    def status(self) -> Status:
        """Its links and peers now."""
        ...


class LiveNode:
    """A `Bus` that is open. `store` is what the variant Default means here."""

    def __init__(self, bus: Bus, store: object = None) -> None:
        self._bus = bus
        self._store = store

    @property
    def name(self) -> str:
        """Of the bus."""
        return self._bus._node.name

    @property
    def coordinator(self) -> Coordinator:
        """Of the bus; of Default, the store that it became."""
        return self._bus._coordinator

    def runs(self, coordinator: Coordinator) -> bool:
        """The same, after Default became the store."""
        try:
            return self._resolved(coordinator) == self._bus._coordinator
        except ConfigError:
            return False

    def check(self, coordinator: Coordinator) -> None:
        """Builds the backend and throws it away."""
        opening.prepare(self._bus._node, self._resolved(coordinator))

    async def trial(self, coordinator: Coordinator, timeout: float) -> None:
        """On the channel of the bus, under its name."""
        node = self._bus._node
        await trial(
            node.loop, self._resolved(coordinator), node=node.name, channel=node.channel, timeout=timeout,
            key=node.key,
        )  # fmt: skip

    async def switch(self, coordinator: Coordinator, timeout: float) -> None:
        """`Bus.reconfigure`."""
        await self._bus.reconfigure(self._resolved(coordinator), timeout)

    def status(self) -> Status:
        """`Bus.status`."""
        return self._bus.status()

    def _resolved(self, coordinator: Coordinator) -> Coordinator:
        if isinstance(coordinator, config.Default):
            return opening.coordinator_of(coordinator, self._store)
        return coordinator
