"""The wall between the bus, the event loop and the client libraries.

One place knows which loop runs (asyncio, uvloop, trio). Background work lives in tasks of our own,
outside every cancel scope of the user: a bus opened in a test fixture may be closed by another
task. Calls into a client library run in a task of their own, so that a stray CancelledError does
not end ours silently (T2), a library that swallows cancellation cannot capture us (T8), and nothing
waits longer than we say (T3, T11, T21).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from math import inf
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import anyio
import anyio.lowlevel

from bus.errors import LinkError

if TYPE_CHECKING:
    from trio import Event as TrioEvent
    from trio.lowlevel import TrioToken

T = TypeVar("T")

# Seconds: uvloop's timers have steps of a millisecond, and what it rounds to 0 would be no sleep at all.
LEAST = 0.000_6


class Hung(LinkError):
    """A library call did not come back in time."""


class LibraryCancelled(LinkError):
    """A library call ended with a CancelledError that was not ours (T2)."""


class Job(Protocol):
    """A task in the background."""

    @property
    def done(self) -> bool:
        """It has ended."""
        ...

    def cancel(self) -> None:
        """Ask it to end; does not wait."""
        ...

    async def join(self, timeout: float) -> bool:
        """Wait for its end at most `timeout` seconds; True when it has ended."""
        ...


class Loop(Protocol):
    """What the bus needs of an event loop."""

    name: str

    def now(self) -> float:
        """Seconds of a monotonic clock."""
        ...

    def spawn(self, run: Callable[[], Coroutine[object, object, None]], name: str) -> Job:
        """Start a task that belongs to nobody's scope; it must not raise."""
        ...

    def call_soon_from_thread(self, call: Callable[[], object]) -> None:
        """Run `call` in the loop's thread. Raises RuntimeError when the loop is gone."""
        ...


