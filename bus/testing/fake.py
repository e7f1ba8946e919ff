"""FakeSystem: a messaging system in this process whose every call does what a script says.

    with FakeSystem(connect=[raises(OSError("refused"))], send=repeat(hangs)) as system:
        async with Bus.open(system.coordinator) as bus:
            ...

`connect`, `run`, `send` and `close` of its links take one step of their script per call, and work as
they should when it is used up. So a test drives a supervisor through every state: hanging, failing,
cancelled from inside, deaf to cancellation, flooding, silent. On a SimLoop it takes milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import ClassVar, Literal, NamedTuple

import anyio
import anyio.lowlevel

from bus import registry
from bus.backend import Context, Fault, Features, LinkError
from bus.config import Coordinator

__all__ = [
    "FakeBackend",
    "FakeConfig",
    "FakeLink",
    "FakeSystem",
    "Step",
    "cancels",
    "floods",
    "hangs",
    "ignores_cancel",
    "raises",
    "returns",
    "works",
]

Call = Literal["connect", "run", "send", "close"]
# What one call does first; when the step returns, the call goes on as it should.
Step = Callable[["FakeLink"], Awaitable[None]]

NAME = "Fake"
PROOF_INTERVAL = 0.5


async def works(link: FakeLink) -> None:
    """Nothing special."""


async def hangs(link: FakeLink) -> None:
    """Never return, until cancelled."""
    await anyio.sleep_forever()


async def ignores_cancel(link: FakeLink) -> None:
    """Never return and swallow every cancellation, until the link is aborted or the block ends."""
    while not link.is_released:
        with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
            await link.released.wait()


async def cancels(link: FakeLink) -> None:
    """Raise a CancelledError that nobody asked for, as libraries do (asyncio only)."""
    raise asyncio.CancelledError


async def floods(link: FakeLink) -> None:
    """Deliver garbage as fast as it can, until cancelled; lets the loop run in between."""
    while True:
        for _ in range(100):
            link.context.deliver(b"garbage")
        await anyio.lowlevel.checkpoint()


async def returns(link: FakeLink) -> None:
    """End `run` without an error, as a library does that gives up silently."""
    raise _Return


def raises(error: BaseException) -> Step:
    """Raise this error."""

    async def step(link: FakeLink) -> None:
        raise error

    return step


class _Return(Exception):
    """Ends `run` normally."""


class Attempt(NamedTuple):
    """One `connect`: when it was called, in seconds of the loop's clock, and the client it made."""

    at: float
    link: FakeLink


class FakeSystem:
    """The system, its script, and what was asked of it. Buses that are open on one hear each other.

    `connect`, `run`, `send`, `close`: the script, one step per call. `faults`: what `classify` says
    of an exception type (subclasses included; LinkError and OSError are UNREACHABLE, others None).
    `is_silent` can be changed at any time: nothing comes back, nothing is proven or confirmed.
    """

    def __init__(
        self, *, connect: Iterable[Step] = (), run: Iterable[Step] = (), send: Iterable[Step] = (),
        close: Iterable[Step] = (), features: Features | None = None, is_silent: bool = False,
        faults: dict[type[BaseException], Fault | None] | None = None,
    ) -> None:  # fmt: skip
        self.features: Features = features or Features()
        self.is_silent = is_silent
        self.faults: dict[type[BaseException], Fault | None] = {
            OSError: Fault.UNREACHABLE, LinkError: Fault.UNREACHABLE, **(faults or {}),
        }  # fmt: skip
        self.attempts: list[Attempt] = []
        self.links: list[FakeLink] = []
        self._scripts: dict[Call, Iterator[Step]] = {}
        self.plays(connect=connect, run=run, send=send, close=close)
        self._name = ""

    def plays(
        self, *, connect: Iterable[Step] | None = None, run: Iterable[Step] | None = None,
        send: Iterable[Step] | None = None, close: Iterable[Step] | None = None,
    ) -> None:  # fmt: skip
        """From now on, the calls that are named follow these scripts."""
        scripts: dict[Call, Iterable[Step] | None] = {
            "connect": connect, "run": run, "send": send, "close": close,
        }  # fmt: skip
        self._scripts |= {call: iter(steps) for call, steps in scripts.items() if steps is not None}

    def __enter__(self) -> FakeSystem:
        self._name = str(next(_numbers))
        _systems[self._name] = self
        registry.BUILTIN[NAME] = f"{__name__}:FakeBackend"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del _systems[self._name]
        if not _systems:
            del registry.BUILTIN[NAME]
        for attempt in self.attempts:
            attempt.link.release()

    @property
    def coordinator(self) -> FakeConfig:
        """What `Bus.open` takes; valid inside the block."""
        return FakeConfig(system=self._name)

    def lose(self, error: Exception | None = None) -> None:
        """Every link dies: its `run` raises `error`, by default a LinkError."""
        for link in self.links:
            link.lose(error or LinkError("the fake system is gone"))

    def classify(self, exc: BaseException) -> Fault | None:
        """As `faults` says; the last entry that fits rules."""
        fits = [kind for kind in self.faults if isinstance(exc, kind)]
        return self.faults[fits[-1]] if fits else None

    async def play(self, call: Call, link: FakeLink) -> None:
        """The next step of a script."""
        step = next(self._scripts[call], works)
        await step(link)

    def carry(self, sender: FakeLink, frame: bytes) -> None:
        """To everybody on the channel, the sender included."""
        for link in self.links:
            if link.is_open and link.context.channel == sender.context.channel:
                link.context.deliver(frame)


