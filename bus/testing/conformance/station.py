"""One node seen from below: a backend and its link, driven as the supervisor drives them, without a bus.

Frames go in by `send` and come out of the `Context` that a `Station` hands to its backend. Every call of
the backend runs behind the same wall as in the bus (`isolated`), so that a link that hangs fails its
scenario instead of stopping the suite.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bus.backend import Backend, Context, Features, Link
from bus.isolation import current_loop, isolated

if TYPE_CHECKING:
    from bus.testing.conformance.harness import Coordinator, Harness

CLOSE_LINK = 1.0
JOIN = 1.0
WINDOW = 2
BATCHES_WAITING = 2
PROBE = b"conformance probe "
MARK = b"conformance frame "

log: logging.Logger = logging.getLogger("bus.conformance")


def channel() -> str:
    """A channel that no other scenario uses."""
    return f"bus.conformance-{secrets.token_hex(6)}"


def numbered(number: int, size: int = 64) -> bytes:
    """A frame that says its number."""
    return (MARK + b"%08d " % number).ljust(size, b".")


def numbers(frames: Sequence[bytes]) -> list[int]:
    """The numbers of frames made by `numbered`, in the order of the frames."""
    start = len(MARK)
    return [int(frame[start : start + 8]) for frame in frames if frame.startswith(MARK)]


def hears(station: Station, number: int) -> Callable[[], bool]:
    """Whether a station has got the frame `numbered(number)`."""
    return lambda: number in numbers(station.heard)


async def until(is_so: Callable[[], object], seconds: float, text: str | Callable[[], str]) -> None:
    """Wait until something is so. Raises AssertionError with `text` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(text if isinstance(text, str) else text())
        await asyncio.sleep(0.002)


class Recorder:
    """The `Context` of one station, and everything that came in through it."""

    def __init__(self, name: str, channel: str, connect_timeout: float) -> None:
        self.frames: list[bytes] = []
        self.stamps: list[float] = []
        self.probes: set[bytes] = set()
        self.confirmed: int = 0
        self.proven: int = 0
        # What the backend did against the contract, whatever the scenario was about.
        self.breaches: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._room = threading.BoundedSemaphore(BATCHES_WAITING)
        self._is_shut = False
        self.context: Context = Context(
            node=name, epoch=secrets.randbits(63), channel=channel,
            deliver=self._deliver, deliver_stamped=self._deliver_stamped,
            deliver_from_thread=self._deliver_from_thread,
            confirmed=self._confirm, proven=self._prove,
            connect_timeout=connect_timeout, log=log,
        )  # fmt: skip

    def shut(self) -> None:
        """The station is gone: threads that still deliver are told to end."""
        self._is_shut = True

    def _check(self, call: str) -> None:
        if threading.get_ident() != self._thread:
            name = threading.current_thread().name
            self.breaches.append(
                f"{call} was called in the thread {name!r}: it belongs to the loop's thread, "
                "client threads use deliver_from_thread"
            )

    def _deliver(self, frame: bytes) -> None:
        self._check("deliver")
        self._take(frame)

    def _deliver_stamped(self, frame: bytes, stamp: float) -> None:
        self._check("deliver_stamped")
        self.stamps.append(stamp)
        self._take(frame)

    def _deliver_from_thread(self, frames: Sequence[bytes], /, *, wait: bool = True) -> bool:
        # As the bus does it: two batches wait, then the client's thread does.
        while not self._room.acquire(blocking=wait, timeout=0.1 if wait else None):
            if self._is_shut or not wait:
                return False
        try:
            self._loop.call_soon_threadsafe(self._take_batch, frames)
        except RuntimeError:
            return False
        return not self._is_shut

    def _take_batch(self, frames: Sequence[bytes]) -> None:
        self._room.release()
        for frame in frames:
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        if type(frame) is not bytes:
            self.breaches.append(f"a frame was delivered as {type(frame).__name__}, not bytes")
            frame = bytes(frame)
        if frame.startswith(PROBE):
            self.probes.add(frame)
        else:
            self.frames.append(frame)

    def _confirm(self) -> None:
        self._check("confirmed")
        self.confirmed += 1

    def _prove(self) -> None:
        self._check("proven")
        self.proven += 1


