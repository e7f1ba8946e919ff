"""Keeps one link alive: a new client for every attempt, a deadline on everything, proof instead of
hope.

The lifecycle (pure) decides; this file does: connect, read, pump, watch from outside, tear down,
wait, again. It is the only code that calls a backend. Reader and pump are two disposable tasks per
connection; one that hangs in a library is cancelled, its sockets are aborted, and nobody waits for
it.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections import Counter
from typing import TYPE_CHECKING

from bus.errors import AuthError, ConfigError, Fault, LinkError, TlsError
from bus.isolation import Hung, Waker, isolated, turn
from bus.protocol.lifecycle import Action
from bus.protocol.outlet import Sizes
from bus.quiet import Pace
from bus.signals import LinkStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.backend import Backend, Link
    from bus.isolation import Job, Loop
    from bus.protocol.engine import Engine
    from bus.protocol.lifecycle import Lifecycle
    from bus.protocol.limits import Limits
    from bus.protocol.outlet import Outlet

log: logging.Logger = logging.getLogger("bus")

# Lines of the log for one link in a minute; what comes quicker is told together.
LINES = 6
# Different bugs of a backend that are told with where they came from.
BUGS = 16
CLOSE_LINK = 1.0
JOIN = 0.5
# A link without confirms: who sends again within so many seconds is busy, and waits for up to so many turns
# of the loop (some 5 us each) or seconds.
BUSY, MOST_TURNS, LONGEST_TURNS = 0.000_3, 48, 0.000_25
# The part of the time for stopping that a link gets to close by itself; then it is aborted.
POLITE = 0.6

# Greedy: a password may hold an @ that nobody escaped.
_USERINFO = re.compile(r"(?<=//)[^/\s'\"]+@")


def describe(error: BaseException) -> str:
    """One line about an exception, without the userinfo of any URL in it."""
    text = " ".join(str(error).split())
    return _USERINFO.sub("****@", f"{type(error).__name__}: {text}" if text else type(error).__name__)


class Supervisor:
    """One link of one bus, from `start` to `stop`."""

    def __init__(
        self, loop: Loop, backend: Backend, kind: str, channel: str, engine: Engine,
        outlet: Outlet, lifecycle: Lifecycle, limits: Limits, changed: Callable[[], None],
        note_idle: Callable[[], None], allow: Callable[[float], None],
    ) -> None:  # fmt: skip
        self.outlet = outlet
        self.lifecycle = lifecycle
        self.failure: ConfigError | None = None
        # The pump sleeps: `publish` wakes it, and costs one attribute while it is awake.
        self.is_idle: bool = False
        self._loop = loop
        self._backend = backend
        self._kind = kind
        self._channel = channel
        self._engine = engine
        self._limits = limits
        self._changed = changed
        self._note_idle = note_idle
        self._allow = allow
        self._is_held = False
        self._confirms = backend.features.confirms
        self._has_server_proof = False
        self._error: str | None = None
        self._reported: set[str] = set()
        self._state = lifecycle.state
        # What the log is to say of the link, and how many changes that are.
        self._pace = Pace(LINES)
        self._news = (lifecycle.state, "")
        self._changes = 0
        self._since = loop.now()
        # For status: connections made, why they ended, and seconds without proof before the present state.
        self._connects = 0
        self._faults: Counter[str] = Counter()
        self._away = 0.0
        # Some configurations say how often to try again.
        lifecycle.max_reconnects = getattr(backend, "max_reconnects", None)
        self._work = Waker(loop)
        self._over = Waker(loop)
        self._go = Waker(loop)
        self._job: Job | None = None
        self._link: Link | None = None
        self._jobs: list[Job] = []
        self._strays: list[Job] = []

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._job = self._loop.spawn(self._run, "bus.supervisor")

    def wake(self) -> None:
        """There may be something to send."""
        if self.is_idle:
            self.is_idle = False
            self._work.set()

    def confirmed(self) -> None:
        """The server confirmed one frame (`Context.confirmed`)."""
        self._engine.land(self.outlet, self._loop.now())
        self.wake()
        self._changed()

    def proven(self) -> None:
        """The server answered (`Context.proven`)."""
        self._has_server_proof = True

    def tick(self, step: float, expects_peers: bool) -> None:
        """Hand the evidence to the lifecycle and do what it says."""
        outlet = self.outlet
        lifecycle = self.lifecycle
        server = self._backend.features.proof == "server"
        lifecycle.evidence(
            proven=self._has_server_proof if server and not outlet.echoed else outlet.echoed,
            heard=outlet.heard, listed=outlet.listed,
        )  # fmt: skip
        outlet.echoed = outlet.heard = outlet.listed = self._has_server_proof = False
        action = lifecycle.tick(step, expects_peers=expects_peers)
        if action is Action.CONNECT:
            self._go.set()
        elif action is Action.REBUILD:
            self._is_held = False
            self._faults["proof"] += 1
            self._error = "no proof of life: the link is made anew"
            self._over.set()
        elif lifecycle.state == "DEGRADED":
            self._error = "no proof of life"
        outlet.is_ready = lifecycle.state == "READY"
        self._note_state()
        self.wake()

    async def stop(self, timeout: float) -> None:
        """End the link in every state within `timeout` seconds; nothing is left behind."""
        self.lifecycle.close()
        self._note_state()
        self._over.set()
        self._go.set()
        if self._job is None:
            return
        deadline = self._loop.now() + timeout
        if self._link is None:
            self._job.cancel()
        if not await self._job.join(timeout * POLITE):
            self._abort(self._link)
            self._job.cancel()
            await self._job.join(deadline - self._loop.now())
        left = [self._job, *self._jobs, *self._strays]
        for job in left:
            job.cancel()
        for job in left:
            await job.join(max(0.0, deadline - self._loop.now()))

    def status(self) -> LinkStatus:
        """The link now."""
        since = self._loop.now() - self._since
        return LinkStatus(
            self._kind, self._channel, self.lifecycle.state, since, self._error, self._connects,
            dict(self._faults), self._away + (0.0 if self._state == "READY" else since),
        )  # fmt: skip

    # -- inside ------------------------------------------------------------------------------------

    @property
    def _is_ended(self) -> bool:
        return self.lifecycle.state in ("CLOSED", "FATAL")

    async def _run(self) -> None:
        while not self._is_ended:
            self._strays = [job for job in self._strays if not job.done]
            patience = self.lifecycle.patience(self._limits.connect)
            self._allow(patience)
            try:
                link = await isolated(
                    self._loop, self._backend.connect, patience, "connect",
                    late=self._abort, strays=self._strays,
                )  # fmt: skip
            except Exception as error:  # noqa: BLE001  # every failure of a library ends here (T2, T22)
                self._failed(error)
            else:
                await self._hold(link)
            if not self._is_ended:
                await self._go.wait()

    async def _hold(self, link: Link) -> None:
        """From a positioned connection to its end."""
        self._link = link
        self._over = Waker(self._loop)
        if not self._is_ended:
            self.outlet.fit(self._sizes(link))
            self._engine.up(self.outlet)
            self.lifecycle.connected()
            self._connects += 1
            self._note_state()
            self._is_held = True
            reader = self._loop.spawn(lambda: self._read(link), "bus.reader")
            pump = self._loop.spawn(lambda: self._pump(link), "bus.pump")
            self._jobs = [pump, reader]
            await self._over.wait()
            self._is_held = self.is_idle = False
            pump.cancel()
            self._engine.down(self.outlet)
        try:
            await isolated(self._loop, link.close, CLOSE_LINK, "close", strays=self._strays)
        except Exception as error:  # noqa: BLE001  # it is being thrown away: nothing can be done
            log.debug("%s: close: %s", self._kind, describe(error))
        self._abort(link)
        self._link = None
        for job in self._jobs:
            job.cancel()
            await job.join(JOIN)
        self._strays += self._jobs
        self._jobs = []

    def _sizes(self, link: Link) -> Sizes:
        """The server may have said that it carries less than its kind does."""
        features = self._backend.features
        most: int = getattr(link, "max_message", features.max_message)
        return Sizes(
            frame=features.frame, max_frame=features.max_frame,
            max_message=min(most, features.max_message),
        )  # fmt: skip

    async def _read(self, link: Link) -> None:
        try:
            await link.run()
        except Exception as error:  # noqa: BLE001  # whatever ends the link
            self._lost(link, error)
        except BaseException:
            # Ours when the link is being torn down; else a stray one from the library (T2).
            self._lost(link, LinkError("the reader was cancelled"))
            raise
        else:
            self._lost(link, LinkError("the link ended"))

    async def _pump(self, link: Link) -> None:
        engine, outlet, loop = self._engine, self.outlet, self._loop
        is_busy = False
        left_at, turns = 0.0, 0
        try:
            while True:
                now = loop.now()
                frame = engine.next_frame(outlet, now)
                if frame is None:
                    self.is_idle = True
                    if not outlet.gathers(now):  # else a confirm or the time wakes it, and `publish` need not
                        self._note_idle()
                    await self._work.wait(outlet.pause(now))
                    self.is_idle = is_busy = False
                    continue
                if is_busy and self._confirms:
                    # `send` need not suspend: a long log must not keep the loop from everybody
                    # else.
                    await turn(loop)
                was_busy, is_busy = is_busy, True
                await link.send(frame)
                if not self._confirms:
                    engine.land(outlet, loop.now())
                    self._changed()
                    # Where nothing is confirmed no window gathers events: some turns of the loop do, while
                    # somebody goes on publishing. A lone event, and the first after a pause, go at once.
                    turns = min(MOST_TURNS, turns * 2 or 1) if loop.now() - left_at < BUSY else int(was_busy)
                    await turn(loop, turns, LONGEST_TURNS)
                    left_at = loop.now()
        except Exception as error:  # noqa: BLE001  # whatever ends the link
            self._lost(link, error)
        except BaseException:
            self._lost(link, LinkError("the pump was cancelled"))
            raise

    def _abort(self, link: Link | None) -> None:
        try:
            if link is not None:
                link.abort()
        except Exception as bug:  # noqa: BLE001  # as in `_classify`
            self._report("abort raised", bug)

    def _lost(self, link: Link, error: Exception) -> None:
        if link is self._link and self._is_held and not self._is_ended:
            self._is_held = False
            self._failed(error)
            self._over.set()

    def _failed(self, error: Exception) -> None:
        """Classify, remember, and let the lifecycle decide."""
        fault = self._classify(error)
        if fault is None:
            fault = Fault.PROTOCOL
            self._report("unexpected", error)
        self._faults[fault.value] += 1
        self._error = f"{fault.value}: {describe(error)}"
        if fault.is_fatal and not self.lifecycle.was_ready:
            self.failure = _as_config_error(fault, error, self._kind)
        self.lifecycle.lost(fatal=fault.is_fatal)
        self._note_state()

    def _classify(self, error: Exception) -> Fault | None:
        if isinstance(error, AuthError):
            return Fault.AUTH
        if isinstance(error, TlsError):
            return Fault.TLS
        if isinstance(error, ConfigError):
            return Fault.CONFIG
        if isinstance(error, Hung):
            return Fault.TIMEOUT
        try:
            fault = self._backend.classify(error)
        except Exception as bug:  # noqa: BLE001  # a foreign backend's mistake must not end the supervisor
            self._report("classify raised", bug)
            fault = None
        if isinstance(fault, Fault):
            return fault
        return Fault.UNREACHABLE if isinstance(error, LinkError) else None

    def _report(self, what: str, bug: Exception) -> None:
        """A bug, of ours or of a backend: where it came from, but once, and without its raw text."""
        text = f"{what} {describe(bug)}"
        if text not in self._reported and len(self._reported) < BUGS:
            self._reported.add(text)
            trace = "".join(traceback.format_tb(bug.__traceback__))
            log.error("%s: %s\n%s", self._kind, text, trace)

    def _note_state(self) -> None:
        state = self.lifecycle.state
        if state != self._state:
            log.debug(
                "%s link on %s: %s -> %s%s", self._kind, self._channel, self._state, state,
                f" ({self._error})" if self._error and state != "READY" else "",
            )  # fmt: skip
            if state == "READY":
                self._error = None
            elif state == "FATAL" and self.failure is None:
                limit = self.lifecycle.max_reconnects
                self.failure = ConfigError(f"{self._kind}: gave up, maxReconnects is {limit}; {self._error}")
            self._state = state
            self._since = self._loop.now()
            self._changed()
        # To try again, with the same outcome as before, is no news.
        if state != "CONNECTING" and (news := (state, self._error or "")) != self._news:
            self._news = news
            self._changes += 1
        if self._changes and (state == "CLOSED" or self._pace.allows(self._loop.now())):
            self._say()

    def _say(self) -> None:
        state, error = self._news
        log.log(
            logging.INFO if state in ("READY", "CLOSED") else logging.WARNING,
            "%s link on %s is %s%s%s", self._kind, self._channel, state,
            f" ({error})" if error and state not in ("READY", "CLOSED") else "",
            f", {self._changes} changes" if self._changes > 1 else "",
        )  # fmt: skip
        self._changes = 0


def _as_config_error(fault: Fault, error: Exception, kind: str) -> ConfigError:
    if isinstance(error, ConfigError):
        # Where it was raised there are secrets in the variables, and tools that report errors show
        # these.
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    cls = {Fault.AUTH: AuthError, Fault.TLS: TlsError}.get(fault, ConfigError)
    return cls(f"{kind}: {describe(error)}")
