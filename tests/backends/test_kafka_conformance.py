"""The Kafka backend passes the conformance suite on a real broker, with a login."""

from __future__ import annotations

import pytest

from bus.testing.brokers import Broker, steps
from bus.testing.brokers.kafka import USERS, KafkaServer
from bus.testing.conformance import Conformance, Harness


class TestKafka(Conformance):
    @pytest.fixture
    def harness(self, kafka_server: Broker) -> Harness:
        if not isinstance(kafka_server, KafkaServer):
            return Harness(coordinator=lambda: kafka_server.url, **steps(kafka_server))
        login = "SASL_PLAINTEXT", "SCRAM-SHA-256"
        return Harness(
            coordinator=lambda: kafka_server.coordinator(*login),
            unreachable=kafka_server.coordinator(*login) | {"brokers": ["127.0.0.1:1"]},
            wrong_credentials=kafka_server.coordinator(*login, password=f"wrong-{USERS['bus']}"),
            invalid=(
                f"kafka://bus:{USERS['bus']}@127.0.0.1:9092",  # a login, and nothing that says which
                f"kafka://bus:{USERS['bus']}@127.0.0.1:0",
                {"@type": "Kafka", "brokers": [], "groupId": "bus"},
                {"@type": "Kafka", "brokers": ["127.0.0.1:9092"], "groupId": ""},
                {"@type": "Kafka", "brokers": ["127.0.0.1:9092"], "groupId": "bus", "tlsCa": "/ca.pem"},
            ),
            secrets=(USERS["bus"],),
            **steps(kafka_server),
        )
