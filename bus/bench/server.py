"""The server of a messaging system, for as long as it is measured; nobody else uses it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from bus.testing.brokers import Broker

SERVED = ("nats", "redis", "valkey", "kafka")


class NoServer(Exception):
    """It cannot be started; the text says what is missing, and how to get it."""


class Server:
    """What is known of it: its URL, its CPU, and, where it is ours, how to restart it."""

    def __init__(self, url: str, broker: Broker | None = None) -> None:
        self.url = url
        self.broker = broker
        self._pids = _pids(broker)

    @property
    def has_cpu(self) -> bool:
        """Its processes are of this machine, and known."""
        return bool(self._pids)

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used (in steps of a hundredth)."""
        return sum(_cpu(pid) for pid in self._pids)

    def restarted(self) -> None:
        """It has other processes now."""
        self._pids = _pids(self.broker)


@contextmanager
def server_of(backend: str, url: str | None = None) -> Generator[Server]:
    """Started for the run, unless `url` names one; with an empty URL where none is needed.

    Raises NoServer.
    """
    if backend not in SERVED or url:
        yield Server(url or "")
        return
    # Late: what needs no server needs nothing of this.
    from bus.testing.brokers import StartError, Unavailable, start_own

    try:
        broker = start_own(backend)
    except (Unavailable, StartError) as error:
        raise NoServer(str(error)) from error
    try:
        yield Server(broker.url, broker)
    finally:
        broker.stop()


def _pids(broker: Broker | None) -> Sequence[int]:
    return [process.pid for process in getattr(broker, "processes", ()) if process.is_running]


def _cpu(pid: int) -> float:
    try:
        # After the name, which may contain anything but ends at the last parenthesis.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
