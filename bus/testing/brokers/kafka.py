"""Apache Kafka (KRaft, no ZooKeeper) for tests: one broker with every kind of listener, or three brokers.

    with KafkaServer(tls=certificates.server) as server:
        Bus.open(server.url)
        Bus.open(server.coordinator("SASL_SSL", "SCRAM-SHA-512", tls_ca=certificates.ca))

Its jars come by `kafka_home`. On the listeners without a login everything is allowed, and to the user `bus`;
the user `guest` logs in and may do nothing until an ACL says so. A start takes three to four seconds, and
so does a restart after SIGKILL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bus.testing.brokers.kafka_home import kafka_home, new_id
from bus.testing.brokers.local import LocalBroker
from bus.testing.brokers.process import StartError, accepts, free_port, until

if TYPE_CHECKING:
    from pathlib import Path

    from bus.testing.brokers.certificates import Identity

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
USERS = {"bus": "bus-secret", "guest": "guest-secret"}

_START = 60.0
_UP = "Kafka Server started"
_MECHANISMS = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
    # Without anything else the broker takes unsigned tokens: {"alg":"none"}.
    "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
}
_FIXED = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "sasl.enabled.mechanisms": ",".join(_MECHANISMS),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS;User:bus;User:CN=client",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "auto.create.topics.enable": "false",
    # A killed broker may not register again before its old session has ended, 9 s by default.
    "broker.session.timeout.ms": 1000,
    "broker.heartbeat.interval.ms": 200,
    "num.network.threads": 1,
    "num.io.threads": 2,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
}


@dataclass(frozen=True)
class Listener:
    """One listener of a server.

    advertised  address that it tells its clients, host:port; else its own
    port        where it listens; else any
    tls         certificate of its own; else that of the server
    demands     it refuses clients without a certificate
    """

    security: Security
    advertised: str | None = None
    port: int | None = None
    tls: Identity | None = None
    demands: bool = False


class KafkaServer(LocalBroker):
    """One broker that is its own controller; its ports stay the same over restarts, and its data is kept.

    tls         its certificate; it then has the listeners SSL and SASL_SSL, too
    listeners   more listeners, by names of their own: {"BAD": Listener("SSL", tls=certificates.expired)}
    options     more of the server's properties: {"message.max.bytes": 100_000}

    Raises Unavailable without Kafka or Java, StartError when it does not start.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        tls: Identity | None = None,
        listeners: Mapping[str, Listener] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        home = kafka_home()
        super().__init__("kafka", folder)
        kinds: tuple[Security, ...] = ("PLAINTEXT", "SASL_PLAINTEXT")
        if tls:
            kinds += ("SSL", "SASL_SSL")
        node = _Node(1, {**{kind: Listener(kind, tls=tls) for kind in kinds}, **(listeners or {})}, tls)
        self.ports: dict[str, int] = node.ports
        self.data: Path = node.set_up(self, new_id(), [node], options or {})
        self._ups = 0
        self.add("kafka", home.command("kafka.Kafka", node.config(self)), self._is_up)
        self.start()

    def start(self) -> None:
        """Start it if it does not run, and wait until it serves."""
        self._ups = self.logs().count(_UP)
        super().start()

    def _is_up(self) -> bool:
        # By its own word: whoever took one of its ports meanwhile would answer, too.
        return self.logs().count(_UP) > self._ups and accepts("127.0.0.1", self.port)

    @property
    def port(self) -> int:
        """Of the listener without TLS and login."""
        return self.ports["PLAINTEXT"]

    @property
    def url(self) -> str:
        """Of the listener without TLS and login."""
        return f"kafka://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End it, not politely: its data goes with it, and a goodbye takes seconds; idempotent."""
        self.kill()
        super().stop()

    def address(self, listener: str) -> str:
        """host:port of one listener, by its name."""
        return f"127.0.0.1:{self.ports[listener]}"

    def coordinator(
        self,
        listener: str = "PLAINTEXT",
        mechanism: str | None = None,
        *,
        user: str = "bus",
        password: str | None = None,
        tls_ca: Path | None = None,
    ) -> dict[str, object]:
        """The Coordinator object for one listener: `mechanism` for those with a login, `tls_ca` for TLS."""
        fields: dict[str, object] = {"@type": "Kafka", "brokers": [self.address(listener)], "groupId": "bus"}
        security = ("SASL_" if mechanism else "") + ("SSL" if tls_ca else "PLAINTEXT")
        fields["securityProtocol"] = security
        if mechanism:
            fields["saslMechanism"] = mechanism
            if mechanism != "OAUTHBEARER":
                fields["authUsername"] = user
            fields["authSecret"] = {"@type": "Value", "secret": password or USERS.get(user, "")}
        if tls_ca:
            fields["tlsCa"] = str(tls_ca)
        return fields


