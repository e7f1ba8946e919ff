"""What happens when the server is away, frozen, restarted, or refuses us. The harness does it for real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bus import AuthError, BusError
from bus.backend import Fault
from bus.testing.conformance.closing import closes
from bus.testing.conformance.cluster import (
    Node,
    all_balanced,
    all_heard,
    cluster_name,
    fresh_both_ways,
    node,
    nodes,
)
from bus.testing.conformance.footprint import nothing_left, overheard
from bus.testing.conformance.harness import Selective, needs
from bus.testing.conformance.station import Station, channel, numbered, relay, stations, until

if TYPE_CHECKING:
    from bus.testing.conformance.harness import Harness

# Seconds after which the state must say that the link is no longer proven: DEGRADED after 3.
NOTICED = 6.0
# A fresh event both ways within this time after the fault has healed.
RECOVERY = 6.0
DEAD_LINK = 5.0
LONGEST_PUBLISH = 0.1
UNPROVEN = ("DEGRADED", "BACKOFF", "CONNECTING")


class Faults(Selective):
    """Scenarios with a server that fails. Each needs something of the harness, or is skipped."""

    @needs("unreachable")
    async def test_an_unreachable_server_is_tried_again(self, harness: Harness) -> None:
        """BACKOFF with an error text; publish works, `ready` says what is missing, close is quick."""
        coordinator = harness.configuration("unreachable")
        async with node(harness, "first", cluster_name(), coordinator) as one:
            # What the library starts once per process, it starts here.
            await until(lambda: one.bus.status().state == "BACKOFF", harness.open_timeout, "")
        async with nothing_left(harness.patience):
            with overheard() as lines:
                async with node(harness, "lonely", cluster_name(), coordinator) as one:
                    await until(
                        lambda: one.bus.status().state == "BACKOFF",
                        harness.open_timeout,
                        lambda: f"it is {one.bus.status().state}, never BACKOFF",
                    )
                    (link,) = one.bus.status().links
                    assert link.error, "the status has no error text"
                    one.publish(10)
                    try:
                        await one.bus.ready(timeout=0.3)
                    except TimeoutError as error:
                        text = str(error)
                    else:
                        raise AssertionError("ready() returned without a server")
                    await closes(one, "without a server")
                _check_silence(harness, [*lines, link.error, text, repr(one.bus.status())])

    @needs("unreachable")
    async def test_a_failed_connect_is_classified(self, harness: Harness) -> None:
        """`connect` to nobody raises in time what `classify` calls a fault that may pass."""
        station = Station(harness, channel(), coordinator=harness.configuration("unreachable"))
        try:
            await station.connect()
        except Exception as error:  # noqa: BLE001  # whatever the library raises
            fault = station.backend.classify(error)
            if not isinstance(error, BusError):
                assert isinstance(fault, Fault), f"classify({error!r}) is {fault!r}, not a Fault"
            assert fault is None or not fault.is_fatal, f"{error!r} is {fault}: the bus gives up"
        else:
            raise AssertionError("connect() returned, and there is no server")
        finally:
            await station.drop()

    @needs("wrong_credentials")
    async def test_wrong_credentials_are_fatal(self, harness: Harness) -> None:
        """`ready` raises AuthError, the state is FATAL, and the secret is shown nowhere."""
        coordinator = harness.configuration("wrong_credentials")
        with overheard() as lines:
            async with node(harness, "intruder", cluster_name(), coordinator) as one:
                try:
                    await one.bus.ready(timeout=harness.open_timeout)
                except AuthError as error:
                    text = str(error)
                else:
                    raise AssertionError("ready() returned with wrong credentials")
                assert one.bus.status().state == "FATAL", f"it is {one.bus.status().state}"
                await closes(one, "when FATAL")
                _check_silence(harness, [*lines, text, repr(one.bus.status())])

    @needs("restart")
    async def test_a_restarted_server_costs_no_untold_event(self, harness: Harness) -> None:
        """Under load: fresh events both ways within 6 s, and every event delivered or told."""
        restart = harness.step("restart")
        async with nodes(harness, 3) as made:
            async with publishing(made):
                await until(
                    lambda: all(to.count(one) >= 20 for to in made for one in made if to is not one),
                    harness.patience,
                    "events do not flow on a healthy system",
                )
                await restart()
                await fresh_both_ways(made, RECOVERY)
            await all_balanced(made, 3 * harness.patience)

    @needs("kill", "restart")
    async def test_a_dead_server_is_noticed(self, harness: Harness) -> None:
        """Killed: the state leaves READY, publish never waits, close is quick, and it comes back."""
        kill, restart = harness.step("kill"), harness.step("restart")
        async with nodes(harness, 3) as (one, two, leaver):
            one.publish(100)
            await all_heard(harness, [one, two])
            await kill()
            try:
                await until(
                    lambda: one.bus.status().state != "READY",
                    NOTICED,
                    f"{NOTICED:g} s after the death of the server the state is still READY",
                )
                _publish_quickly(one)
                await closes(leaver, "while the server is dead")
            finally:
                await restart()
            await fresh_both_ways([one, two], RECOVERY)
            await all_balanced([one, two], 3 * harness.patience)

    @needs("kill", "restart")
    async def test_a_link_whose_server_died_says_so(self, harness: Harness) -> None:
        """`run` or `send` raises soon what `classify` knows: the link never plays alive."""
        kill, restart = harness.step("kill"), harness.step("restart")
        async with stations(harness, 2) as (sender, receiver):
            await relay(sender, [receiver], [numbered(number) for number in range(10)])
            await kill()
            try:
                errors: list[Exception] = []
                deadline = time.monotonic() + DEAD_LINK
                while not errors and time.monotonic() < deadline:
                    try:
                        await sender.send(numbered(10))
                    except Exception as error:  # noqa: BLE001  # whatever the library raises
                        errors.append(error)
                    if isinstance(sender.end, Exception):
                        errors.append(sender.end)
                    await asyncio.sleep(0.02)
                assert errors, f"{DEAD_LINK:g} s after the death neither run() nor send() raised"
                for reason in errors:
                    fault = sender.backend.classify(reason)
                    assert fault is None or not fault.is_fatal, f"{reason!r} is {fault}"
            finally:
                await sender.drop()
                await receiver.drop()
                await restart()

    @needs("pause", "resume")
    async def test_a_frozen_server_degrades_the_link(self, harness: Harness) -> None:
        """Frozen: the state says so, publish never waits; then everything is delivered or told."""
        pause, resume = harness.step("pause"), harness.step("resume")
        async with nodes(harness, 2) as (one, two):
            one.publish(100)
            await all_heard(harness, [one, two])
            await pause()
            try:
                await until(
                    lambda: one.bus.status().state in UNPROVEN,
                    NOTICED,
                    f"the server is frozen for {NOTICED:g} s and the state is still READY",
                )
                _publish_quickly(one)
                _publish_quickly(two)
            finally:
                await resume()
            await fresh_both_ways([one, two], RECOVERY)
            await all_balanced([one, two], 3 * harness.patience)

    @needs("pause", "resume")
    async def test_close_is_quick_while_the_server_is_frozen(self, harness: Harness) -> None:
        """With events that can go nowhere; within the same two seconds, and nothing stays."""
        pause, resume = harness.step("pause"), harness.step("resume")
        async with nothing_left(harness.patience), nodes(harness, 2) as (one, two):
            await pause()
            try:
                one.publish(1_000, b"x" * 1_000)
                # Nothing tells when a link is stuck with what it took; too early is harder, not wrong.
                await asyncio.sleep(0.05)
                await closes(one, "while the server is frozen")
                await closes(two, "while the server is frozen")
            finally:
                await resume()


@asynccontextmanager
async def publishing(made: Sequence[Node]) -> AsyncGenerator[None, None]:
    """Every node publishes about 200 events per second during the block."""
    is_over = False

    async def publish() -> None:
        while not is_over:
            for one in made:
                one.publish(2, b"x" * 100)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        is_over = True
        await task


def _publish_quickly(one: Node) -> None:
    """Thousands of events; none waits, whatever the link does. The best of three runs counts."""
    longest: list[float] = []
    for _ in range(3):
        longest.append(0.0)
        for _ in range(2_000):
            started = time.monotonic()
            one.publish()
            longest[-1] = max(longest[-1], time.monotonic() - started)
        if longest[-1] < LONGEST_PUBLISH:
            return
    raise AssertionError(f"publish waits: one took {min(longest):.3f} s and more")


def _check_silence(harness: Harness, texts: Sequence[str]) -> None:
    for secret in harness.secrets:
        shown = [text for text in texts if secret in text]
        assert not shown, "a secret is shown: " + shown[0].replace(secret, "<the secret>")
