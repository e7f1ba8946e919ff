"""SimLoop: an asyncio loop whose clock jumps when everybody sleeps; `run_sim` runs a program on it.

    async def main() -> None:
        async with Bus.open("memory://", node="a") as a, Bus.open("memory://", node="b") as b:
            ...
            await asyncio.sleep(30)         # milliseconds of real time

    run_sim(main, seed=7)

Between two timers no time passes, however long the code takes: the same program gives the same run.
Only what comes from outside is real: before a jump the loop looks for sockets that are ready and
for calls from other threads, and functions in worker threads get the time to end.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from unittest.mock import patch

import anyio.to_thread

from bus import opening

if TYPE_CHECKING:
    from concurrent.futures import Executor

__all__ = ["SimLoop", "run_sim"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Real seconds that the world outside gets before each jump: threads and sockets may have something
# for us; a function in a worker thread certainly will, unless it waits for a timer of ours.
PATIENCE = 0.001
PATIENCE_AT_WORK = 1.0
# A program that never sleeps must not stop the clock: so many turns of the loop take so long.
BUSY_TURNS = 1_000
BUSY_STEP = 0.001
# The loop's own socket, by which other threads wake it.
OWN_SOCKETS = 1


class _JumpingSelector(selectors.DefaultSelector):
    """Where an ordinary loop would sleep until the next timer, this one moves the clock there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.turns = 0
        self.calls = 0
        self.limiter: anyio.CapacityLimiter | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            self.turns += 1
            if self.turns % BUSY_TURNS == 0:
                self.now += BUSY_STEP
            return super().select(0)
        has_outside = len(self.get_map()) > OWN_SOCKETS or threading.active_count() > 1
        if timeout is None:
            if not has_outside:
                raise RuntimeError(
                    "a deadlock: no timer runs, and no thread or socket is there to wake anybody"
                )
            return super().select(None)
        is_at_work = self.calls or (self.limiter is not None and self.limiter.borrowed_tokens)
        ready = super().select(PATIENCE_AT_WORK if is_at_work else PATIENCE if has_outside else 0)
        if not ready:
            self.turns = 0
            self.now += timeout
        return ready


class SimLoop(asyncio.SelectorEventLoop):
    """The loop; `time()` is seconds of virtual time since it was made.

    Raises RuntimeError, instead of waiting for ever, when nothing can happen any more.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds."""
        return self._jumping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As in any loop; the clock stands still while `func` works."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.calls += 1
        future.add_done_callback(self._returned)
        return future

    def watch(self, limiter: anyio.CapacityLimiter) -> None:
        """The clock stands still, too, while this limiter is in use (by `anyio.to_thread`)."""
        self._jumping.limiter = limiter

    def _returned(self, _: object) -> None:
        self._jumping.calls -= 1


def run_sim(main: Callable[[], Coroutine[Any, Any, T]], *, seed: int = 0, limit: float = 3_600.0) -> T:
    """Run `main()` on a new SimLoop; returns or raises what it does.

    `seed` sets the module `random` for the time of the run, and the epochs of its buses; a failure
    carries it as a note. Raises TimeoutError after `limit` virtual seconds, so that a program that
    waits for what never comes ends.
    """
    loop = SimLoop()

    async def bounded() -> T:
        loop.watch(anyio.to_thread.current_default_thread_limiter())
        async with asyncio.timeout(limit):
            return await main()

    before = random.getstate()
    random.seed(seed)
    try:
        with (
            patch.object(opening, "random_bits", random.Random(seed).getrandbits),
            asyncio.Runner(loop_factory=lambda: loop) as runner,
        ):
            return runner.run(bounded())
    except BaseException as error:
        error.add_note(f"in a simulated run with seed={seed}, {loop.time():g} virtual seconds in")
        raise
    finally:
        random.setstate(before)
