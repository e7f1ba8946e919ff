"""The life of a backend and its links: what is made when, how it ends, what is left, what its errors say."""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from bus import Bus, ConfigError
from bus.backend import Backend, Fault, Features, Link
from bus.testing.conformance.cluster import Note, cluster_name
from bus.testing.conformance.footprint import descriptors, nothing_left
from bus.testing.conformance.harness import Selective, needs
from bus.testing.conformance.station import (
    CLOSE_LINK,
    Station,
    channel,
    hears,
    meet,
    numbered,
    relay,
    stations,
    until,
)
from bus.testing.leaks import children, threads

if TYPE_CHECKING:
    from bus.testing.conformance.harness import Harness

# Now, and not in the thread of the scenario that uses it: pytest parses what it imports of anyio, and CPython
# 3.11 raises "AST constructor recursion depth mismatch" when a traceback is written meanwhile, in another
# thread or by the garbage collector (which is how asyncio tells of a lost exception): that parses, too.
with suppress(ImportError):
    importlib.import_module("anyio._backends._trio")

CONSTRUCTION = 1.0
ABORT = 0.25
RUN_ENDS = 1.0
# When `connect` is cancelled: at once, in the middle, near the end.
CANCEL_AFTER = (0.0, 0.0005, 0.002, 0.005, 0.02, 0.1)
PROOFS = ("echo", "server", "peers")


class Strange(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


STRANGE_ERRORS: tuple[BaseException, ...] = (
    Exception(), ValueError("x"), TypeError(), KeyError("k"), RuntimeError("closed"),
    OSError(111, "Connection refused"), OSError(), ConnectionResetError(), BrokenPipeError(),
    EOFError(), TimeoutError(), asyncio.IncompleteReadError(b"", 4), asyncio.CancelledError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), MemoryError(), RecursionError(),
    ExceptionGroup("two", [ValueError("a"), OSError("b")]), KeyboardInterrupt(), SystemExit(1),
    GeneratorExit(), Strange(),
)  # fmt: skip


