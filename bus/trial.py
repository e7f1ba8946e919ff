"""A trial connection: would this configuration work, here and now? Nothing that runs is touched.

It builds the backend a second time with a Context of its own, connects, and demands the proof that the
backend's `Features` name: our own probe comes back, the server answers, or (peers) a session opens.

The probe is the heartbeat of an observer (rule 9), with an epoch of its own, on the channel of the bus:
access rules name that channel and no other, and to peers an observer is nobody. A private channel would be
refused where ours is allowed, and the other way round; on Kafka each trial would leave a topic.
"""

from __future__ import annotations

import functools
import logging
import re
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import unquote

import anyio
import anyio.to_thread

from bus import config, opening, registry
from bus.backend import Context
from bus.config.redacted import MASK, Json5, Redacted, SecretText
from bus.config.secret import Secret
from bus.errors import AuthError, BusError, ConfigError, Fault, LinkError, TlsError
from bus.isolation import Hung, Waker, isolated
from bus.protocol import control, frame as wire
from bus.seal import Seal
from bus.supervisor import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bus.backend import Backend, Link
    from bus.config import Coordinator
    from bus.isolation import Job, Loop
    from bus.keys import ClusterKey

Stage = Literal["resolve", "connect", "auth", "subscribe", "probe"]

LONGEST = 15.0
CLOSE = 1.0
PROBE_AGAIN = 0.5

_HINTS: dict[Fault | str, str] = {
    "resolve": "set the variable, or make the file readable for this process",
    Fault.UNREACHABLE: "is a server running there, and can this node reach it?",
    Fault.TIMEOUT: "something accepts connections there but does not answer in time; what is it?",
    Fault.AUTH: "check the user name and the secret",
    Fault.TLS: "check whether the server speaks TLS, its certificate, and tlsCa and tlsHostname",
    "subscribe": "permit this user to publish and to subscribe on that channel",
    "probe": "the server took the subscription, but what we send does not come back: check its permissions",
}


class TrialFailed(BusError):
    """The configuration does not work now; `stage` is how far it came, the text holds no secret."""

    def __init__(self, stage: Stage, fault: Fault | None, text: str) -> None:
        super().__init__(text)
        self.stage: Stage = stage
        self.fault = fault
        named = stage in ("resolve", "subscribe", "probe")
        self.hint: str = _HINTS[stage] if named else _HINTS.get(fault or Fault.PROTOCOL, "")


def budget(coordinator: Coordinator) -> float:
    """Seconds that a trial may take by the timeouts of the configuration itself; at most 15."""
    named = ("timeout_connection", "timeout_request"), ("timeout_message", "timeout_session"), ("timeout",)
    for names in named:
        given = [getattr(coordinator, name, None) for name in names]
        seconds = [one.seconds for one in given if isinstance(one, config.Duration)]
        if seconds:
            return min(LONGEST, sum(seconds))
    return 10.0


async def trial(
    loop: Loop, coordinator: Coordinator, *, node: str, channel: str, timeout: float,
    key: ClusterKey | None = None,
) -> None:  # fmt: skip
    """Connect once and prove it, within `timeout` seconds; leaves nothing behind, also when cancelled.

    With the cluster key the probe is sealed, so that nobody takes it for an intruder. Raises TrialFailed.
    """
    if isinstance(coordinator, config.Disabled):
        return
    attempt = _Attempt(loop, coordinator, node, channel, loop.now() + timeout, key)
    try:
        await attempt.run()
    except TrialFailed:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a client library raises is the answer
        failed = attempt.failed(error)
    else:
        return
    finally:
        with anyio.CancelScope(shield=True):
            await attempt.end()
    # Out here: the library's exception, which may quote anything, is not its context.
    raise failed


