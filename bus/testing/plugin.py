"""Pytest fixtures for applications that use the bus. In `conftest.py`:

    pytest_plugins = ["bus.testing.plugin"]

There is no entry point that loads it by itself: that would import the bus in every pytest run on the
machine, before coverage is measured, also in projects that only have it as a dependency.
"""

from __future__ import annotations

import pytest

from bus.testing.losses import Losses

# nats_server, redis_server, valkey_server, redis_cluster, redis_sentinel, zenoh_router, kafka_server for the
# session; broker_of for one test.
pytest_plugins: list[str] = ["bus.testing.brokers.fixtures"]

__all__ = ["bus_losses"]


@pytest.fixture
def bus_losses() -> Losses:
    """Tells a Gap, an Overflow or a Resync to the subscribers of a bus: `bus_losses.gap(bus, 3, 5)`."""
    return Losses()
