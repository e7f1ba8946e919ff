"""From a wish to a running bus: judge -> trial connection -> store -> switch; and back when it fails.

One at a time. Before the object is stored nothing has changed; when the switch fails afterwards, the old
object is stored again. The same way is taken by /set, by a rollback, by a file that was edited by hand, and
by secrets and certificates that were renewed. What a process that died was switching to, the next one goes
on with, from the link that it had.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import anyio

from bus.admin.audit import Audit, Entry, changes
from bus.admin.jmap.errors import MethodError, SetError, invalid_properties
from bus.admin.renewals import Renewals
from bus.admin.signal import Signal
from bus.admin.store import StoreBroken
from bus.config import Coordinator, Disabled, Problem
from bus.config.problem import problem
from bus.errors import BusError, ConfigError
from bus.trial import TrialFailed, budget, scrubbed

if TYPE_CHECKING:
    from bus.admin.jmap.methods import Caller
    from bus.admin.node import Node
    from bus.admin.secret_policy import SecretPolicy
    from bus.admin.store import Store

log: logging.Logger = logging.getLogger("bus.admin")

Validate = Literal["connect", "schema", "none"]

PATIENCE = 5.0
# So long hears a node both links, and may those that missed a change follow.
SWITCH = 60.0
AGAIN = 5.0
# After a start: so long is a proven link listened to, or tried, before somebody else is moved to.
LISTEN, LISTEN_MOST = 3.0, 10.0
_STOPPED = "the server is being stopped"


class Wish(NamedTuple):
    """How something is to be changed, and by whom."""

    action: str
    caller: Caller | None
    validate: Validate = "connect"
    dry_run: bool = False


class Cutover:
    """The one who changes the Coordinator of a node."""

    def __init__(
        self, node: Node, store: Store, audit: Audit, policy: SecretPolicy, *, follows: bool = True
    ) -> None:
        """`follows`: what is stored is what runs; else the node is configured by others."""
        self.node = node
        self._follows = follows
        self.changed: Signal = Signal()
        # Why the stored object is not what the node runs on; "" when it is.
        self.pending: str = ""
        self._store = store
        self._audit = audit
        self._policy = policy
        self._lock = asyncio.Lock()
        self._scope: anyio.CancelScope | None = None
        self._is_closed = False
        # What is under way is our own try at what nobody has tried: somebody may want to mend it.
        self._gives_way = False
        self._again_at = 0.0
        self._began = time.monotonic()
        self._renewals = Renewals()

    # -- looking -----------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """The state string of the object."""
        return self._store.state

    @property
    def broken(self) -> str:
        """Why the stored object cannot be read; "" when it can, or is not used."""
        return self._store.broken if self._follows else ""

    @property
    def current(self) -> Coordinator:
        """The object: what is stored, else what the node was opened with."""
        return self.snapshot()[1]

    def snapshot(self) -> tuple[str, Coordinator]:
        """State and object of one moment."""
        if not self._follows:
            return self._store.state, self.node.coordinator
        stored = self._store.current
        if stored is not None:
            return stored.state, stored.object
        return self._store.state, Disabled() if self.broken else self.node.coordinator

    # -- changing ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def exclusive(self) -> AsyncGenerator[None]:
        """Only one changes at a time. Raises MethodError serverUnavailable after 5 s, and when closed."""
        is_ours = False
        if self._gives_way and self._scope is not None:
            self._scope.cancel()
        with anyio.move_on_after(PATIENCE):
            is_ours = await self._lock.acquire()
        if not is_ours:
            raise MethodError("serverUnavailable", "another change is under way; try again")
        try:
            if self._is_closed:
                raise MethodError("serverUnavailable", _STOPPED)
            yield
        finally:
            self._lock.release()

    async def change(self, make: Callable[[Coordinator], Coordinator], wish: Wish) -> Coordinator:
        """Make the new object of the current one and move to it; returns it. Within `exclusive` only.

        Raises SetError and MethodError; then the old one is stored and runs.
        """
        entry = Entry(wish.action, wish.caller, self.state)
        try:
            with anyio.CancelScope() as self._scope:
                return await self._change(make, wish, entry)
        except (SetError, MethodError) as error:
            entry.fail(error)
            raise
        finally:
            self._scope = None
            entry.record["newState"] = self.state
            if entry.is_news:
                with anyio.CancelScope(shield=True):
                    await asyncio.to_thread(self._audit.write, entry.record)
        raise MethodError("serverUnavailable", _STOPPED)

    async def _change(
        self, make: Callable[[Coordinator], Coordinator], wish: Wish, entry: Entry
    ) -> Coordinator:
        old = self.current
        # In a thread: of a long text it may take a while.
        new = await asyncio.to_thread(make, old)
        if new == old and not wish.dry_run and not self._store.broken:
            entry.is_news = False
            return new
        entry.record["changed"] = changes(old, new)
        if wish.validate != "none":
            with entry.stage("validate"):
                await asyncio.to_thread(self._judge, new, old)
        if wish.validate == "connect":
            with entry.stage("trial"):
                await self._try(new)
        if wish.dry_run:
            entry.record["outcome"] = "dry_run"
            return new
        with entry.stage("store"):
            await self._save(new, old, entry, is_switching=wish.validate != "none")
        if wish.validate == "none":
            entry.record["outcome"] = "stored"
            self.pending = "it was stored without being tried"
            self._again_at = 0.0
            return new
        with entry.stage("switch"):
            await self._switch_or_return(new, old, entry)
        entry.record["outcome"] = "applied"
        return new

    def _judge(self, new: Coordinator, old: Coordinator) -> None:
        """In a thread: paths are resolved, and a client library may be imported."""
        if problems := self._policy.problems(new, old):
            raise invalid_properties(problems)
        try:
            self.node.check(new)
        except ConfigError as error:
            failed = _as_problem(error, new)
        else:
            return
        raise invalid_properties([failed])

    async def _try(self, new: Coordinator) -> None:
        try:
            await self.node.trial(new, budget(new))
        except TrialFailed as error:
            failed = SetError("connectionFailed", str(error), stage=error.stage, hint=error.hint)
        else:
            return
        raise failed

    async def _save(
        self, new: Coordinator, old: Coordinator, entry: Entry, *, is_switching: bool = False
    ) -> None:
        trouble = ""
        try:
            # Not to be interrupted half way: the thread would go on alone.
            with anyio.CancelScope(shield=True):
                if self._store.broken and entry.action == "rollback":
                    await asyncio.to_thread(self._store.set_aside)
                save = partial(self._store.save, is_switching=is_switching)
                await asyncio.to_thread(save, new, entry.by, old)
        except StoreBroken as error:
            trouble = f"{error}; repair or remove the file, or roll back"
        except OSError as error:
            trouble = f"the object cannot be stored: {error.strerror}"
        else:
            self.changed.set()
        if trouble:
            raise MethodError("serverFail", trouble)

    async def _switch_or_return(self, new: Coordinator, old: Coordinator, entry: Entry) -> None:
        try:
            await self.node.switch(new, SWITCH)
        except (BusError, TimeoutError) as error:
            trouble = scrubbed(str(error), new)
        except Exception:  # ours: it is looked after as if the process had died
            self.pending = "the switch broke off"
            raise
        else:
            await self._settle()
            return
        if entry.action == "resume" and self.node.status().alone:
            # Nobody is left where it came from, so there is nothing to go back to.
            self.pending = trouble
            self._again_at = time.monotonic() + AGAIN
            raise MethodError("serverUnavailable", trouble)
        # Should this fail, what is stored is not what runs.
        self.pending = trouble
        await self._save(old, new, entry)
        self.pending = ""
        entry.record["outcome"] = "rolled_back"
        log.warning("the change to %s was rolled back: %s", type(new).__name__, trouble)
        raise SetError(
            "connectionFailed",
            f"rolled back: {trouble}",
            stage="switch",
            hint="the old configuration is stored again, and in use",
        )

    async def _settle(self) -> None:
        """What is stored is what runs."""
        self.pending = ""
        try:
            with anyio.CancelScope(shield=True):
                await asyncio.to_thread(self._store.settle)
        except OSError as error:
            log.warning("%s: %s; the next start makes this change once more", self._store.path, error)

    # -- following what is stored ------------------------------------------------------------------

    async def start(self) -> None:
        """What is stored is what runs, once the first `follow` has seen to it."""
        if not self.node.runs(self.current):
            self.pending = "the node was opened with another configuration"
        elif self._is_interrupted:
            await self._settle()

    async def follow(self) -> None:
        """Take over a file that was edited, an object that is stored but not in use yet, renewed secrets."""
        if self._follows and await asyncio.to_thread(self._store.is_changed):
            async with self.exclusive():
                await self._follow_file()
        elif self.pending:
            if self._follows and time.monotonic() >= self._again_at and self._has_listened():
                async with self.exclusive():
                    await self._catch_up()
        elif await asyncio.to_thread(self._renewals.look, self.node.coordinator):
            async with self.exclusive():
                await self._renew()

    @property
    def _is_interrupted(self) -> bool:
        """The last process did not come to the end of this change."""
        return self._follows and self._store.current is not None and self._store.current.is_switching

    def _has_listened(self) -> bool:
        """Whether those who stayed on the old link would have been heard by now."""
        if not self._is_interrupted or time.monotonic() - self._began >= LISTEN_MOST:
            return True
        return all(link.state == "READY" and link.since >= LISTEN for link in self.node.status().links)

    async def _follow_file(self) -> None:
        old = self.current
        entry = Entry("file", None, self.state)
        if not await asyncio.to_thread(self._store.adopt):
            if self._store.broken:
                log.error("the stored Coordinator is not used: %s", self._store.broken)
            return
        self.changed.set()
        new = self.current
        entry.record["changed"] = changes(old, new)
        async with self._unasked(entry, f"the edited {self._store.path} is not used"):
            try:
                with entry.stage("trial"):
                    await self._try(new)
            except SetError:
                await self._save(old, new, entry)
                entry.record["outcome"] = "rolled_back"
                raise
            with entry.stage("switch"):
                await self._switch_or_return(new, old, entry)

    async def _catch_up(self) -> None:
        wanted = self.current
        if self.node.runs(wanted):
            await self._settle()
        elif self._is_interrupted:
            old, entry = self.node.coordinator, Entry("resume", None, self.state)
            entry.record["changed"] = changes(old, wanted)
            async with self._unasked(entry, "the change that was interrupted is not in use"):
                with entry.stage("switch"):
                    await self._switch_or_return(wanted, old, entry)
        else:
            try:
                with anyio.CancelScope() as self._scope:
                    self._gives_way = True
                    await self.node.switch(wanted, SWITCH)
                    self.pending = ""
            except (BusError, TimeoutError) as error:
                trouble = scrubbed(str(error), wanted)
                if trouble != self.pending:
                    log.warning("the stored Coordinator is not in use yet: %s", trouble)
                self.pending = trouble
                self._again_at = time.monotonic() + AGAIN
            finally:
                self._scope, self._gives_way = None, False

    async def _renew(self) -> None:
        """The same object, with what its files say now; if that does not work the old link goes on."""
        entry = Entry("renew", None, self.state)
        async with self._unasked(entry, "renewed secrets or certificates are not in use yet"):
            with entry.stage("trial"):
                await self._try(self.node.coordinator)
            with entry.stage("switch"):
                try:
                    await self.node.switch(self.node.coordinator, SWITCH)
                except (BusError, TimeoutError) as error:
                    trouble = scrubbed(str(error), self.node.coordinator)
                    raise SetError("connectionFailed", trouble, stage="switch") from None

    @asynccontextmanager
    async def _unasked(self, entry: Entry, trouble: str) -> AsyncGenerator[None]:
        """A change that no client waits for: what becomes of it is in the audit trail and in the log."""
        try:
            with anyio.CancelScope() as self._scope:
                yield
                entry.record["outcome"] = "applied"
        except (SetError, MethodError) as error:
            entry.fail(error)
            log.error("%s: %s", trouble, error.description)
        finally:
            self._scope = None
            entry.record["newState"] = self.state
            with anyio.CancelScope(shield=True):
                await asyncio.to_thread(self._audit.write, entry.record)

    async def close(self) -> None:
        """End what is under way; what was not yet stored has not happened."""
        self._is_closed = True
        if self._scope is not None:
            self._scope.cancel()
        async with self._lock:
            pass


def _as_problem(error: ConfigError, new: Coordinator) -> Problem:
    """What a backend said about a configuration, at the field that it names."""
    text = scrubbed(str(error), new)
    words = text.replace(":", " ").replace(",", " ").split()
    named = [name for name in new.__struct_encode_fields__ if name in words]
    return problem(named[0] if named else "@type", "format", text)
