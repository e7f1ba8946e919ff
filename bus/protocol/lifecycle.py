"""One link as a state machine: when to connect, when proven, when to give it up (rules 10, 17).

    CONNECTING --connected, proven--> READY --3 s without proof--> DEGRADED --6 s--> rebuild
         ^                              ^------------proof-------------'
         '--after the wait-- BACKOFF <-- lost, failed, rebuild
    FATAL: wrong configuration, before the first READY, or the user's limit of failures
    CLOSED: by the user

READY means positioned *and* proven, never "the socket is open". All ages are attended time: `tick`
gets steps that a freeze cannot make long. The supervisor does what the returned action says, and
nothing else.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.signals import LinkState

SOFT = 3.0
HARD = 6.0
ALONE_GRACE = 1.5
BACKOFF_MIN = 0.1
BACKOFF_MAX = 2.0
FATAL_RETRY = 30.0
STEADY = 10.0
# Seconds that an attempt gets when the last connection was made much quicker; after so many a long one.
QUICK = 3.0
QUICK_TRIES = 3

ProofKind = Literal["echo", "server", "peers"]


class Action(enum.Enum):
    """What the supervisor has to do now."""

    NOTHING = "nothing"
    CONNECT = "connect"
    REBUILD = "rebuild"


class Lifecycle:
    """The state of one link. `uniform(a, b)` is the randomness of the backoff."""

    def __init__(self, proof: ProofKind, uniform: Callable[[float, float], float]) -> None:
        self.state: LinkState = "CONNECTING"
        self.alone: bool = False
        self.was_ready: bool = False
        # Failures in a row that are tried again; after one more it is FATAL. None: no limit.
        self.max_reconnects: int | None = None
        self._proof = proof
        self._uniform = uniform
        self._wait = 0.0
        # Seconds since the connect began that has not returned yet.
        self._connecting = 0.0
        # How long the last one took that returned, and how many in a row took long since, in vain.
        self._took: float | None = None
        self._late = 0
        self._backoff = BACKOFF_MIN
        self._steady = 0.0
        self._failures = 0
        self._is_connected = False
        self._retried_alone = False
        self._ever_heard = False
        self._restart_clocks()

    def _restart_clocks(self) -> None:
        self._age = 0.0
        self._unproven = self._unlisted = 0.0
        self._unheard = SOFT
        self._has_proof = self._has_listing = False

    # -- events ------------------------------------------------------------------------------------

    def connected(self) -> None:
        """`connect` returned: positioned, not yet proven. Too late when CLOSED or FATAL by now."""
        if self.state in ("CLOSED", "FATAL"):
            return
        self._is_connected = True
        self._took, self._late, self._connecting = self._connecting, 0, 0.0
        self._restart_clocks()
        self.state = "CONNECTING"

    def evidence(self, *, proven: bool, heard: bool, listed: bool) -> None:
        """What came in since the last call.

        `proven`: our echo, or the server's answer; `heard`: a peer's heartbeat; `listed`: one that
        lists us.
        """
        if proven:
            self._unproven, self._has_proof = 0.0, True
        if heard:
            if self._unheard >= SOFT:
                # The demand to be listed begins now, not when the link was made.
                self._unlisted, self._has_listing = 0.0, False
            self._unheard, self._ever_heard, self._retried_alone = 0.0, True, False
        if listed:
            self._unlisted, self._has_listing = 0.0, True

    def lost(self, *, fatal: bool) -> None:
        """`connect` failed, or the link died. `fatal`: only an operator can mend it."""
        if self.state in ("CLOSED", "FATAL"):
            return
        self._failures += 1
        self._late += self._connecting * 2 > QUICK
        is_last = self.max_reconnects is not None and self._failures > self.max_reconnects
        if is_last or (fatal and not self.was_ready):
            self.state = "FATAL"
        else:
            self._retreat(fatal=fatal)

    def patience(self, most: float) -> float:
        """Seconds that the next attempt to connect gets, of the `most` that it may have.

        A server may have accepted it and be silent for ever, or its first packet be lost, and all be well
        again since: then the link is away until this attempt is given up.
        """
        is_last = self.max_reconnects is not None and self._failures >= self.max_reconnects
        if is_last or self._took is None or self._late % (QUICK_TRIES + 1) == QUICK_TRIES:
            return most
        return min(most, max(QUICK, 4 * self._took))

    def close(self) -> None:
        """The user closes the bus."""
        self.state = "CLOSED"

    def tick(self, step: float, *, expects_peers: bool) -> Action:
        """`step` attended seconds passed; `expects_peers`: somebody lives who said no goodbye."""
        if self.state == "BACKOFF":
            self._wait -= step
            if self._wait > 0:
                return Action.NOTHING
            self.state = "CONNECTING"
            return Action.CONNECT
        if not self._is_connected:
            self._connecting += step
        if not self._is_connected or self.state in ("FATAL", "CLOSED"):
            return Action.NOTHING
        self._age += step
        self._unproven += step
        self._unlisted += step
        self._unheard += step
        return self._judge(step, expects_peers)

    # -- judgement ---------------------------------------------------------------------------------

    def _judge(self, step: float, expects_peers: bool) -> Action:
        hears = self._unheard < SOFT
        self.alone = not hears
        if self._proof == "echo":
            proven, age = self._has_proof, self._unproven
        elif hears:
            # Peers are heard and none lists us: deaf outwards, whatever the server says.
            proven, age = self._has_listing, self._unlisted
            if self._proof == "server":
                proven, age = proven and self._has_proof, max(age, self._unproven)
        else:
            if not self._retried_alone and self._should_retry(expects_peers):
                self._retried_alone = True
                # To look for others once more is no failure.
                self._retreat(fatal=False)
                return Action.REBUILD
            waits = not self._retried_alone and (
                expects_peers or (self._proof == "peers" and not self._ever_heard)
            )
            if waits:
                proven, age = False, self._age if self._age < self._unheard else self._unheard
            elif self._proof == "server":
                proven, age = self._has_proof, self._unproven
            else:
                proven, age = True, 0.0
        if age >= HARD:
            self.lost(fatal=False)
            return Action.REBUILD
        if age >= SOFT:
            self._enter("DEGRADED")
        elif proven:
            self._enter("READY")
            self._steady += step
            if self._steady > STEADY:
                self._backoff = BACKOFF_MIN
        return Action.NOTHING

    def _should_retry(self, expects_peers: bool) -> bool:
        """Nobody is heard: a fresh connection may find them, once; after that we are alone."""
        if expects_peers:
            return self._age >= HARD and self._unheard >= HARD
        return self._proof == "peers" and not self._ever_heard and self._age >= ALONE_GRACE

    def _enter(self, state: LinkState) -> None:
        if state != "READY":
            self._steady = 0.0
        elif self.state != "READY":
            self.was_ready = True
            self._failures = 0
            self._steady = 0.0
        self.state = state

    def _retreat(self, *, fatal: bool) -> None:
        """Away from this connection; the next one comes after a wait."""
        self._is_connected = False
        self.state = "BACKOFF"
        if fatal:
            self._wait = FATAL_RETRY
            return
        # Decorrelated jitter: nodes that lost the same server do not come back in step.
        self._backoff = min(BACKOFF_MAX, self._uniform(BACKOFF_MIN, self._backoff * 3))
        # An attempt that took long was a wait itself: the server may be back since.
        self._wait = max(BACKOFF_MIN, self._backoff - self._connecting)
        self._connecting = 0.0