class Station:
    """One backend with at most one link. `connect` before anything else; `drop` ends it for good."""

    def __init__(
        self, harness: Harness, channel: str, name: str = "station",
        coordinator: Coordinator | None = None,
    ) -> None:  # fmt: skip
        self.harness = harness
        self.name = name
        self.recorder: Recorder = Recorder(name, channel, harness.open_timeout)
        self.backend: Backend = harness.backend(self.recorder.context, coordinator)
        self.sent: int = 0
        # What ended `run`: an exception, or a text when it returned.
        self.end: BaseException | str | None = None
        self._link: Link | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def features(self) -> Features:
        """What the backend says of itself; an instance may differ from its class."""
        return self.backend.features

    @property
    def link(self) -> Link:
        """The link that `connect` made."""
        assert self._link is not None, "the station is not connected"
        return self._link

    @property
    def heard(self) -> list[bytes]:
        """The frames that were delivered, in order, without the suite's own probes."""
        return self.recorder.frames

    async def connect(self) -> None:
        """One connection, read at once as the supervisor does."""
        self._link = await isolated(
            current_loop(), self.backend.connect, self.harness.open_timeout, "connect",
            late=lambda link: link.abort(),
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read(self._link), name="conformance.reader")

    async def _read(self, link: Link) -> None:
        try:
            await link.run()
        except Exception as error:  # noqa: BLE001  # what ends a link is for the scenario to judge
            self.end = error
        else:
            self.end = "run() returned"

    async def send(self, *frames: bytes) -> None:
        """Hand over frames as the bus does: one at a time, at most two unconfirmed."""
        seconds = 2 * self.harness.patience
        await isolated(current_loop(), lambda: self._send_all(frames), seconds, "send")

    async def _send_all(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            if self.features.confirms:
                await until(
                    # On a dead link no more confirms come: let its `send` say so.
                    lambda: self.sent - self.recorder.confirmed < WINDOW or self.end is not None,
                    self.harness.patience,
                    lambda: (
                        f"Features.confirms is set, and confirmed() came for "
                        f"{self.recorder.confirmed} of {self.sent} frames"
                    ),
                )
            await self.link.send(frame)
            self.sent += 1
            await asyncio.sleep(0)

    async def close(self) -> None:
        """`Link.close`, with the bound that the supervisor sets."""
        await isolated(current_loop(), self.link.close, CLOSE_LINK, "close")

    async def drop(self) -> None:
        """Abort and end the reader: what the supervisor does with a link that it throws away."""
        self.recorder.shut()
        if self._link is not None:
            self._link.abort()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader}, timeout=JOIN)

    async def ended(self, seconds: float) -> BaseException | str | None:
        """What ended `run`, if that happens within `seconds`."""
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=seconds)
        return self.end

    def check(self) -> None:
        """Raise AssertionError for what the backend did against the contract on the way."""
        assert not self.recorder.breaches, "; ".join(dict.fromkeys(self.recorder.breaches))


@asynccontextmanager
async def stations(
    harness: Harness, count: int, on: str | None = None
) -> AsyncGenerator[list[Station], None]:
    """`count` connected stations of one channel that hear each other."""
    name = channel() if on is None else on
    made = [Station(harness, name, f"station-{number}") for number in range(1, count + 1)]
    try:
        for station in made:
            await station.connect()
        await meet(made)
        yield made
        for station in made:
            station.check()
    finally:
        for station in made:
            await station.drop()


async def meet(made: Sequence[Station]) -> None:
    """Wait until each hears each other one.

    A connection to a server is positioned when `connect` returns: nothing to wait for. Without one
    (`Features.proof` "peers") a node can be deaf until the others have found it.
    """
    if made[0].features.proof != "peers":
        return
    probes = {station: PROBE + station.name.encode() for station in made}
    deadline = time.monotonic() + made[0].harness.open_timeout
    while deaf := [
        f"{station.name} does not hear {other.name}"
        for station in made
        for other in made
        if station is not other and probes[other] not in station.recorder.probes
    ]:
        assert time.monotonic() < deadline, "; ".join(deaf)
        for station in made:
            await station.send(probes[station])
        await asyncio.sleep(0.02)


async def relay(
    sender: Station, receivers: Sequence[Station], frames: Sequence[bytes], window: int = 32
) -> None:
    """Send in steps: the next `window` frames when every receiver has got the last ones.

    So slowly no healthy system drops anything. Waits for a missing frame once, then goes on: the
    scenario judges what came.
    """
    is_patient = True
    for start in range(0, len(frames), window):
        step = frames[start : start + window]
        await sender.send(*step)

        def has_come(upto: int = start + len(step)) -> bool:
            return all(len(set(receiver.heard)) >= upto for receiver in receivers)

        if is_patient:
            try:
                await until(has_come, sender.harness.patience, "")
            except AssertionError:
                is_patient = False
    # What must not come (twice, or back) would come a little later: there is no condition to wait for.
    await asyncio.sleep(0.05)
