"""Backends that are broken in one way each: the Memory backend with one mistake.

Each stands for a mistake that real ones have made. `@type` is the name of the class; they are found by
entry points like any other third party's (see `install`).
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import anyio
import msgspec

from bus.backend import Context, Fault, Features, LinkError
from bus.config import Coordinator

ASYNCIO_ONLY = Features(proof="echo", asyncio_only=True)
SECRET = "correct horse battery staple"
CHANNELS: dict[str, list[ToyLink]] = {}


class ToyLink:
    """A link of the Memory kind, with places to break it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.sent = 0
        self.is_open = True
        self._gone = anyio.Event()
        self.join()

    def join(self) -> None:
        CHANNELS.setdefault(self.channel, []).append(self)

    @property
    def channel(self) -> str:
        return self.context.channel

    def receivers(self) -> list[ToyLink]:
        return list(CHANNELS.get(self.channel, ()))

    async def run(self) -> None:
        await self._gone.wait()
        raise LinkError("the toy link was aborted")

    async def send(self, frame: bytes) -> None:
        if not self.is_open:
            raise LinkError("the toy link is closed")
        self.sent += 1
        for link in self.receivers():
            self.hand_over(link, frame)

    def hand_over(self, link: ToyLink, frame: bytes) -> None:
        link.take(frame)

    def take(self, frame: bytes) -> None:
        if self.is_open:
            self.context.deliver(frame)

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.is_open = False
        if self in CHANNELS.get(self.channel, ()):
            CHANNELS[self.channel].remove(self)
        self._gone.set()


class Toy:
    """The backend around a `ToyLink`; subclasses name their link class and get a Config of their own name."""

    features: ClassVar[Features] = Features(proof="echo")
    Config: ClassVar[type[Coordinator]]
    Link: ClassVar[type[ToyLink]] = ToyLink

    def __init_subclass__(cls, fields: tuple[tuple[str, type, object], ...] = ()) -> None:
        made = msgspec.defstruct(cls.__name__, fields, bases=(Coordinator,), frozen=True, kw_only=True)
        assert issubclass(made, Coordinator)
        cls.Config = made

    def __init__(self, config: Coordinator, context: Context) -> None:
        self.context = context

    async def connect(self) -> ToyLink:
        return self.Link(self.context)

    def classify(self, exc: BaseException) -> Fault | None:
        return Fault.UNREACHABLE if isinstance(exc, LinkError | OSError) else None


class Sound(Toy):
    """Nothing is wrong with it."""


# -- the twelve ---------------------------------------------------------------------------------------


class Drops(Toy):
    """Loses one frame in a hundred."""

    class Link(ToyLink):
        def hand_over(self, link: ToyLink, frame: bytes) -> None:
            if self.sent % 100:
                link.take(frame)


class Reorders(Toy):
    """One frame in ten comes a little later."""

    features = ASYNCIO_ONLY

    class Link(ToyLink):
        def hand_over(self, link: ToyLink, frame: bytes) -> None:
            if self.sent % 10 == 1:
                asyncio.get_running_loop().call_later(0.002, link.take, frame)
            else:
                link.take(frame)


class Duplicates(Toy):
    """Sends one frame in ten again, as a library does that retries by itself."""

    class Link(ToyLink):
        def hand_over(self, link: ToyLink, frame: bytes) -> None:
            link.take(frame)
            if self.sent % 10 == 0:
                link.take(frame)


class Echoes(Toy):
    """Says that only peers prove anything, and hands its own frames back."""

    features = Features(proof="peers")


class LosesTheTail(Toy):
    """Keeps the last frame until another one follows."""

    class Link(ToyLink):
        last: bytes | None = None

        async def send(self, frame: bytes) -> None:
            held, self.last = self.last, frame
            if held is not None or not self.is_open:
                await super().send(held or frame)


class SwallowsErrors(Toy):
    """Plays alive when it is dead."""

    class Link(ToyLink):
        async def run(self) -> None:
            await anyio.sleep_forever()

        async def send(self, frame: bytes) -> None:
            if self.is_open:
                await super().send(frame)


class HangsInClose(Toy):
    """Waits in `close` for a server that never answers."""

    class Link(ToyLink):
        async def close(self) -> None:
            await anyio.sleep_forever()


class WorkQueue(Toy):
    """Gives each frame to one of the others, as a shared consumer group does."""

    class Link(ToyLink):
        def receivers(self) -> list[ToyLink]:
            others = [link for link in super().receivers() if link is not self]
            return [self, others[self.sent % len(others)]] if others else [self]


class NeverPositioned(Toy):
    """`connect` returns before the subscription is there."""

    features = ASYNCIO_ONLY

    class Link(ToyLink):
        def join(self) -> None:
            asyncio.get_running_loop().call_later(0.05, super().join)