class Links(Selective):
    """Scenarios about construction, connect, run, close, abort and classify."""

    async def test_features_are_sane(self, harness: Harness) -> None:
        """They fit together, and the backend has the whole contract."""
        station = Station(harness, channel())
        features, backend = station.features, station.backend
        assert isinstance(features, Features), f"features is {features!r}, not Features(...)"
        assert features.proof in PROOFS, f"proof is {features.proof!r}; allowed: {PROOFS}"
        assert 0 < features.frame <= features.max_frame <= features.max_message, (
            f"0 < frame {features.frame} <= max_frame {features.max_frame} <= "
            f"max_message {features.max_message} does not hold"
        )
        assert features.frame >= 1_024, f"frame is {features.frame}; control frames need 1 KiB"
        assert isinstance(backend, Backend), "the backend lacks a part of bus.backend.Backend"
        try:
            await station.connect()
            assert isinstance(station.link, Link), "the link lacks a part of bus.backend.Link"
        finally:
            await station.drop()

    async def test_construction_does_no_io(self, harness: Harness) -> None:
        """`Bus.open` needs no event loop, opens nothing, starts nothing, and is quick."""
        coordinator = harness.coordinator()
        # Once before it is measured, so that what is imported is imported.
        await asyncio.to_thread(Bus.open, coordinator, cluster=cluster_name())
        opened, running, spawned = descriptors(), threads(), children()
        failures: list[BaseException] = []
        started = time.monotonic()

        def construct() -> None:
            try:
                Bus.open(coordinator, cluster=cluster_name())
            except BaseException as error:  # noqa: BLE001  # raised again below, in the loop's thread
                failures.append(error)

        thread = threading.Thread(target=construct, name="conformance.construct", daemon=True)
        thread.start()
        await until(lambda: not thread.is_alive(), harness.open_timeout, "Bus.open does not return")
        took = time.monotonic() - started
        if failures:
            raise failures[0]
        assert took < CONSTRUCTION, f"Bus.open took {took:.2f} s without waiting for anything"
        assert not descriptors() - opened, f"opened {descriptors() - opened} in the constructor"
        assert not threads() - running, f"started {threads() - running} in the constructor"
        assert not children().keys() - spawned.keys(), "started a process in the constructor"

    @needs("invalid")
    async def test_nonsense_is_refused_before_any_io(self, harness: Harness) -> None:
        """Each `Harness.invalid` raises ConfigError with a text in `Bus.open`."""
        for wrong in harness.nonsense():
            try:
                Bus.open(wrong, cluster=cluster_name())
            except ConfigError as error:
                assert str(error), "the ConfigError has no text"
                for secret in harness.secrets:
                    assert secret not in str(error), "the ConfigError shows a secret"
            else:
                raise AssertionError(f"Bus.open accepted {wrong!r}")

    async def test_connect_makes_a_new_client_each_time(self, harness: Harness) -> None:
        """Two links of one backend are two; the death of the first does not touch the second."""
        name = channel()
        async with stations(harness, 1, on=name) as (sender,):
            station = Station(harness, name, "twice")
            try:
                await station.connect()
                first = station.link
                first.abort()
                end = await station.ended(RUN_ENDS)
                assert end is not None, "run() goes on after abort()"
                await station.connect()
                assert station.link is not first, "connect() returned the old link again"
                first.abort()
                await meet([sender, station])
                await sender.send(numbered(1))
                await until(hears(station, 1), harness.patience, "the second link hears nothing")
                await station.send(numbered(2))
                await until(hears(sender, 2), harness.patience, "the second link is not heard")
            finally:
                await station.drop()

    async def test_run_lasts_as_long_as_the_link(self, harness: Harness) -> None:
        """`run` does not end while the system is healthy, and ends with an exception after `abort`."""
        async with stations(harness, 2) as (sender, receiver):
            await relay(sender, [receiver], [numbered(number) for number in range(20)])
            assert sender.end is None, f"run() ended on a healthy system: {sender.end!r}"
            assert receiver.end is None, f"run() ended on a healthy system: {receiver.end!r}"
            receiver.link.abort()
            end = await receiver.ended(RUN_ENDS)
            assert isinstance(end, Exception), (
                f"1 s after abort() the end of run() is {end!r}; it must raise an exception"
            )
            receiver.backend.classify(end)

    async def test_a_dead_link_refuses_to_send(self, harness: Harness) -> None:
        """`send` after `abort` raises what `classify` knows: no frame vanishes in silence."""
        async with stations(harness, 1) as (station,):
            station.link.abort()
            try:
                await station.send(numbered(1))
            except Exception as error:  # noqa: BLE001  # whatever the library raises
                fault = station.backend.classify(error)
                assert isinstance(fault, Fault), f"classify({error!r}) is {fault!r}, not a Fault"
                assert not fault.is_fatal, f"classify({error!r}) is {fault}: that is for operators"
            else:
                raise AssertionError("send() returned normally on a link that was aborted")

    async def test_abort_is_quick_and_may_be_repeated(self, harness: Harness) -> None:
        """Before `run`, during `send`, after `close`, three times each: at once, without raising."""

        def abort(link: Link, when: str) -> None:
            for _ in range(3):
                started = time.monotonic()
                result: object = link.abort()  # type: ignore[func-returns-value]  # it must be None
                took = time.monotonic() - started
                assert result is None, f"abort() {when} returned {result!r}: it is synchronous"
                assert took < ABORT, f"abort() {when} took {took:.2f} s"

        async with stations(harness, 1) as (station,):
            unread = await station.backend.connect()
            abort(unread, "before run()")
            frames = [numbered(number, 1_024) for number in range(500)]
            sending = asyncio.create_task(station.send(*frames))
            await until(lambda: station.sent or sending.done(), harness.patience, "send() does not return")
            abort(station.link, "during send()")
            await asyncio.wait({sending}, timeout=harness.patience)
            assert sending.done(), "send() hangs after abort()"
            _forget(sending)
        async with stations(harness, 1) as (station,):
            await station.close()
            abort(station.link, "after close()")

    async def test_close_returns_within_a_second(self, harness: Harness) -> None:
        """When idle, during `send`, twice, and after `abort`."""
        async with stations(harness, 2) as (idle, busy):
            await _closes(idle, "when idle")
            sending = asyncio.create_task(busy.send(*[numbered(n, 1_024) for n in range(500)]))
            await until(lambda: busy.sent or sending.done(), harness.patience, "send() does not return")
            await _closes(busy, "during send()")
            await asyncio.wait({sending}, timeout=harness.patience)
            assert sending.done(), "send() hangs after close()"
            _forget(sending)
            await _closes(busy, "the second time")
        async with stations(harness, 1) as (station,):
            station.link.abort()
            await _closes(station, "after abort()")

    async def test_close_lets_out_what_was_sent(self, harness: Harness) -> None:
        """Frames that `send` took before a polite `close` still arrive."""
        async with stations(harness, 2) as (sender, receiver):
            await sender.send(*[numbered(number) for number in range(20)])
            await _closes(sender, "after send()")
            for number in range(20):
                await until(hears(receiver, number), harness.patience, f"frame {number} of 20 was dropped")

    async def test_a_cancelled_connect_leaves_nothing(self, harness: Harness) -> None:
        """Whenever it is cancelled: it ends soon, and no task, thread or descriptor stays."""
        async with stations(harness, 1):
            pass  # what the library starts once per process has started
        async with nothing_left(harness.patience):
            for delay in CANCEL_AFTER:
                station = Station(harness, channel())
                connecting = asyncio.ensure_future(station.backend.connect())
                await asyncio.sleep(delay)
                connecting.cancel()
                await asyncio.wait({connecting}, timeout=harness.patience)
                assert connecting.done(), f"connect() goes on, cancelled after {delay} s"
                if not connecting.cancelled() and connecting.exception() is None:
                    connecting.result().abort()
                station.recorder.shut()

    async def test_a_cancelled_send_leaves_nothing(self, harness: Harness) -> None:
        """Cancelling `send` and `run` ends them soon; after `abort` nothing of the link stays."""
        async with stations(harness, 1):
            pass
        async with nothing_left(harness.patience):
            for delay in CANCEL_AFTER[:5]:
                async with stations(harness, 2) as (sender, receiver):
                    sending = asyncio.create_task(_send_for_ever(sender))
                    await asyncio.sleep(delay)
                    sending.cancel()
                    await asyncio.wait({sending}, timeout=CLOSE_LINK)
                    assert sending.done(), "send() goes on after it was cancelled"
                    assert receiver.end is None, f"the other link died: {receiver.end!r}"

    async def test_classify_never_raises(self, harness: Harness) -> None:
        """Whatever exception it gets, it answers with a Fault or None; and no network error is fatal."""
        backend = Station(harness, channel()).backend
        for error in STRANGE_ERRORS:
            try:
                fault = backend.classify(error)
            except BaseException as bug:
                raise AssertionError(f"classify({type(error).__name__}) raised {type(bug).__name__}") from bug
            assert fault is None or isinstance(fault, Fault), (
                f"classify({type(error).__name__}) is {fault!r}, neither a Fault nor None"
            )
            if isinstance(error, OSError):
                assert fault is None or not fault.is_fatal, (
                    f"classify({type(error).__name__}) is {fault}: a network error is no "
                    "configuration error, the bus would give up"
                )

    async def test_links_of_one_process_share_nothing(self, harness: Harness) -> None:
        """20 connections made and dropped beside a living one leave it alone, and nothing behind."""
        async with stations(harness, 2) as (sender, receiver):
            async with nothing_left(harness.patience):
                for number in range(20):
                    station = Station(harness, receiver.recorder.context.channel, f"guest-{number}")
                    await station.connect()
                    if number % 2:
                        await _closes(station, "with others around")
                    await station.drop()
            await relay(sender, [receiver], [numbered(number) for number in range(20)])
            assert hears(receiver, 19)(), "the living link went deaf"

    async def test_trio_works_or_is_refused_before_any_io(self, harness: Harness) -> None:
        """On trio two nodes hear each other, or `async with` raises ConfigError (`asyncio_only`)."""
        import pytest

        pytest.importorskip("trio", reason="trio is not installed")
        asyncio_only = Station(harness, channel()).features.asyncio_only
        run: Callable[[Harness], None] = _refused_on_trio if asyncio_only else _works_on_trio
        failures: list[BaseException] = []

        def in_thread() -> None:
            try:
                run(harness)
            except BaseException as error:  # noqa: BLE001  # raised again below, in the loop's thread
                failures.append(error)

        thread = threading.Thread(target=in_thread, name="conformance.trio", daemon=True)
        thread.start()
        await until(
            lambda: not thread.is_alive(),
            2 * harness.open_timeout + harness.patience + 5,
            "the trio program did not end",
        )
        if failures:
            raise failures[0]