class FakeConfig(Coordinator, frozen=True, kw_only=True, tag=NAME):
    """Names a FakeSystem that is running."""

    system: str


class FakeBackend:
    """The backend of a FakeSystem."""

    features: ClassVar[Features] = Features()
    Config: ClassVar[type[FakeConfig]] = FakeConfig

    def __init__(self, config: FakeConfig, context: Context) -> None:
        self._system = _systems[config.system]
        self._context = context
        # Each system has features of its own; the bus asks the instance.
        vars(self)["features"] = self._system.features

    async def connect(self) -> FakeLink:
        """A new client each time."""
        link = FakeLink(self._system, self._context)
        self._system.attempts.append(Attempt(anyio.current_time(), link))
        await self._system.play("connect", link)
        link.join()
        return link

    def classify(self, exc: BaseException) -> Fault | None:
        """As the system says."""
        return self._system.classify(exc)


class FakeLink:
    """One client. `sent` are the frames that it took, `calls` what was asked of it, in order."""

    def __init__(self, system: FakeSystem, context: Context) -> None:
        self.context = context
        self.is_open: bool = False
        self.is_released: bool = False
        self.released: anyio.Event = anyio.Event()
        self.sent: list[bytes] = []
        self.calls: list[str] = []
        self._system = system
        self._error: Exception | None = None
        self._lost = anyio.Event()

    def join(self) -> None:
        """Positioned: from now on it hears the channel."""
        self.is_open = True
        self._system.links.append(self)
        self._prove()

    async def run(self) -> None:
        """Wait until lost, proving life meanwhile."""
        self.calls.append("run")
        try:
            await self._system.play("run", self)
        except _Return:
            return
        while self._error is None:
            with anyio.move_on_after(PROOF_INTERVAL):
                await self._lost.wait()
            self._prove()
        raise self._error

    async def send(self, frame: bytes) -> None:
        """To everybody on the channel."""
        await self._system.play("send", self)
        self.sent.append(frame)
        if not self._system.is_silent and self.is_open:
            self._system.carry(self, frame)
            if self._system.features.confirms:
                self.context.confirmed()

    async def close(self) -> None:
        """End."""
        self.calls.append("close")
        await self._system.play("close", self)
        self.lose(LinkError("closed"))

    def abort(self) -> None:
        """End now; what hangs is released."""
        self.calls.append("abort")
        self.lose(LinkError("aborted"))
        self.release()

    def lose(self, error: Exception) -> None:
        """The connection is gone."""
        self._error = self._error or error
        self._lost.set()
        self.is_open = False
        if self in self._system.links:
            self._system.links.remove(self)

    def release(self) -> None:
        """Whatever ignores cancellation may end."""
        self.is_released = True
        self.released.set()

    def _prove(self) -> None:
        if self._system.features.proof == "server" and not self._system.is_silent and self.is_open:
            self.context.proven()


_systems: dict[str, FakeSystem] = {}
_numbers = count(1)
