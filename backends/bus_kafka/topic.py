"""Our topic: where its partitions are, and where their logs end; it is made if it is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from bus.errors import AuthError, BusError, ConfigError, LinkError
from bus_kafka.wire import Address, Reply, Request, Wire, codecs

if TYPE_CHECKING:
    from bus_kafka.access import Access

# Every node sends to this one: so one order holds, and more partitions change nothing.
PARTITION = 0
# What the topic is made with: news of minutes, stamped by the broker (rule 14), room for the largest event,
# and little to look through for a broker that starts after a crash.
SETTINGS = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "max.message.bytes": str(2 << 20),
    "message.timestamp.type": "LogAppendTime",
    "retention.bytes": str(256 << 20),
    "retention.ms": "600000",
    "segment.bytes": str(32 << 20),
}
_CREATE_MS = 3_000
_LOOK_AGAIN = 0.05
_LOOKS = 20

# Errors of the broker.
_NONE, _UNKNOWN, _NO_LEADER, _NOT_LEADER, _EXISTS, _NO_END = 0, 3, 5, 6, 36, 78
_SETTLING = {_UNKNOWN, _NO_LEADER, _NOT_LEADER, _NO_END}
_TOO_LARGE, _TOPIC_DENIED, _CLUSTER_DENIED = 10, 29, 31
# Against these no waiting helps: the name, a setting, a policy of the brokers, a compacted topic.
_LASTING = {17: "", 40: "", 44: "", 87: "; set its cleanup.policy to delete"}


class Layout(NamedTuple):
    """Who leads which partition, as one broker knows it; `code` is the topic's error."""

    code: int
    leaders: Mapping[int, int]
    brokers: Mapping[int, Address]


def layout_request(topic: str) -> Request:
    """Does not make the topic."""
    return codecs().protocol.metadata.MetadataRequest([topic], allow_auto_topic_creation=False)


def layout_of(reply: Reply) -> Layout:
    """What it says."""
    (topic,) = reply.topics
    brokers = {broker[0]: Address(*broker[1:3]) for broker in reply.brokers}
    # error, partition, leader, ...; a leader that is no broker is away, or there is none.
    leaders = {partition[1]: partition[2] for partition in topic[-1] if partition[2] in brokers}
    return Layout(topic[0], leaders, brokers)


async def find(wire: Wire, access: Access, topic: str) -> Layout:
    """The layout, as soon as our partition has a leader; the caller bounds it."""
    is_made = False
    while True:
        try:
            layout = layout_of(await wire.ask(layout_request(topic)))
        except LinkError as error:
            raise await access.demand(wire.address) or error from None
        if layout.code == _UNKNOWN and not is_made:
            await _make(wire, topic, access.user)
            is_made = True
        elif layout.code not in (_NONE, _NO_LEADER, _UNKNOWN):
            raise refusal(layout.code, "describe", topic, access.user)
        if PARTITION in layout.leaders:
            return layout
        await asyncio.sleep(_LOOK_AGAIN)


async def ends(wire: Wire, topic: str, partitions: Iterable[int], user: str | None) -> dict[int, int]:
    """Where the logs of these partitions end now: what is sent from now on comes behind."""
    latest = [(partition, -1) for partition in partitions]
    request = codecs().protocol.offset.OffsetRequest(-1, 0, [(topic, latest)])
    looks = 0
    while True:
        rows = (await wire.ask(request)).topics[0][1]
        codes = {row[1] for row in rows} - {_NONE}
        if not codes:
            return {partition: offset for partition, _, _, offset, *_ in rows}
        looks += 1
        # A broker that becomes a leader says so a little earlier than it is one.
        if not codes <= _SETTLING or looks == _LOOKS:
            raise refusal(codes.pop(), "find the end of", topic, user)
        await asyncio.sleep(_LOOK_AGAIN)


def refusal(code: int, doing: str, topic: str, user: str | None, said: str | None = None) -> BusError:
    """What an error of the broker about our topic means; `doing` is a word like "read"."""
    if code in (_TOPIC_DENIED, _CLUSTER_DENIED):
        who = f"the user {user!r} (authUsername)" if user else "who does not log in by a name (authUsername)"
        return AuthError(
            f"{who} may not {doing} the topic {topic}: kafka-acls.sh --add --operation Describe --operation "
            f"Read --operation Write --topic {topic} --allow-principal User:{user or 'ANONYMOUS'}"
        )
    if code == _TOO_LARGE:
        return LinkError(f"the topic {topic} takes no frame of this size: raise its max.message.bytes")
    what = codecs().errors.for_code(code)
    text = f"could not {doing} the topic {topic}: {said or what.__name__ + ': ' + what.description}"
    if code in _LASTING:
        return ConfigError(f"we {text}{_LASTING[code]}")
    return LinkError(f"the broker {text}")


async def _make(wire: Wire, topic: str, user: str | None) -> None:
    """With one partition, and as many replicas as the brokers do it by default."""
    wanted = (topic, 1, -1, (), list(SETTINGS.items()))
    reply = await wire.ask(codecs().protocol.admin.CreateTopicsRequest([wanted], _CREATE_MS, False))
    _, code, said = reply.topic_errors[0]
    if code in (_NONE, _EXISTS):
        return
    error = refusal(code, "create", topic, user, said)
    if isinstance(error, ConfigError):
        settings = " ".join(f"--config {name}={value}" for name, value in SETTINGS.items())
        error = type(error)(
            f"the topic {topic} is missing, and we may not make it ({said or error}); an operator may: "
            f"kafka-topics.sh --create --bootstrap-server {wire.address} --topic {topic} --partitions 1 "
            f"{settings}"
        )
    raise error
