"""isolated(): a call of a library is bounded, cancels nobody but itself, and no result is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import anyio.to_thread
import pytest

from bus.isolation import Hung, Job, LibraryCancelled, Loop, Waker, current_loop, isolated
from tests.bus.cluster import PATIENCE, until

pytestmark = pytest.mark.loops


async def value() -> int:
    return 7


async def test_it_returns_what_the_call_returns_and_raises_what_it_raises() -> None:
    async def breaks() -> int:
        raise KeyError("mine")

    assert await isolated(current_loop(), value, 1, "call") == 7
    with pytest.raises(KeyError, match="mine"):
        await isolated(current_loop(), breaks, 1, "call")


async def test_a_call_that_hangs_is_cancelled_and_given_up() -> None:
    strays: list[Job] = []
    with anyio.fail_after(PATIENCE), pytest.raises(Hung, match=r"call did not return within 0\.02 s"):
        await isolated(current_loop(), anyio.sleep_forever, 0.02, "call", strays=strays)
    (stray,) = strays
    assert await stray.join(PATIENCE), "it was not cancelled"


async def test_a_call_that_swallows_cancellation_cannot_keep_us() -> None:
    strays: list[Job] = []
    is_over = anyio.Event()

    async def deaf() -> None:
        while not is_over.is_set():
            with anyio.CancelScope(shield=True):
                try:
                    await is_over.wait()
                except asyncio.CancelledError:
                    continue

    with anyio.fail_after(PATIENCE), pytest.raises(Hung):
        await isolated(current_loop(), deaf, 0.02, "call", strays=strays)
    (stray,) = strays
    assert not await stray.join(0.02)
    is_over.set()
    assert await stray.join(PATIENCE)


async def test_when_we_are_cancelled_so_is_the_call() -> None:
    strays: list[Job] = []
    ended: list[str] = []

    async def waits() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")

    with anyio.move_on_after(0.02) as scope:
        await isolated(current_loop(), waits, 60, "call", strays=strays)
    assert scope.cancelled_caught
    assert await strays[0].join(PATIENCE)
    assert ended == ["cancelled"]


async def test_a_result_that_comes_too_late_is_handed_to_be_thrown_away() -> None:
    late: list[int] = []
    may_return = anyio.Event()

    async def slow() -> int:
        with anyio.CancelScope(shield=True):
            while not may_return.is_set():
                try:
                    await may_return.wait()
                except asyncio.CancelledError:
                    continue
        return 7

    with pytest.raises(Hung):
        await isolated(current_loop(), slow, 0.02, "call", late=late.append)
    assert late == []
    may_return.set()
    await until(lambda: late)
    assert late == [7]


async def test_a_result_that_comes_while_we_are_cancelled_is_not_forgotten() -> None:
    late: list[int] = []

    async def cancels_us() -> int:
        scope.cancel()
        return 7

    with anyio.CancelScope() as scope:
        await isolated(current_loop(), cancels_us, 60, "call", late=late.append)
    assert scope.cancelled_caught
    await until(lambda: late)
    assert late == [7]


async def test_a_waker_that_was_set_before_does_not_wait() -> None:
    waker = Waker(current_loop())
    waker.set()
    waker.set()
    with anyio.fail_after(PATIENCE):
        await waker.wait()
    with anyio.move_on_after(0.01) as scope:
        await waker.wait()
    assert scope.cancelled_caught, "two sets are one wake-up"


async def test_a_waker_wakes_who_sleeps_and_survives_a_cancel() -> None:
    waker = Waker(current_loop())
    with anyio.move_on_after(0.01):
        await waker.wait()
    async with anyio.create_task_group() as group:
        group.start_soon(waker.wait)
        await anyio.wait_all_tasks_blocked()
        waker.set()


async def test_a_waker_that_nobody_sets_sleeps_no_longer_than_it_was_told() -> None:
    waker = Waker(current_loop())
    with anyio.fail_after(PATIENCE):
        await waker.wait(0.01)
    waker.set()
    with anyio.fail_after(PATIENCE):
        await waker.wait(PATIENCE * 2)
    with anyio.move_on_after(0.05) as scope:
        await waker.wait()
    assert scope.cancelled_caught, "no timer of the earlier ones is left"


async def test_a_call_from_a_thread_runs_in_the_loop() -> None:
    loop: Loop = current_loop()
    ran: list[str] = []
    call: Callable[[], None] = lambda: ran.append("here")  # noqa: E731  # it has a type
    await anyio.to_thread.run_sync(loop.call_soon_from_thread, call)
    await until(lambda: ran)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_call_from_a_thread_to_a_loop_that_is_gone_raises(backend: str) -> None:
    loops: list[Loop] = []

    async def main() -> None:
        loops.append(current_loop())

    anyio.run(main, backend=backend)
    with pytest.raises(RuntimeError):
        loops[0].call_soon_from_thread(int)


class TestStrayCancel:
    """Asyncio only: nobody can make a Cancelled of trio."""

    async def test_a_cancel_from_inside_the_library_is_an_error_like_any_other(self) -> None:
        async def stray() -> None:
            raise asyncio.CancelledError

        with pytest.raises(LibraryCancelled, match="by the library itself"):
            await isolated(current_loop(), stray, 1, "call")
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