def current_loop() -> Loop:
    """The running event loop. Raises RuntimeError outside of one."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _TrioLoop()
    return _AsyncioLoop(loop)


class _AsyncioJob:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    @property
    def done(self) -> bool:
        return self._task.done()

    def cancel(self) -> None:
        self._task.cancel()

    async def join(self, timeout: float) -> bool:
        await asyncio.wait({self._task}, timeout=timeout)
        return self._task.done()


class _AsyncioLoop:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.name = "asyncio"
        self._loop = loop
        # uvloop's clock has steps of a millisecond; a simulated loop's own clock must be ours, too.
        self.now = time.monotonic if type(loop).__module__.startswith("uvloop") else loop.time

    def spawn(self, run: Callable[[], Coroutine[object, object, None]], name: str) -> Job:
        return _AsyncioJob(self._loop.create_task(run(), name=name))

    def call_soon_from_thread(self, call: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(call)


class _TrioJob:
    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()

    @property
    def done(self) -> bool:
        return self.ended.is_set()

    def cancel(self) -> None:
        self.scope.cancel()

    async def join(self, timeout: float) -> bool:
        with anyio.move_on_after(timeout):
            await self.ended.wait()
        return self.ended.is_set()


class _TrioLoop:
    def __init__(self) -> None:
        from trio.lowlevel import current_trio_token

        self.name = "trio"
        self._token: TrioToken = current_trio_token()

    def now(self) -> float:
        return time.monotonic()

    def spawn(self, run: Callable[[], Coroutine[object, object, None]], name: str) -> Job:
        from trio.lowlevel import spawn_system_task

        job = _TrioJob()

        async def body() -> None:
            try:
                with job.scope:
                    await run()
            finally:
                job.ended.set()

        spawn_system_task(body, name=name)
        return job

    def call_soon_from_thread(self, call: Callable[[], object]) -> None:
        from trio import RunFinishedError

        try:
            self._token.run_sync_soon(call)
        except RunFinishedError as error:
            raise RuntimeError("the event loop is gone") from error


class Waker:
    """A sleeping task and those who wake it. Setting it while nobody sleeps costs one attribute."""

    __slots__ = ("_future", "_is_set", "_loop", "_trio_event")

    def __init__(self, loop: Loop) -> None:
        self._loop = asyncio.get_running_loop() if loop.name == "asyncio" else None
        self._future: asyncio.Future[None] | None = None
        self._trio_event: TrioEvent | None = None
        self._is_set = False

    def set(self) -> None:
        """Wake the sleeper, or let the next `wait` return at once."""
        self._is_set = True
        if self._future is not None:
            if not self._future.done():
                self._future.set_result(None)
        elif self._trio_event is not None:
            self._trio_event.set()

    async def wait(self, seconds: float = 0.0) -> None:
        """Sleep until `set`, and no longer than so many seconds if they are not 0; one task at a time."""
        if not self._is_set:
            if self._loop is not None:
                self._future = self._loop.create_future()
                timer = self._loop.call_later(max(LEAST, seconds), self.set) if seconds else None
                try:
                    await self._future
                finally:
                    self._future = None
                    if timer is not None:
                        timer.cancel()
            else:
                from trio import Event

                self._trio_event = Event()
                try:
                    with anyio.move_on_after(seconds or None):
                        await self._trio_event.wait()
                finally:
                    self._trio_event = None
        self._is_set = False


class _Outcome(Generic[T]):
    """What became of an isolated call."""

    def __init__(self) -> None:
        self.value: list[T] = []
        self.error: BaseException | None = None
        self.is_given_up = False


async def isolated(
    loop: Loop, call: Callable[[], Coroutine[object, object, T]], timeout: float, name: str,
    late: Callable[[T], object] | None = None, strays: list[Job] | None = None,
) -> T:  # fmt: skip
    """Run one call of a client library in a task of its own, at most `timeout` seconds.

    Raises what it raises, `Hung` when it is late (it is cancelled and left behind),
    `LibraryCancelled` when it was cancelled from inside. When the caller is cancelled, so is the
    call. `late` gets a result that came after we had given up, to throw it away; `strays` gets the
    task that was left behind.
    """
    outcome: _Outcome[T] = _Outcome()

    async def body() -> None:
        try:
            value = await call()
            if outcome.is_given_up and late is not None:
                late(value)
            outcome.value.append(value)
        except asyncio.CancelledError as error:
            outcome.error = error
            raise
        except Exception as error:  # noqa: BLE001  # whatever the library raises is the caller's to judge
            outcome.error = error

    def give_up() -> None:
        outcome.is_given_up = True
        if outcome.value and late is not None:  # it returned while we were being cancelled
            late(outcome.value[0])
        job.cancel()
        if strays is not None:
            strays.append(job)

    job = loop.spawn(body, name)
    try:
        ended = await job.join(timeout)
    except BaseException:
        give_up()
        raise
    if not ended:
        give_up()
        raise Hung(f"{name} did not return within {timeout:g} s")
    if outcome.value:
        return outcome.value[0]
    if isinstance(outcome.error, Exception):
        raise outcome.error
    raise LibraryCancelled(f"{name} was cancelled by the library itself")


async def sleep(loop: Loop, seconds: float) -> None:
    """Sleep in the loop that runs."""
    if loop.name == "asyncio":
        await asyncio.sleep(seconds)
    else:
        await anyio.sleep(seconds)


async def turn(loop: Loop, times: int = 1, seconds: float = inf) -> None:
    """Let everybody else have their turn: `sleep(0)` so many times, or for so long, but cheaper."""
    if loop.name == "asyncio":
        await _Turns(times, loop.now, loop.now() + seconds)
        return
    until = loop.now() + seconds
    for _ in range(times):
        await anyio.lowlevel.checkpoint()
        if loop.now() >= until:
            return


class _Turns:
    __slots__ = ("_now", "_times", "_until")

    def __init__(self, times: int, now: Callable[[], float], until: float) -> None:
        self._times = times
        self._now = now
        self._until = until

    def __await__(self) -> Generator[None, None, None]:
        for _ in range(self._times):
            yield
            if self._now() >= self._until:
                return
