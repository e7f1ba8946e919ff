"""What the variants without fields do: Disabled, Memory, Default."""

from __future__ import annotations

import secrets

import pytest

from bus import Bus, ConfigError, Event
from bus.testing.brokers import Broker
from bus.testing.proxy import Proxy
from tests.fields.effects import effect


class Said(Event, tag="test.fields.said"):
    number: int


@effect("Disabled", "@type", "publishing works, no link is made and nobody hears it")
async def test_disabled_has_no_link_and_no_peer() -> None:
    cluster = secrets.token_hex(4)
    async with (
        Bus.open({"@type": "Disabled"}, cluster=cluster) as alone,
        Bus.open({"@type": "Memory"}, cluster=cluster) as other,
        other.subscribe(Said) as inbox,
    ):
        await other.ready()
        assert alone.publish(Said(1)) == 1
        await alone.ready()
        await alone.flush()
        assert (alone.status().state, alone.status().links, alone.status().alone) == ("DISABLED", (), True)
        async with Bus.open({"@type": "Memory"}, cluster=cluster) as third:
            await other.ready(peers=1)
            third.publish(Said(2))
            assert await anext(aiter(inbox)) == Said(2)


@effect(
    "Memory",
    "@type",
    "the buses of one process with the same cluster hear each other, those of others do not",
)
async def test_memory_joins_the_buses_of_one_cluster() -> None:
    cluster = secrets.token_hex(4)
    async with (
        Bus.open({"@type": "Memory"}, cluster=cluster) as one,
        Bus.open({"@type": "Memory"}, cluster=cluster) as two,
        Bus.open({"@type": "Memory"}, cluster=f"{cluster}-other") as other,
        two.subscribe(Said) as inbox,
    ):
        await one.ready(peers=1)
        await two.ready(peers=1)
        await other.ready()
        assert (await one.confirm(one.publish(Said(1)), 5)).heard == {two.status().node}
        assert await anext(aiter(inbox)) == Said(1)
        assert other.status().alone


@effect(
    "Default", "@type", "the Redis store that the application has (`Bus.open(store=...)`) carries the bus"
)
async def test_default_connects_to_the_store_of_the_application(redis_server: Broker) -> None:
    host, _, port = redis_server.url.rpartition("/")[2].partition(":")
    cluster = secrets.token_hex(4)
    with Proxy((host, int(port))) as proxy:
        store = f"redis://{proxy.address}"
        async with (
            Bus.open({"@type": "Default"}, cluster=cluster, store=store) as one,
            Bus.open(redis_server.url, cluster=cluster) as two,
            two.subscribe(Said) as inbox,
        ):
            await one.ready(peers=1)
            await two.ready(peers=1)
            assert one.status().links[0].type == "Redis"
            assert proxy.connections > 0
            one.publish(Said(1))
            assert await anext(aiter(inbox)) == Said(1)


@pytest.mark.parametrize("store", [None, "nats://127.0.0.1:4222", "memory://"])
def test_default_needs_a_redis_store(store: str | None) -> None:
    with pytest.raises(ConfigError, match="store="):
        Bus.open({"@type": "Default"}, store=store)
