"""One running node: the engine, its links, the ticker. Everything of a `Bus` that is alive."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bus.changeover import Changeover
from bus.door import Door
from bus.errors import ConfigError
from bus.foreign import Foreign
from bus.isolation import sleep
from bus.lag import Lag
from bus.protocol.engine import MAX_STEP, Engine
from bus.protocol.lifecycle import Lifecycle
from bus.protocol.outlet import Sizes
from bus.quiet import quiet
from bus.seal import Seal, need_library
from bus.supervisor import Supervisor
from bus.waiting import Watchers

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.backend import Backend
    from bus.config import Coordinator
    from bus.event import Event
    from bus.isolation import Job, Loop
    from bus.keys import ClusterKey
    from bus.protocol.catalog import Declared
    from bus.protocol.limits import Limits
    from bus.protocol.outlet import Outlet
    from bus.protocol.peer import Peer
    from bus.routing import Router
    from bus.signals import LinkState

TICK = 0.05
# Seconds; a key counts when its file has stayed as it is from one look to the next.
LOOK_AT_KEY = 2.0
# The best state of several links is the state of the node.
RANK: tuple[LinkState, ...] = ("READY", "DEGRADED", "CONNECTING", "BACKOFF", "FATAL", "CLOSED")


class Connection:
    """A backend with the door that was made for it, before and while it is a link of the node."""

    def __init__(self, kind: str, door: Door, backend: Backend) -> None:
        self.kind = kind
        self.door = door
        self.backend = backend


class Node:
    """The live part of a bus; `start` needs a running event loop, everything before does not."""

    loop: Loop
    engine: Engine
    born: float

    def __init__(
        self, name: str, epoch: int, channel: str, limits: Limits, router: Router, *,
        observer: bool = False, key: ClusterKey | None = None,
    ) -> None:  # fmt: skip
        self._log = quiet("bus")
        self.name = name
        self.epoch = epoch
        self.channel = channel
        self.limits = limits
        self.watchers: Watchers = Watchers()
        self.links: dict[Supervisor, Connection] = {}
        self.is_closed: bool = False
        self.lag: Lag = Lag()
        # Hears everything, is counted by nobody, asks for no repeats (rule 9).
        self.is_observer = observer
        # Why it is not ready although a link is; the bus, which knows, puts its own here.
        self.problems: Callable[[], tuple[str, ...]] = tuple
        # Called for each event of ours, by who traces; it costs nothing while nobody does.
        self.on_publish: Callable[[Event], None] | None = None
        self.router = router
        self._random = random.Random(epoch)
        self._jobs: list[Job] = []
        self._foreign = Foreign(channel)
        self.key = key
        self.seal: Seal | None = None
        if key is not None:
            need_library()
            self.seal = Seal(key.read(), channel, epoch)

    def prepare(self, kind: str, backend: type[Backend], config: Coordinator) -> Connection:
        """Validate a configuration by building its backend; no I/O. Raises ConfigError."""
        door = Door(self)
        context = door.context(self.name, self.epoch, self.channel, self.limits.connect)
        return Connection(kind, door, backend(config, context))

    def start(self, loop: Loop, types: Declared | None = None) -> None:
        """Begin to live in `loop`; `types` are told to the others."""
        self.loop = loop
        self.born = loop.now()
        self.engine = Engine(
            self.name, self.epoch, self.limits, self.router, self.born, self._random.randrange,
            self.is_observer, self.seal,
        )  # fmt: skip
        if types is not None:
            self.engine.catalog.ours = types
        self._jobs.append(loop.spawn(self._tick_for_ever, "bus.ticker"))
        if self.key is not None and self.key.files:
            self._jobs.append(loop.spawn(self._watch_key, "bus.key"))

    def add(self, connection: Connection) -> Supervisor:
        """Add a link and begin to connect it."""
        features = connection.backend.features
        outlet = self.engine.attach(
            Sizes(frame=features.frame, max_frame=features.max_frame, max_message=features.max_message)
        )
        supervisor = Supervisor(
            self.loop, connection.backend, connection.kind, self.channel, self.engine, outlet,
            Lifecycle(features.proof, self._random.uniform), self.limits,
            self.watchers.changed, self.note_idle, connection.door.allow,
        )  # fmt: skip
        self.links[supervisor] = connection
        connection.door.open(outlet, supervisor)
        supervisor.start()
        return supervisor

    async def remove(self, supervisor: Supervisor, timeout: float) -> None:
        """End one link for good, within `timeout` seconds; two may do it at the same time."""
        try:
            await supervisor.stop(timeout)
        finally:
            connection = self.links.pop(supervisor, None)
            if connection is not None:
                connection.door.shut()
                self.engine.detach(supervisor.outlet)

    async def replace(self, connection: Connection | None, timeout: float) -> None:
        """Move to another link: both carry the log until everybody is on the new one; see `changeover`.

        On failure the new one is dropped and nothing has changed. Raises ConfigError, TimeoutError,
        Closed.
        """
        before = list(self.links)
        if connection is not None:
            link = self.add(connection)
            try:
                await Changeover(self, link).wait(timeout)
            except BaseException:  # a cancelled caller, too, keeps what was before
                with anyio.CancelScope(shield=True):
                    await self.remove(link, self.limits.close / 2)
                raise
        with anyio.CancelScope(shield=True):
            for old in before:
                await self.remove(old, self.limits.close / 2)

    def appended(self, event: Event, size: int) -> None:
        """An event filled a frame, which need not wait for a confirm; or a pump sleeps; or it is watched."""
        log = self.engine.log
        if log.lane.is_watched:
            is_watched = self.router.has_echoes or self.on_publish is not None
            log.watch(is_watched)
            if self.on_publish is not None:
                self.on_publish(event)
            if is_watched:
                self.router.echo(event, size)
        self.wake()

    def note_idle(self) -> None:
        """A pump went to sleep, or a subscriber with `echo=True` came: `publish` has more to do."""
        self.engine.log.watch(True)

    def wake(self) -> None:
        """There is something to send."""
        for supervisor in self.links:
            supervisor.wake()

    def receive(self, outlet: Outlet, frame: bytes, stamp: float | None) -> None:
        """One frame came in on a link."""
        try:
            if self.engine.receive(outlet, frame, self.loop.now(), stamp):
                self.wake()
                self.watchers.changed()
        except Exception as bug:  # noqa: BLE001  # ours: it must not end a library's reading task
            self._log.error("a frame could not be handled", exc_info=bug)

    @property
    def state(self) -> LinkState:
        """The best state of the links."""
        states: list[LinkState] = [supervisor.lifecycle.state for supervisor in self.links]
        return min(states, key=RANK.index) if states else "CLOSED"

    def live_peers(self) -> list[Peer]:
        """Peers that are heard and did not say goodbye."""
        return [peer for peer in self.engine.peers.values() if not peer.is_down]

    def unsent(self) -> int:
        """Bytes of the log that the furthest link has not taken yet."""
        return self.engine.log.unsent(self._cursor())

    def is_roomy(self, most: int) -> bool:
        """Less than half of the log is unsent, and at most so many events."""
        log, limits, cursor = self.engine.log, self.limits, self._cursor()
        events = log.last + 1 - cursor
        return (
            events <= most and events * 2 < limits.log_events
            and log.unsent(cursor) * 2 < limits.log_bytes
        )  # fmt: skip

    def unsent_events(self) -> int:
        """How many events that is."""
        return self.engine.log.last + 1 - self._cursor()

    def _cursor(self) -> int:
        """The next number that the furthest link will send."""
        if len(self.links) == 1:  # nearly always, and asked for at every `room()`
            (link,) = self.links
            return link.outlet.cursor
        return max((link.outlet.cursor for link in self.links), default=self.engine.log.last + 1)

    def confirmed(self) -> int:
        """The highest number that every working link has confirmed."""
        outlets = [link.outlet for link in self.links]
        working = [outlet for outlet in outlets if outlet.is_up] or outlets
        return min((outlet.confirmed for outlet in working), default=self.engine.log.last)

    async def close(self, timeout: float) -> None:
        """Flush, say goodbye, end every link; within `timeout` seconds in every state (rule 7)."""
        self.is_closed = True
        self.watchers.changed()
        try:
            if any(link.outlet.is_up for link in self.links):
                last = self.engine.log.last
                await self.watchers.until(self.loop, lambda: self.confirmed() >= last, timeout * 0.35)
                self.engine.say_bye()
                self.wake()
                await self.watchers.until(self.loop, self._has_said_bye, timeout * 0.1)
            for supervisor in list(self.links):
                supervisor.lifecycle.close()
            for supervisor in list(self.links):
                await self.remove(supervisor, timeout * 0.35 / max(1, len(self.links)))
        finally:
            for job in self._jobs:
                job.cancel()
            for job in self._jobs:
                await job.join(0.1)

    def _has_said_bye(self) -> bool:
        return all(
            not link.outlet.byes and not link.outlet.flights for link in self.links if link.outlet.is_up
        )

    async def _tick_for_ever(self) -> None:
        before = self.loop.now()
        while True:
            await sleep(self.loop, TICK)
            now = self.loop.now()
            self.lag.note(now - before - TICK)
            step, before = min(now - before, MAX_STEP), now
            try:
                self.engine.tick(now)
                self._foreign.look(self.engine.refused)
                expects_peers = self.engine.expects_peers
                for supervisor in list(self.links):
                    supervisor.tick(step, expects_peers)
                self.watchers.changed()
            except Exception as bug:  # noqa: BLE001  # ours: the clock must go on
                self._log.error("the ticker failed", exc_info=bug)

    # -- the cluster key ---------------------------------------------------------------------------

    def renew_key(self) -> None:
        """Read the cluster key again. Raises ConfigError."""
        if self.key is not None:
            self._seal_with(self.key.read())

    def _seal_with(self, keys: list[bytes]) -> None:
        # Nothing is lost: who cannot open what is on its way now asks for it, and gets it sealed anew.
        assert self.seal is not None
        if self.seal.renew(keys):
            ids = ", ".join(map(str, self.seal.key_ids))
            self._log.info("%s has a renewed cluster key; key ids: %s, the first seals", self.name, ids)

    async def _watch_key(self) -> None:
        """A file that is replaced is taken over by itself."""
        assert self.key is not None
        while True:
            await sleep(self.loop, LOOK_AT_KEY)
            try:
                # In a thread: a file may be on a network.
                if keys := await anyio.to_thread.run_sync(self.key.renewed, abandon_on_cancel=True):
                    self._seal_with(keys)
            except ConfigError as error:
                self._log.error("%s keeps its cluster key: %s", self.name, error)
