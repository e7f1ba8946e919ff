"""A cluster under load moves between four systems over its admin API; five rounds by `make live`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.testing.brokers import Broker
from tests.live.rounds import travel


@pytest.mark.timeout(150)
def test_a_cluster_moves_through_four_systems_and_loses_nothing(
    redis_server: Broker, nats_server: Broker, zenoh_router: Broker, kafka_server: Broker, tmp_path: Path
) -> None:
    brokers = {"redis": redis_server, "nats": nats_server, "zenoh": zenoh_router, "kafka": kafka_server}
    tour = travel(brokers, tmp_path, rounds=1)
    assert tour.problems == (), f"{tour}\nhistories and logs: {tmp_path}"
