"""What a node knows of the cluster: who is silent, down, gone or back, who is deaf to whom.

On virtual time.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bus import Bus, Message
from bus.admin.page import cluster
from bus.admin.page.cluster import SHOW_DOWN, SHOW_LEFT, Census
from bus.testing import MemoryFaults, run_sim

Json = dict[str, Any]


async def opened(stack: AsyncExitStack, *names: str) -> list[Bus]:
    buses = [await stack.enter_async_context(Bus.open("memory://", node=name)) for name in names]
    await asyncio.sleep(6)
    return buses


def states(found: Any) -> Json:
    return {node["name"]: node["state"] for node in found["nodes"]}


async def looks(census: Census, seconds: int) -> Any:
    """One look a second, as the feed does it; the last one."""
    found: Any = census.look()
    for _ in range(seconds):
        await asyncio.sleep(1)
        found = census.look()
    return found


def test_a_node_that_is_deaf_in_one_direction_is_named_with_the_direction() -> None:
    async def main() -> None:
        with MemoryFaults() as faults:
            async with AsyncExitStack() as stack:
                a, *_ = await opened(stack, "a", "b", "c")
                census = Census(a)
                assert (await looks(census, 2))["matrix"] == ["-yy", "y-y", "yy-"]
                faults.cut("b", "c")  # c no longer hears b; everybody hears everybody else
                found = await looks(census, 5)
                assert found["matrix"] == ["-yy", "y-y", "yn-"]
                assert states(found) == {"a": "self", "b": "up", "c": "up"}
                faults.heal()
                assert (await looks(census, 3))["matrix"] == ["-yy", "y-y", "yy-"]

    run_sim(main, limit=60)


def test_a_node_that_says_nothing_is_silent_then_down_and_comes_back() -> None:
    async def main() -> None:
        with MemoryFaults() as faults:
            async with AsyncExitStack() as stack:
                a, _ = await opened(stack, "a", "b")
                census = Census(a)
                faults.partition("a", "b")
                found = await looks(census, 5)
                assert (states(found)["b"], found["matrix"]) == ("silent", ["-n", "?-"])
                found = await looks(census, 7)
                assert states(found)["b"] == "down"
                found = await looks(census, 5)
                (row,) = (node for node in found["nodes"] if node["name"] == "b")
                assert 4 <= row["since"] <= 8
                faults.heal()
                found = await looks(census, 3)
                assert states(found)["b"] == "up"

    run_sim(main, limit=60)


def test_a_node_that_runs_again_has_one_row_and_one_that_left_goes_after_a_while() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            (a,) = await opened(stack, "a")
            census = Census(a)
            for _ in range(3):
                async with Bus.open("memory://", node="b"):
                    found = await looks(census, 2)
                    assert states(found) == {"a": "self", "b": "up"}
                found = await looks(census, 2)
                assert states(found) == {"a": "self", "b": "left"}
                assert len(found["nodes"]) == 2
            found = await looks(census, int(SHOW_LEFT))
            assert (states(found), found["gone"]) == ({"a": "self"}, 1)

    run_sim(main, limit=200)


def test_a_node_that_was_killed_and_runs_again_is_no_twin() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, old = await opened(stack, "a", "b")
            census = Census(a)
            await looks(census, 1)
            for link in old._node.links:  # pyright: ignore[reportPrivateUsage]  # killed: no goodbye
                link.outlet.is_up = False
            await old.aclose()
            await stack.enter_async_context(Bus.open("memory://", node="b"))
            for _ in range(20):
                found = await looks(census, 1)
                assert [node["name"] for node in found["nodes"]] == ["a", "b"]
                assert not any(node.get("hasTwin") for node in found["nodes"])
            assert states(census.look())["b"] == "up"

    run_sim(main, limit=60)


def test_a_node_that_is_down_for_long_is_only_counted() -> None:
    async def main() -> None:
        with MemoryFaults() as faults:
            async with AsyncExitStack() as stack:
                a, _ = await opened(stack, "a", "b")
                census = Census(a)
                faults.partition("a", "b")
                found = await looks(census, int(SHOW_DOWN) + 15)
                assert (states(found), found["gone"]) == ({"a": "self"}, 1)

    run_sim(main, limit=900)


def test_two_that_share_a_name_are_both_shown() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, *_ = await opened(stack, "a", "twin", "twin")
            found = await looks(Census(a), 4)
            assert [node["name"] for node in found["nodes"]] == ["a", "twin", "twin"]
            assert [node.get("hasTwin") for node in found["nodes"]] == [None, True, True]

    run_sim(main, limit=60)


def test_rates_and_figures_are_those_of_the_ledger() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, b = await opened(stack, "a", "b")
            census = Census(a)
            census.look()
            for _ in range(50):
                b.publish(Message("x", b""))
                a.publish(Message("x", b""))
            await asyncio.sleep(2)
            found: Any = census.look()
            assert [node["rate"] for node in found["nodes"]] == [25.0, 25.0]
            (peer,) = a.status().peers
            row = found["nodes"][1]
            assert (row["delivered"], row["lost"], row["repaired"], row["behind"]) == (50, 0, 0, 0)
            assert (row["epoch"], row["latency"]) == (f"{peer.epoch:016x}", round(peer.latency_ms or 0, 2))
            assert (found["published"], found["unsent"]) == (50, 0)

    run_sim(main, limit=60)


def test_a_large_cluster_is_shown_in_bounds_and_unknown_is_not_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "MOST_NODES", 20)
    monkeypatch.setattr(cluster, "MOST_IN_MATRIX", 12)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, *_ = await opened(stack, "a", *(f"n{number:03}" for number in range(25)))
            found = await looks(Census(a), 12)
            assert (len(found["nodes"]), found["gone"]) == (20, 6)
            assert [len(row) for row in found["matrix"]] == [12] * 12
            assert not any("n" in row for row in found["matrix"]), found["matrix"]
            assert sum(row.count("y") for row in found["matrix"]) > 12 * 2

    run_sim(main, limit=60)


def test_a_node_without_a_link_says_why() -> None:
    async def main() -> None:
        async with Bus.open({"@type": "Disabled"}, node="alone") as bus:
            found: Any = Census(bus).look()
            assert (found["state"], found["links"], found["matrix"]) == ("DISABLED", [], ["-"])

    run_sim(main)