def _forget(task: asyncio.Task[None]) -> None:
    """Look at its exception, so that nobody reports it as never retrieved."""
    if task.done() and not task.cancelled():
        task.exception()


async def _closes(station: Station, when: str) -> None:
    try:
        await station.close()
    except Exception as error:
        raise AssertionError(f"close() {when}: {type(error).__name__}: {error}") from error


async def _send_for_ever(station: Station) -> None:
    number = 0
    while True:
        await station.link.send(numbered(number, 4_096))
        number += 1
        # Some links never suspend; the one that cancels needs the loop.
        await asyncio.sleep(0)


def _works_on_trio(harness: Harness) -> None:
    async def main() -> None:
        cluster = cluster_name()
        async with (
            Bus.open(harness.coordinator(), node="one", cluster=cluster, events=(Note,)) as one,
            Bus.open(harness.coordinator(), node="two", cluster=cluster, events=(Note,)) as two,
        ):
            await one.ready(timeout=harness.open_timeout, peers=1)
            await two.ready(timeout=harness.open_timeout, peers=1)
            async with two.subscribe(Note) as inbox:
                one.publish(Note("one", 1))
                with anyio.fail_after(harness.patience):
                    assert await anext(inbox) == Note("one", 1)

    anyio.run(main, backend="trio")


def _refused_on_trio(harness: Harness) -> None:
    async def main() -> None:
        bus = Bus.open(harness.coordinator(), cluster=cluster_name())
        try:
            async with bus:
                pass
        except ConfigError as error:
            assert "asyncio" in str(error), f"the error does not say what is needed: {error}"
        else:
            raise AssertionError("Features.asyncio_only is set, and trio was not refused")

    anyio.run(main, backend="trio")