class KafkaCluster(LocalBroker):
    """Several brokers that are controllers as well, without TLS or login; topics have a replica on each.

    A quorum of them must run. `options`: more properties for each. Raises Unavailable, StartError.
    """

    def __init__(
        self, count: int = 3, folder: Path | None = None, *, options: Mapping[str, object] | None = None
    ) -> None:
        home = kafka_home()
        super().__init__("kafka", folder)
        nodes = [_Node(number, {"PLAINTEXT": Listener("PLAINTEXT")}) for number in range(1, count + 1)]
        replicas = {
            "default.replication.factor": count,
            "offsets.topic.replication.factor": count,
            "min.insync.replicas": (count + 1) // 2,
        }
        identity = new_id()
        self.ports: list[int] = [node.ports["PLAINTEXT"] for node in nodes]
        for node in nodes:
            node.set_up(self, identity, nodes, {**replicas, **(options or {})})
            # One alone is never ready: `settle` waits for all.
            self.add(f"kafka-{node.number}", home.command("kafka.Kafka", node.config(self)), lambda: True)
        self.start()

    @property
    def url(self) -> str:
        """With all brokers."""
        return "kafka://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def stop(self) -> None:
        """End it, not politely: its data goes with it, and a goodbye takes seconds; idempotent."""
        self.kill()
        super().stop()

    def settle(self) -> None:
        """Wait until every running broker serves."""
        running = zip(self.processes, self.ports, strict=True)
        for port in [port for process, port in running if process.is_running]:
            until(lambda: accepts("127.0.0.1", port), _START, self.logs)  # noqa: B023  # called at once


class _Node:
    """The configuration of one broker."""

    def __init__(self, number: int, listeners: Mapping[str, Listener], tls: Identity | None = None) -> None:
        self.number = number
        self.ports = {name: listener.port or free_port() for name, listener in listeners.items()}
        self.control = free_port()
        self._listeners = listeners
        self._tls = tls

    def config(self, broker: LocalBroker) -> Path:
        """Its file of properties."""
        return broker.folder / f"server-{self.number}.properties"

    def set_up(
        self, broker: LocalBroker, cluster: str, nodes: list[_Node], options: Mapping[str, object]
    ) -> Path:
        """Write its properties and make its data folder, which is returned."""
        data = broker.folder / f"data-{self.number}"
        properties = {**_FIXED, **self._own(data, nodes), **options}
        self.config(broker).write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        try:
            kafka_home().format(self.config(broker), cluster, USERS)
        except StartError:
            broker.stop()
            raise
        return data

    def _own(self, data: Path, nodes: list[_Node]) -> dict[str, object]:
        named = self._listeners.items()
        places = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        found: dict[str, object] = {
            "node.id": self.number,
            "log.dirs": data,
            "controller.quorum.voters": ",".join(f"{n.number}@127.0.0.1:{n.control}" for n in nodes),
            "listeners": ",".join(
                [
                    *(f"{name}://{place}" for name, place in places.items()),
                    f"CONTROLLER://127.0.0.1:{self.control}",
                ]
            ),
            "advertised.listeners": ",".join(
                f"{name}://{listener.advertised or places[name]}" for name, listener in named
            ),
            "listener.security.protocol.map": ",".join(
                [*(f"{name}:{listener.security}" for name, listener in named), "CONTROLLER:PLAINTEXT"]
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
        }
        for name, listener in named:
            found.update(_settings(f"listener.name.{name.lower()}.", listener, self._tls))
        return found


def _settings(prefix: str, listener: Listener, default: Identity | None) -> dict[str, object]:
    """What one listener needs for its logins and its certificate."""
    found: dict[str, object] = {}
    if listener.security.startswith("SASL_"):
        plain = " ".join(f'user_{user}="{password}"' for user, password in USERS.items())
        for mechanism, module in _MECHANISMS.items():
            words = {"PLAIN": plain, "OAUTHBEARER": 'unsecuredLoginStringClaim_sub="kafka"'}.get(
                mechanism, ""
            )
            found[f"{prefix}{mechanism.lower()}.sasl.jaas.config"] = f"{module} required {words};"
    if listener.security.endswith("SSL"):
        identity = listener.tls or default
        assert identity is not None, "a listener with TLS needs a certificate"
        found[f"{prefix}ssl.keystore.location"] = identity.both
        found[f"{prefix}ssl.truststore.location"] = identity.ca
        found[f"{prefix}ssl.client.auth"] = "required" if listener.demands else "requested"
    return found