class MixesClusters(Toy):
    """All clusters on one channel."""

    class Link(ToyLink):
        @property
        def channel(self) -> str:
            return "bus"


class Truncates(Toy):
    """A buffer of fixed size."""

    class Link(ToyLink):
        def hand_over(self, link: ToyLink, frame: bytes) -> None:
            link.take(frame[:10_000])


class BlocksTheLoop(Toy):
    """A synchronous call into its library, now and then."""

    class Link(ToyLink):
        async def send(self, frame: bytes) -> None:
            await super().send(frame)
            if self.sent % 500 == 0:
                time.sleep(0.15)  # noqa: ASYNC251  # the mistake


TWELVE: tuple[type[Toy], ...] = (
    Drops, Reorders, Duplicates, Echoes, LosesTheTail, SwallowsErrors, HangsInClose, WorkQueue,
    NeverPositioned, MixesClusters, Truncates, BlocksTheLoop,
)  # fmt: skip

# -- more, so that every scenario of the contract is seen to fail ----------------------------------------


class EchoesAsAnother(Toy):
    """Hands its own frames back with another sender written into them."""

    class Link(ToyLink):
        def hand_over(self, link: ToyLink, frame: bytes) -> None:
            link.take(frame[:8] + b"\1" * 8 + frame[16:] if link is self else frame)


class FoldsCase(Toy):
    """Channel names of a system that knows no case."""

    class Link(ToyLink):
        @property
        def channel(self) -> str:
            return self.context.channel.lower()


class KeepsHistory(Toy):
    """A new link reads the topic from its beginning."""

    features = ASYNCIO_ONLY
    HISTORY: ClassVar[dict[str, list[bytes]]] = {}

    class Link(ToyLink):
        def join(self) -> None:
            super().join()
            for frame in KeepsHistory.HISTORY.get(self.channel, ()):
                asyncio.get_running_loop().call_soon(self.take, frame)

        async def send(self, frame: bytes) -> None:
            KeepsHistory.HISTORY.setdefault(self.channel, []).append(frame)
            await super().send(frame)


class IgnoresTheDoor(Toy):
    """Delivers from a thread of its library."""

    class Link(ToyLink):
        async def send(self, frame: bytes) -> None:
            for link in self.receivers():
                await anyio.to_thread.run_sync(link.take, frame)
            if not self.is_open:
                raise LinkError("the toy link is closed")


class DeliversItsBuffer(Toy):
    """Delivers the bytearray that it reads into."""

    class Link(ToyLink):
        def hand_over(self, link: ToyLink, frame: bytes) -> None:
            link.take(bytearray(frame))  # type: ignore[arg-type]  # the mistake


class NeverConfirms(Toy):
    """Says that the server confirms, and never does."""

    features = Features(proof="echo", confirms=True)


class ConfirmsUnasked(Toy):
    """Says that nothing is confirmed, and does."""

    class Link(ToyLink):
        async def send(self, frame: bytes) -> None:
            await super().send(frame)
            self.context.confirmed()


class ProvesUnasked(Toy):
    """Calls `proven` though its proof is the echo."""

    class Link(ToyLink):
        async def send(self, frame: bytes) -> None:
            await super().send(frame)
            self.context.proven()


class ProvesNothing(Toy):
    """Says that its server answers, and never hands the answer on."""

    features = Features(proof="server")

    class Link(ToyLink):
        def receivers(self) -> list[ToyLink]:
            return [link for link in super().receivers() if link is not self]


class DreamsOfLargeFrames(Toy):
    """Features that contradict each other."""

    features = Features(max_frame=2 << 20, max_message=1 << 20)


class RefusesLargeFrames(Toy):
    """A limit of the server that its Features do not say."""

    class Link(ToyLink):
        async def send(self, frame: bytes) -> None:
            if len(frame) <= 500_000:
                await super().send(frame)


class RunsForEver(Toy):
    """`run` does not notice that the link was aborted."""

    class Link(ToyLink):
        async def run(self) -> None:
            await anyio.sleep_forever()


class AcceptsNonsense(Toy, fields=(("port", int, 0),)):
    """Nobody looks at the values of its configuration."""


class DialsInTheConstructor(Toy):
    """Opens a socket before anybody asked."""

    OPEN: ClassVar[list[socket.socket]] = []

    def __init__(self, config: Coordinator, context: Context) -> None:
        super().__init__(config, context)
        self.OPEN.append(socket.socket())


class RevivesTheOldClient(Toy):
    """`connect` gives the same link again."""

    link: ToyLink | None = None

    async def connect(self) -> ToyLink:
        if self.link is None:
            self.link = ToyLink(self.context)
        return self.link


