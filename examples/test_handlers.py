"""Handlers tested without a server, on virtual time: minutes pass in milliseconds, and a seed repeats a run.

    pytest examples/test_handlers.py

What is tested is a limit that all processes share: each tells the others what it has used of it.
"""

from __future__ import annotations

import asyncio

import pytest

from bus import Bus, Event, Loss, Resync
from bus.testing import Losses, MemoryFaults, run_sim

pytest_plugins = ["bus.testing.plugin"]


class Used(Event, tag="quota.used"):
    """A process has used some of the quota."""

    amount: int


class Quota:
    """What is left, as far as this process knows; on a loss it asks nobody, and is careful."""

    def __init__(self, bus: Bus, limit: int) -> None:
        self._bus, self._limit = bus, limit
        self.used, self.is_careful = 0, False

    def use(self, amount: int) -> bool:
        if self.is_careful or self.used + amount > self._limit:
            return False
        self.used += amount
        self._bus.publish(Used(amount))
        return True

    async def follow(self) -> None:
        async with self._bus.subscribe(Used) as inbox:
            async for item in inbox:
                match item:
                    case Used(amount=amount):
                        self.used += amount
                    case Loss():
                        self.is_careful = True


@pytest.mark.parametrize("seed", range(5))
def test_all_count_the_same_on_a_network_that_loses_and_doubles(seed: int) -> None:
    async def main() -> None:
        with MemoryFaults(seed=seed, drop=0.2, duplicate=0.2, delay=(0.0, 0.5)):
            async with Bus.open("memory://", node="a") as a, Bus.open("memory://", node="b") as b:
                quotas = [Quota(a, 1_000), Quota(b, 1_000)]
                following = [asyncio.create_task(quota.follow()) for quota in quotas]
                await a.ready(peers=1)
                await b.ready(peers=1)
                for _ in range(300):
                    for quota in quotas:
                        quota.use(1)
                    await asyncio.sleep(0.1)
                await asyncio.sleep(15)
                assert [quota.used for quota in quotas] == [600, 600]
        await asyncio.gather(*following)

    run_sim(main, seed=seed)


async def test_nothing_is_given_away_after_a_loss(bus_losses: Losses) -> None:
    async with Bus.open("memory://", node="a") as bus:
        quota = Quota(bus, 10)
        following = asyncio.create_task(quota.follow())
        await asyncio.sleep(0)
        assert quota.use(1)
        assert isinstance(bus_losses.resync(bus), Resync)
        await asyncio.sleep(0.01)
        assert not quota.use(1)
    await following