class _Attempt:
    def __init__(
        self, loop: Loop, coordinator: Coordinator, node: str, channel: str, deadline: float,
        key: ClusterKey | None,
    ) -> None:  # fmt: skip
        self._loop = loop
        self._coordinator = coordinator
        self._node = node
        self._channel = channel
        self._deadline = deadline
        self._epoch = opening.new_epoch()
        self._key = key
        self._seal: Seal | None = None
        self._stage: Stage = "resolve"
        self._backend: Backend | None = None
        self._link: Link | None = None
        self._reader: Job | None = None
        self._strays: list[Job] = []
        self._is_proven = self._is_taken = False
        self._lost: Exception | None = None
        self._news = Waker(loop)

    @property
    def _left(self) -> float:
        return max(0.0, self._deadline - self._loop.now())

    async def run(self) -> None:
        # In a thread: secrets are files, and the first use of a client library imports it.
        with anyio.fail_after(self._left):
            self._backend = backend = await anyio.to_thread.run_sync(
                self._build, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
        self._stage = "connect"
        link = await isolated(
            self._loop, backend.connect, self._left, "connect", late=_abort, strays=self._strays
        )
        self._link = link
        self._stage = "probe"
        features = backend.features
        if features.proof == "peers":
            return
        # The server proves itself before we send: what we may send shows only when it took a frame.
        self._is_taken = features.proof == "echo" or not features.confirms
        self._reader = self._loop.spawn(lambda: self._read(link), "bus.trial")
        while not (self._is_proven and self._is_taken):
            if features.proof == "echo" or not self._is_taken:
                send = functools.partial(link.send, self._probe())
                await isolated(self._loop, send, self._left, "send", strays=self._strays)
            with anyio.move_on_after(min(PROBE_AGAIN, self._left)):
                await self._news.wait()
            if self._lost is not None:
                raise self._lost
            if not self._left:
                raise Hung("no proof of life came in time")

    def _build(self) -> Backend:
        for _, secret in secrets_in(self._coordinator):
            secret.resolve()
        if self._key is not None:
            self._seal = Seal(self._key.read(), self._channel, self._epoch)
        kind = config.type_of(self._coordinator)
        context = Context(
            node=self._node, epoch=self._epoch, channel=self._channel,
            deliver=self._deliver, deliver_stamped=self._deliver_stamped,
            deliver_from_thread=self._deliver_from_thread,
            confirmed=self._take, proven=self._prove, connect_timeout=self._left,
            log=logging.getLogger("bus.backend"),
        )  # fmt: skip
        try:
            return registry.load(kind)(self._coordinator, context)
        except ModuleNotFoundError as error:
            raise registry.missing_library(kind, error) from None

    def _probe(self) -> bytes:
        beat = control.encode(control.Heartbeat(name=self._node, counter=1, uptime_us=0))
        stamp = int(self._loop.now() * 1e6) + 1
        frame = wire.pack(wire.HEARTBEAT, wire.OBSERVER, self._epoch, stamp, beat)
        return frame if self._seal is None else self._seal.seal(frame)

    async def _read(self, link: Link) -> None:
        try:
            await link.run()
        except Exception as error:  # noqa: BLE001  # whatever ends the link
            self._lost = error
        else:
            self._lost = LinkError("the link ended")
        self._news.set()

    def _prove(self) -> None:
        self._is_proven = True
        self._news.set()

    def _take(self) -> None:
        self._is_taken = True
        self._news.set()

    def _deliver(self, frame: bytes) -> None:
        try:
            is_ours = wire.parse(frame).epoch == self._epoch
        except wire.FrameError:
            return
        if is_ours:
            self._prove()

    def _deliver_stamped(self, frame: bytes, stamp: float) -> None:
        self._deliver(frame)

    def _deliver_from_thread(self, frames: Sequence[bytes], /, *, wait: bool = True) -> bool:
        for frame in frames:
            self._loop.call_soon_from_thread(functools.partial(self._deliver, frame))
        return True

    def failed(self, error: Exception) -> TrialFailed:
        """What the error means, without any secret of the configuration in its text."""
        fault = self._fault(error)
        stage = self._stage
        if stage != "resolve" and fault in (Fault.AUTH, Fault.CONFIG) and self._channel in str(error):
            stage = "subscribe"
        elif stage == "connect" and fault is Fault.AUTH:
            stage = "auth"
        words = str(error) if isinstance(error, BusError) else describe(error)
        return TrialFailed(stage, fault, scrubbed(words, self._coordinator))

    def _fault(self, error: Exception) -> Fault | None:
        for kind, fault in (
            (AuthError, Fault.AUTH), (TlsError, Fault.TLS), (ConfigError, Fault.CONFIG), (Hung, Fault.TIMEOUT)
        ):  # fmt: skip
            if isinstance(error, kind):
                return fault
        try:
            return self._backend.classify(error) if self._backend is not None else None
        except Exception:  # noqa: BLE001  # the mistake of a foreign backend is not the answer here
            return None

    async def end(self) -> None:
        link = self._link
        if link is not None:
            try:
                await isolated(self._loop, link.close, CLOSE, "close", strays=self._strays)
            except Exception as error:  # noqa: BLE001  # it is being thrown away
                logging.getLogger("bus").debug("trial: close: %s", describe(error))
            _abort(link)
        for job in [*self._strays, *([self._reader] if self._reader else [])]:
            job.cancel()
            await job.join(0.5)


def secrets_in(coordinator: Coordinator) -> Iterator[tuple[str, Secret]]:
    """(attribute name, secret) of every field that holds one."""
    for name in coordinator.__struct_fields__:
        value: object = getattr(coordinator, name)
        if isinstance(value, Secret):
            yield name, value


def scrubbed(text: str, coordinator: Coordinator) -> str:
    """A text of a library about this configuration, without any of its secrets: the last line of defence."""
    known = set(_secret_texts(coordinator))
    # Of a secret of several lines a library may quote one.
    known |= {line.strip() for secret in known for line in secret.splitlines()}
    for secret in sorted(known, key=len, reverse=True):
        # A shorter one is no secret, and would leave no text.
        if len(secret) >= 3:
            text = text.replace(secret, MASK)
    return text


def _secret_texts(coordinator: Coordinator) -> Iterator[str]:
    for name in coordinator.__struct_fields__:
        value: object = getattr(coordinator, name)
        if isinstance(value, Secret):
            try:
                yield value.resolve() or ""
            except ConfigError:
                continue
        items = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
        for one in items:
            if isinstance(one, Redacted):
                yield from _pieces(one)


def _pieces(value: Redacted) -> Iterator[str]:
    """What the masked text hides: the words of the real one that it does not have."""
    real, shown = value.reveal(), value.masked()
    if isinstance(value, SecretText):
        yield real
    elif real != shown:
        words = re.findall(r"""["']([^"']+)["']""" if isinstance(value, Json5) else r"[^/?#&=:@]+", real)
        for word in words:
            if word not in shown:
                yield from (word, unquote(word))


def _abort(link: Link) -> None:
    try:
        link.abort()
    except Exception as bug:  # noqa: BLE001  # of a foreign backend
        logging.getLogger("bus").debug("trial: abort: %s", describe(bug))
