"""The server of a messaging system, for as long as it is measured; nobody else uses it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

SERVED = ("nats", "redis", "kafka")


class NoServer(Exception):
    """It cannot be started; the text says what is missing, and how to get it."""


@contextmanager
def server_of(backend: str) -> Generator[str]:
    """Its URL; empty where none is needed. Raises NoServer."""
    if backend not in SERVED:
        yield ""
        return
    # Late: what needs no server needs nothing of this.
    from bus.testing.brokers import StartError, Unavailable, start_own

    try:
        broker = start_own(backend)
    except (Unavailable, StartError) as error:
        raise NoServer(str(error)) from error
    try:
        yield broker.url
    finally:
        broker.stop()