class AbortsOnce(Toy):
    """The second `abort` raises."""

    class Link(ToyLink):
        def abort(self) -> None:
            if not self.is_open:
                raise RuntimeError("already aborted")
            super().abort()


class DropsWhatWaits(Toy):
    """`close` throws away what `send` took."""

    features = ASYNCIO_ONLY

    class Link(ToyLink):
        def hand_over(self, link: ToyLink, frame: bytes) -> None:
            asyncio.get_running_loop().call_later(0.01, self.leave, link, frame)

        def leave(self, link: ToyLink, frame: bytes) -> None:
            if self.is_open:
                link.take(frame)


class ForgetsATask(Toy):
    """A task of each `connect` runs for ever."""

    features = ASYNCIO_ONLY

    TASKS: ClassVar[list[asyncio.Task[None]]] = []

    async def connect(self) -> ToyLink:
        self.TASKS.append(asyncio.create_task(anyio.sleep_forever()))
        await asyncio.sleep(0.01)
        return await super().connect()


class IgnoresCancellation(Toy):
    """`send` goes on when it is cancelled."""

    features = ASYNCIO_ONLY

    class Link(ToyLink):
        async def send(self, frame: bytes) -> None:
            for _ in range(3):
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.001 if self.is_open else 0)
            await super().send(frame)


class RaisesInClassify(Toy):
    """`classify` shows the exception, and that raises."""

    def classify(self, exc: BaseException) -> Fault | None:
        return Fault.PROTOCOL if str(exc) else None


class GivesUpOnNetworkErrors(Toy):
    """Takes a refused connection for wrong credentials."""

    def classify(self, exc: BaseException) -> Fault | None:
        return Fault.AUTH if isinstance(exc, OSError) else super().classify(exc)


class KillsTheOthers(Toy):
    """One client for the whole process: closing one closes all."""

    class Link(ToyLink):
        def abort(self) -> None:
            for link in [self, *self.receivers()]:
                ToyLink.abort(link)


class NeedsAsyncio(Toy):
    """Its library knows asyncio only, and its Features do not say so."""

    async def connect(self) -> ToyLink:
        asyncio.get_running_loop()
        return await super().connect()


# -- servers that are away, or refuse us: these fail in `connect` only --------------------------------------


class ShowsItsSecret(Toy):
    """Nobody answers, and the error says with which password it tried."""

    async def connect(self) -> ToyLink:
        raise ConnectionRefusedError(f"host 127.0.0.1, password {SECRET}: nobody answers")


class GivesUpTooSoon(Toy):
    """Nobody answers, and it takes that for a mistake in the configuration."""

    async def connect(self) -> ToyLink:
        raise ConnectionRefusedError("nobody answers")

    def classify(self, exc: BaseException) -> Fault | None:
        return Fault.CONFIG


class TriesWrongPasswordsForEver(Toy):
    """The server refuses the password, and it takes that for an outage."""

    async def connect(self) -> ToyLink:
        raise PermissionError("access denied")


class ConnectsToNobody(Toy):
    """`connect` returns a link to a server that is not there."""


AWAY: tuple[type[Toy], ...] = (
    ShowsItsSecret, GivesUpTooSoon, TriesWrongPasswordsForEver, ConnectsToNobody,
)  # fmt: skip

MORE: tuple[type[Toy], ...] = (
    EchoesAsAnother, FoldsCase, KeepsHistory, IgnoresTheDoor, DeliversItsBuffer, NeverConfirms,
    ConfirmsUnasked, ProvesUnasked, ProvesNothing, DreamsOfLargeFrames, RefusesLargeFrames,
    RunsForEver, AcceptsNonsense, DialsInTheConstructor, RevivesTheOldClient, AbortsOnce,
    DropsWhatWaits, ForgetsATask, IgnoresCancellation, RaisesInClassify, GivesUpOnNetworkErrors,
    KillsTheOthers, NeedsAsyncio,
)  # fmt: skip


async def kill() -> None:
    """The server dies: every link is cut."""
    for link in [link for links in CHANNELS.values() for link in links]:
        link.abort()


async def restart() -> None:
    """There is nothing to start."""


def install(folder: Path) -> None:
    """Write the metadata of a distribution that has all toys; `folder` belongs on `sys.path`."""
    metadata = folder / "toys-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    names = [Sound.__name__, *(toy.__name__ for toy in (*TWELVE, *MORE, *AWAY))]
    lines = [f"{name} = {__name__}:{name}" for name in names]
    (metadata / "entry_points.txt").write_text("\n".join(["[bus.backends]", *lines, ""]))
