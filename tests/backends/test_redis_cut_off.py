"""A Redis server confirms a frame and cuts off all who hear it, because its buffer for them is small."""

from __future__ import annotations

import pytest

from bus import Gap
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.redis import RedisServer
from bus.testing.conformance.cluster import all_heard, fresh_both_ways, nodes
from bus.testing.conformance.harness import Harness
from bus.testing.conformance.station import until
from tests.backends.redis_kit import SECONDS


def strict(broker_of: BrokerFactory) -> RedisServer:
    """At most 64 KiB may wait for one subscriber."""
    return broker_of(RedisServer, options=["--client-output-buffer-limit", "pubsub 65536 0 0"])


@pytest.mark.timeout(60)
async def test_frames_become_as_small_as_the_server_bears(broker_of: BrokerFactory) -> None:
    server = strict(broker_of)
    harness = Harness(coordinator=lambda: server.url)
    async with nodes(harness, 3) as made:
        made[0].publish(3_000, b"x" * 3_000)
        await all_heard(harness, made, 3 * SECONDS)
        assert "overcoming of output buffer limits" in server.logs(), "nobody was cut off"


@pytest.mark.timeout(60)
async def test_an_event_that_cuts_everybody_off_is_told_and_the_others_arrive(
    broker_of: BrokerFactory,
) -> None:
    server = strict(broker_of)
    harness = Harness(coordinator=lambda: server.url)
    async with nodes(harness, 3) as made:
        sender, *others = made
        sender.publish(500)
        sender.publish(1, b"x" * 200_000)
        sender.publish(500)
        await until(
            lambda: all(one.count(sender) == 1_000 and one.losses for one in others),
            3 * SECONDS,
            lambda: f"{[(one.count(sender), one.losses) for one in others]}",
        )
        for one in others:
            (loss,) = one.losses
            assert isinstance(loss, Gap)
            assert (loss.reason, loss.ranges) == ("too_large_for_link", ((501, 501),))
        await fresh_both_ways(made, 2 * SECONDS)
