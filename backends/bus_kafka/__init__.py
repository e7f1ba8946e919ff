"""The Kafka backend: Apache Kafka, or what speaks its protocol. See README.md.

Every node reads every partition of the topic, without a consumer group and from the end on, and sends to one.
Its own frames come back to it: that proves the link. The acknowledgement of the leader confirms a frame.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, ClassVar

from bus.backend import Context, Fault, Features
from bus.config import Kafka
from bus.errors import AuthError, BusError, ConfigError, LinkError, TlsError

if TYPE_CHECKING:
    from bus_kafka.access import Access
    from bus_kafka.link import KafkaLink
    from bus_kafka.wire import Wire

PORT = 9092
# Of the time to connect; in the rest we say ourselves what was too slow.
SHARE = 0.9

_FAULTS: dict[type[BaseException], Fault] = {
    AuthError: Fault.AUTH,
    TlsError: Fault.TLS,
    ConfigError: Fault.CONFIG,
    LinkError: Fault.UNREACHABLE,
    TimeoutError: Fault.TIMEOUT,
    OSError: Fault.UNREACHABLE,
}


class KafkaBackend:
    """Backend for the variant `Kafka`."""

    features: ClassVar[Features] = Features(
        proof="echo", confirms=True, frame=262_144, asyncio_only=True, broker_time=True
    )
    Config: ClassVar[type[Kafka]] = Kafka

    def __init__(self, config: Kafka, context: Context) -> None:
        """Raises ModuleNotFoundError without the client library."""
        from bus_kafka.wire import Address, codecs

        codecs()
        self._config = config
        self._context = context
        self._brokers = [Address(*_split(text)) for text in config.brokers]

    async def connect(self) -> KafkaLink:
        """The first broker that answers knows who leads our topic; there we connect to."""
        from bus_kafka.access import Access

        client = f"{self._config.group_id}-{self._context.node}"
        access = await asyncio.to_thread(Access, self._config, client)
        wires: list[Wire] = []
        budget = self._context.connect_timeout * SHARE
        try:
            async with asyncio.timeout(budget):
                return await self._connect(access, wires, asyncio.get_running_loop().time() + budget)
        except TimeoutError:
            self._drop(wires)
            where = wires[-1].address if wires else "they"
            text = f"{where} did not lead us to the topic {self._context.channel} within {budget:g} s"
            failure = LinkError(f"brokers: {text}")
        except BaseException:
            self._drop(wires)
            raise
        raise failure

    def classify(self, exc: BaseException) -> Fault | None:
        """What `connect` and the link raise is made by us, and says itself what it is."""
        for kind, fault in _FAULTS.items():
            if isinstance(exc, kind):
                return fault
        return None

    async def _connect(self, access: Access, wires: list[Wire], deadline: float) -> KafkaLink:
        from bus_kafka.link import KafkaLink
        from bus_kafka.reader import Reader
        from bus_kafka.topic import PARTITION, ends, find

        config, context = self._config, self._context
        first = await self._first(access, deadline)
        wires.append(first)
        layout = await find(first, access, context.channel)
        unused = [first]

        async def reach(broker: int) -> Wire:
            address = layout.brokers[broker]
            if unused and address == first.address:
                return unused.pop()
            try:
                wires.append(await access.open(address, _left(deadline)))
            except BusError as error:
                told = f"broker {broker} says that it is at {address} (advertised.listeners)"
                raise type(error)(f"{told}, and there: {error}") from None
            return wires[-1]

        readers: list[Reader] = []
        for leader in sorted(set(layout.leaders.values())):
            wire = await reach(leader)
            partitions = [one for one, its_leader in layout.leaders.items() if its_leader == leader]
            found = await ends(wire, context.channel, partitions, access.user)
            readers.append(Reader(wire, found, context, access.user, config.timeout_session.seconds))
        sender = await reach(layout.leaders[PARTITION])
        self._drop(unused)
        return KafkaLink(context, access.user, layout, readers, sender, config.timeout_message.seconds)

    async def _first(self, access: Access, deadline: float) -> Wire:
        """A broker that answers, in any order. Raises what all of them have in common, if anything."""
        errors: list[BusError] = []
        brokers = random.sample(self._brokers, len(self._brokers))
        for number, broker in enumerate(brokers):
            try:
                # One that swallows everything must leave time for the others, and for saying so.
                return await access.open(broker, SHARE * _left(deadline) / (len(brokers) - number))
            except BusError as error:
                if isinstance(error, AuthError):  # the same at each
                    raise
                errors.append(error)
        lasting = [error for error in errors if isinstance(error, ConfigError)]
        if len(errors) == 1 or len(lasting) == len(errors):
            raise errors[0]
        raise LinkError("; ".join(dict.fromkeys(str(error) for error in errors)))

    @staticmethod
    def _drop(wires: list[Wire]) -> None:
        for wire in wires:
            wire.abort()


def _left(deadline: float) -> float:
    return max(0.1, deadline - asyncio.get_running_loop().time())


def _split(text: str) -> tuple[str, int]:
    """host[:port], checked by the configuration."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    return host.strip("[]"), int(port)
