"""The state machine of one link: every state with every event stands in one table.

Then what counts as proof for each kind of system (rule 10), how long is waited before the next attempt,
and a random walk against the few things that must always hold.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bus.protocol.lifecycle import BACKOFF_MAX, BACKOFF_MIN, Action, Lifecycle, ProofKind
from bus.signals import LinkState

NOTHING, CONNECT, REBUILD = Action.NOTHING, Action.CONNECT, Action.REBUILD
# A power of two: many of them add up exactly.
STEP = 0.125


def longest(low: float, high: float) -> float:
    """The randomness that waits as long as it may."""
    assert low <= high
    return high


def link(proof: ProofKind = "echo", *, connected: bool = False) -> Lifecycle:
    lifecycle = Lifecycle(proof, longest)
    if connected:
        lifecycle.connected()
    return lifecycle


def ready() -> Lifecycle:
    lifecycle = link(connected=True)
    lifecycle.evidence(proven=True, heard=False, listed=False)
    assert lifecycle.tick(STEP, expects_peers=False) is NOTHING
    return lifecycle


def after(lifecycle: Lifecycle, change: Callable[[Lifecycle], object]) -> Lifecycle:
    change(lifecycle)
    return lifecycle


def wait(seconds: float) -> Callable[[Lifecycle], Action]:
    return lambda lifecycle: lifecycle.tick(seconds, expects_peers=False)


def prove(lifecycle: Lifecycle) -> Action:
    lifecycle.evidence(proven=True, heard=False, listed=False)
    return lifecycle.tick(STEP, expects_peers=False)


STATES: dict[str, Callable[[], Lifecycle]] = {
    "CONNECTING": link,
    "positioned": lambda: link(connected=True),
    "READY": ready,
    "DEGRADED": lambda: after(ready(), wait(3.0)),
    "CONNECTING, once more": lambda: after(STATES["BACKOFF"](), wait(2.0)),
    "BACKOFF": lambda: after(ready(), lambda one: one.lost(fatal=False)),
    "BACKOFF, never ready": lambda: after(link(), lambda one: one.lost(fatal=False)),
    "FATAL": lambda: after(link(), lambda one: one.lost(fatal=True)),
    "CLOSED": lambda: after(ready(), Lifecycle.close),
}
EVENTS: dict[str, Callable[[Lifecycle], Action | None]] = {
    "connected": Lifecycle.connected,
    "proven": prove,
    "lost": lambda one: one.lost(fatal=False),
    "lost, fatal": lambda one: one.lost(fatal=True),
    "close": Lifecycle.close,
    "a moment": wait(0.05),
    "3 s": wait(3.0),
    "6 s": wait(6.0),
}
# The state after the event; where a tick asks for something, the action too.
TABLE: dict[str, list[str]] = {
    "": ["connected", "proven", "lost", "lost, fatal", "close", "a moment", "3 s", "6 s"],
    "CONNECTING": ["CONNECTING", "CONNECTING", "BACKOFF", "FATAL", "CLOSED",
                   "CONNECTING", "CONNECTING", "CONNECTING"],
    "CONNECTING, once more": ["CONNECTING", "CONNECTING", "BACKOFF", "BACKOFF", "CLOSED",
                              "CONNECTING", "CONNECTING", "CONNECTING"],
    "positioned": ["CONNECTING", "READY", "BACKOFF", "FATAL", "CLOSED",
                   "CONNECTING", "DEGRADED", "BACKOFF REBUILD"],
    "READY": ["CONNECTING", "READY", "BACKOFF", "BACKOFF", "CLOSED",
              "READY", "DEGRADED", "BACKOFF REBUILD"],
    "DEGRADED": ["CONNECTING", "READY", "BACKOFF", "BACKOFF", "CLOSED",
                 "DEGRADED", "BACKOFF REBUILD", "BACKOFF REBUILD"],
    "BACKOFF": ["CONNECTING", "BACKOFF", "BACKOFF", "BACKOFF", "CLOSED",
                "BACKOFF", "CONNECTING CONNECT", "CONNECTING CONNECT"],
    "BACKOFF, never ready": ["CONNECTING", "BACKOFF", "BACKOFF", "FATAL", "CLOSED",
                             "BACKOFF", "CONNECTING CONNECT", "CONNECTING CONNECT"],
    "FATAL": ["FATAL", "FATAL", "FATAL", "FATAL", "CLOSED", "FATAL", "FATAL", "FATAL"],
    "CLOSED": ["CLOSED", "CLOSED", "CLOSED", "CLOSED", "CLOSED", "CLOSED", "CLOSED", "CLOSED"],
}  # fmt: skip
CASES = [
    (state, event, outcome)
    for state, row in TABLE.items()
    if state
    for event, outcome in zip(TABLE[""], row, strict=True)
]


@pytest.mark.parametrize(("state", "event", "outcome"), CASES)
def test_every_event_in_every_state_does_what_the_table_says(state: str, event: str, outcome: str) -> None:
    lifecycle = STATES[state]()
    assert state == "positioned" or lifecycle.state == state.split(",")[0]
    action = EVENTS[event](lifecycle)
    expected, _, asks = outcome.partition(" ")
    assert lifecycle.state == expected
    assert action is None or action is (Action[asks] if asks else NOTHING)


def test_the_table_is_whole() -> None:
    assert (list(EVENTS), {"", *STATES}) == (TABLE[""], set(TABLE))


# -- proof (rule 10) -------------------------------------------------------------------------------


def run(
    lifecycle: Lifecycle, seconds: float, *, proven: bool = False, heard: bool = False,
    listed: bool = False, expects: bool = False,
) -> tuple[LinkState, float | None]:  # fmt: skip
    """The same evidence again and again: the state then, or when it asked for a rebuild."""
    for index in range(1, round(seconds / STEP) + 1):
        lifecycle.evidence(proven=proven, heard=heard, listed=listed)
        action = lifecycle.tick(STEP, expects_peers=expects)
        if action is not NOTHING:
            assert action is REBUILD
            return lifecycle.state, round(index * STEP, 3)
    return lifecycle.state, None


def test_an_echo_is_all_the_proof_where_we_hear_ourselves() -> None:
    lifecycle = link("echo", connected=True)
    assert run(lifecycle, 1.0, proven=True, expects=True) == ("READY", None)
    assert lifecycle.alone
    assert run(lifecycle, 1.0, heard=True) == ("READY", None)
    assert not lifecycle.alone


def test_without_an_echo_a_link_is_degraded_after_3_s_and_built_again_after_6() -> None:
    lifecycle = link("echo", connected=True)
    assert run(lifecycle, 0.5, proven=True) == ("READY", None)
    # The last proof came one step before the last state.
    assert run(lifecycle, 2.75, heard=True, listed=True) == ("READY", None)
    assert run(lifecycle, 0.125, heard=True, listed=True) == ("DEGRADED", None)
    assert run(lifecycle, 2.875) == ("DEGRADED", None)
    assert run(lifecycle, 9.0) == ("BACKOFF", 0.125)


def test_a_server_that_answers_is_enough_while_no_peer_is_known() -> None:
    lifecycle = link("server", connected=True)
    assert run(lifecycle, 30.0, proven=True) == ("READY", None)
    assert lifecycle.alone
    assert run(lifecycle, 3.25) == ("DEGRADED", None)


def test_a_server_that_never_answers_is_no_link() -> None:
    lifecycle = link("server", connected=True)
    assert run(lifecycle, 2.5) == ("CONNECTING", None)
    assert run(lifecycle, 9.0) == ("BACKOFF", 3.5)


@pytest.mark.parametrize("proof", ["server", "peers"])
def test_who_hears_peers_that_do_not_list_him_is_deaf_outwards(proof: ProofKind) -> None:
    lifecycle = link(proof, connected=True)
    assert run(lifecycle, 2.5, proven=True, heard=True) == ("CONNECTING", None)
    assert run(lifecycle, 1.0, proven=True, heard=True) == ("DEGRADED", None)
    assert run(lifecycle, 9.0, proven=True, heard=True) == ("BACKOFF", 2.5)


@pytest.mark.parametrize("proof", ["server", "peers"])
def test_to_be_listed_proves_the_link_both_ways(proof: ProofKind) -> None:
    lifecycle = link(proof, connected=True)
    assert run(lifecycle, 0.25, proven=True, heard=True, listed=True) == ("READY", None)
    assert not lifecycle.alone
    assert run(lifecycle, 4.0, proven=True, heard=True) == ("DEGRADED", None)
    assert run(lifecycle, 0.25, proven=True, heard=True, listed=True) == ("READY", None)


def test_to_be_listed_does_not_stand_for_the_server() -> None:
    lifecycle = link("server", connected=True)
    assert run(lifecycle, 2.5, heard=True, listed=True) == ("CONNECTING", None)
    assert run(lifecycle, 1.0, heard=True, listed=True) == ("DEGRADED", None)


def test_the_first_peer_gets_its_time_to_list_us_however_old_the_link_is() -> None:
    lifecycle = link("server", connected=True)
    assert run(lifecycle, 60.0, proven=True) == ("READY", None)
    assert run(lifecycle, 2.875, proven=True, heard=True) == ("READY", None)
    assert run(lifecycle, 0.125, proven=True, heard=True) == ("DEGRADED", None)


def test_without_a_server_one_new_connection_looks_for_peers_and_then_we_are_alone() -> None:
    lifecycle = link("peers", connected=True)
    assert run(lifecycle, 9.0) == ("BACKOFF", 1.5)
    assert lifecycle.tick(2.0, expects_peers=False) is CONNECT
    lifecycle.connected()
    assert run(lifecycle, 600.0) == ("READY", None)
    assert lifecycle.alone
    assert lifecycle.was_ready


@pytest.mark.parametrize("proof", ["server", "peers"])
def test_peers_that_fell_silent_cost_one_new_connection_and_then_we_are_alone(
    proof: ProofKind,
) -> None:
    lifecycle = link(proof, connected=True)
    assert run(lifecycle, 10.0, proven=True, heard=True, listed=True) == ("READY", None)
    assert run(lifecycle, 2.75, proven=True, expects=True) == ("READY", None)
    assert run(lifecycle, 0.125, proven=True, expects=True) == ("DEGRADED", None)
    assert run(lifecycle, 9.0, proven=True, expects=True) == ("BACKOFF", 3.0)
    assert lifecycle.tick(2.0, expects_peers=True) is CONNECT
    lifecycle.connected()
    assert run(lifecycle, 60.0, proven=True, expects=True) == ("READY", None)
    assert lifecycle.alone


def test_who_was_heard_again_is_looked_for_again() -> None:
    lifecycle = link("peers", connected=True)
    for _ in range(3):
        assert run(lifecycle, 5.0, heard=True, listed=True) == ("READY", None)
        assert run(lifecycle, 9.0, expects=True) == ("BACKOFF", 6.0 - STEP)
        assert lifecycle.tick(2.0, expects_peers=True) is CONNECT
        lifecycle.connected()


def test_peers_that_are_expected_get_6_s_on_a_new_connection() -> None:
    lifecycle = link("peers", connected=True)
    assert run(lifecycle, 2.875, expects=True) == ("CONNECTING", None)
    assert run(lifecycle, 0.125, expects=True) == ("DEGRADED", None)
    assert run(lifecycle, 9.0, expects=True) == ("BACKOFF", 3.0)


def test_peers_that_said_goodbye_are_not_missed() -> None:
    lifecycle = link("peers", connected=True)
    assert run(lifecycle, 5.0, heard=True, listed=True) == ("READY", None)
    assert run(lifecycle, 60.0) == ("READY", None)


def test_a_new_connection_has_everything_to_prove_again() -> None:
    lifecycle = ready()
    lifecycle.lost(fatal=False)
    assert lifecycle.tick(2.0, expects_peers=False) is CONNECT
    lifecycle.connected()
    assert run(lifecycle, 1.0) == ("CONNECTING", None)
    assert run(lifecycle, 1.0, proven=True) == ("READY", None)


# -- backoff ---------------------------------------------------------------------------------------


def waits(lifecycle: Lifecycle, times: int) -> list[float]:
    """How long each of so many failures is waited."""
    found: list[float] = []
    for _ in range(times):
        lifecycle.lost(fatal=False)
        steps = 1
        while lifecycle.tick(0.05, expects_peers=False) is NOTHING:
            steps += 1
        found.append(round(steps * 0.05, 3))
    return found


def test_each_failure_waits_longer_up_to_2_s() -> None:
    assert waits(link(), 5) == pytest.approx([0.3, 0.9, 2.0, 2.0, 2.0], abs=0.051)


def test_an_attempt_that_took_long_was_a_wait_itself() -> None:
    """A server that accepts and is silent: when it is mended, nobody waits for more than one attempt."""
    lifecycle = link()
    waits(lifecycle, 3)
    run(lifecycle, 1.5)
    assert waits(lifecycle, 1) == pytest.approx([BACKOFF_MAX - 1.5], abs=0.051)
    run(lifecycle, 4.5)
    assert waits(lifecycle, 1) == pytest.approx([BACKOFF_MIN], abs=0.051)
    assert waits(lifecycle, 1) == pytest.approx([BACKOFF_MAX], abs=0.051)


def attempt(lifecycle: Lifecycle, seconds: float) -> float:
    """One that fails after so long; returns what the next one gets of ten seconds."""
    while lifecycle.state == "BACKOFF":
        lifecycle.tick(0.125, expects_peers=False)
    lifecycle.tick(seconds, expects_peers=False)
    lifecycle.lost(fatal=False)
    return lifecycle.patience(10.0)


def test_who_connected_quickly_before_does_not_wait_long_for_an_answer_now() -> None:
    lifecycle = link()
    assert lifecycle.patience(10.0) == 10.0, "nobody knows yet how long it takes"
    assert attempt(lifecycle, 10.0) == 10.0
    while lifecycle.state == "BACKOFF":
        lifecycle.tick(0.125, expects_peers=False)
    lifecycle.tick(0.25, expects_peers=False)
    lifecycle.connected()
    lifecycle.lost(fatal=False)
    assert lifecycle.patience(10.0) == 3.0
    assert lifecycle.patience(2.0) == 2.0, "never more than the limit"
    assert attempt(lifecycle, 0.125) == 3.0, "a refusal is an answer"
    # Three short ones; then the server may have become slow, and gets its time.
    assert [attempt(lifecycle, 3.0) for _ in range(8)] == [3.0, 3.0, 10.0, 3.0, 3.0, 3.0, 10.0, 3.0]


def test_the_last_attempt_that_is_allowed_gets_all_the_time() -> None:
    lifecycle = link()
    lifecycle.max_reconnects = 2
    lifecycle.connected()
    lifecycle.lost(fatal=False)
    assert [lifecycle.patience(10.0), attempt(lifecycle, 3.0)] == [3.0, 10.0]


def test_a_server_that_is_slow_to_connect_keeps_its_time() -> None:
    lifecycle = link()
    lifecycle.tick(1.5, expects_peers=False)
    lifecycle.connected()
    lifecycle.lost(fatal=False)
    assert lifecycle.patience(10.0) == 6.0
    assert lifecycle.patience(5.0) == 5.0


def test_the_wait_is_drawn_from_all_that_is_allowed() -> None:
    """So that nodes that lost the same server do not come back in step."""
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    waits(Lifecycle("echo", uniform), 3)
    assert asked == [(BACKOFF_MIN, 3 * BACKOFF_MIN)] * 3


def test_ten_steady_seconds_make_a_link_good_again_and_flapping_does_not() -> None:
    lifecycle = link()
    assert waits(lifecycle, 3)[-1] == pytest.approx(BACKOFF_MAX, abs=0.051)
    lifecycle.connected()
    assert run(lifecycle, 9.0, proven=True) == ("READY", None)
    assert waits(lifecycle, 1) == pytest.approx([BACKOFF_MAX], abs=0.051)
    lifecycle.connected()
    for _ in range(5):
        assert run(lifecycle, 5.0, proven=True) == ("READY", None)
        assert run(lifecycle, 3.25) == ("DEGRADED", None)
    assert waits(lifecycle, 1) == pytest.approx([BACKOFF_MAX], abs=0.051)
    lifecycle.connected()
    assert run(lifecycle, 10.5, proven=True) == ("READY", None)
    assert waits(lifecycle, 1) == pytest.approx([3 * BACKOFF_MIN], abs=0.051)


def test_wrong_credentials_after_the_first_ready_are_tried_again_every_30_s() -> None:
    lifecycle = ready()
    for _ in range(3):
        lifecycle.lost(fatal=True)
        assert lifecycle.tick(29.0, expects_peers=False) is NOTHING
        assert lifecycle.tick(1.1, expects_peers=False) is CONNECT


# -- a limit of failures ---------------------------------------------------------------------------


def limited(most: int, proof: ProofKind = "server") -> Lifecycle:
    lifecycle = link(proof)
    lifecycle.max_reconnects = most
    return lifecycle


@pytest.mark.parametrize("most", [0, 1, 3])
def test_so_many_reconnects_in_a_row_may_fail_and_then_it_is_over(most: int) -> None:
    lifecycle = limited(most)
    assert waits(lifecycle, most) == pytest.approx([0.3, 0.9, 2.0][:most], abs=0.051)
    lifecycle.lost(fatal=False)
    assert lifecycle.state == "FATAL"


def test_each_ready_begins_a_new_count() -> None:
    lifecycle = limited(1)
    for _ in range(3):
        assert len(waits(lifecycle, 1)) == 1
        lifecycle.connected()
        assert prove(lifecycle) is NOTHING
        assert lifecycle.state == "READY"
    assert after(lifecycle, lambda one: one.lost(fatal=True)).state == "BACKOFF"
    assert after(lifecycle, lambda one: one.lost(fatal=True)).state == "FATAL"


def test_a_connection_that_was_never_proven_does_not_begin_a_new_count() -> None:
    lifecycle = limited(1)
    for state in ("BACKOFF", "FATAL"):
        lifecycle.connected()
        assert run(lifecycle, 6.5) == (state, 6.0)
    lifecycle.lost(fatal=False)
    assert lifecycle.state == "FATAL"


def test_to_look_for_peers_on_a_new_connection_is_no_failure() -> None:
    lifecycle = limited(0)
    lifecycle.connected()
    assert run(lifecycle, 6.5, proven=True, expects=True) == ("BACKOFF", 6.0)
    lifecycle.lost(fatal=False)
    assert lifecycle.state == "FATAL"


# -- random walk -----------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: READY is proven, and a link that is not comes to an end."""

    @initialize(proof=st.sampled_from(["echo", "server", "peers"]))
    def begin(self, proof: ProofKind) -> None:
        self.proof = proof
        self.link = Lifecycle(proof, longest)
        self.is_connected = self.is_final = self.was_ready = False
        self.clock = 0.0
        self.proven = self.listed = float("-inf")

    @rule()
    def connected(self) -> None:
        before = self.link.state
        self.link.connected()
        if before not in ("FATAL", "CLOSED"):
            self.is_connected = True
            self.proven = self.listed = float("-inf")
            assert self.link.state == "CONNECTING"

    @rule(proven=st.booleans(), heard=st.booleans(), listed=st.booleans())
    def evidence(self, proven: bool, heard: bool, listed: bool) -> None:
        before = self.link.state
        self.link.evidence(proven=proven, heard=heard or listed, listed=listed)
        assert self.link.state == before
        self.proven = self.clock if proven else self.proven
        self.listed = self.clock if listed else self.listed

    @rule(fatal=st.booleans())
    def lost(self, fatal: bool) -> None:
        before = self.link.state
        self.link.lost(fatal=fatal)
        self.is_connected = False
        if before in ("FATAL", "CLOSED"):
            assert self.link.state == before
        else:
            is_fatal = fatal and not self.was_ready
            assert self.link.state == ("FATAL" if is_fatal else "BACKOFF")

    @rule(dice=st.integers(0, 9))
    def close(self, dice: int) -> None:
        if dice == 7:  # seldom: nothing comes after it
            self.link.close()
            self.is_final = True

    @rule(step=st.floats(0.01, 0.5), expects=st.booleans(), times=st.integers(1, 20))
    def tick(self, step: float, expects: bool, times: int) -> None:
        for _ in range(times):
            before = self.link.state
            self.clock += step
            action = self.link.tick(step, expects_peers=expects)
            state = self.link.state
            if action is CONNECT:
                assert (before, state) == ("BACKOFF", "CONNECTING")
            elif action is REBUILD:
                assert self.is_connected
                assert state == "BACKOFF"
                self.is_connected = False
            elif before in ("CONNECTING", "BACKOFF", "FATAL", "CLOSED") and state != before:
                assert self.is_connected
                assert (before, state) in {("CONNECTING", "READY"), ("CONNECTING", "DEGRADED")}
            if state == "READY":
                self.was_ready = True
                if self.proof != "peers":
                    assert self.clock - self.proven < 3.0 + 1e-6
                elif not self.link.alone:
                    assert self.listed > float("-inf")

    @invariant()
    def what_is_over_is_over(self) -> None:
        if hasattr(self, "link"):
            assert not self.is_final or self.link.state == "CLOSED"
            assert self.link.was_ready == self.was_ready
            assert self.link.state not in ("READY", "DEGRADED") or self.is_connected

    def teardown(self) -> None:
        """Left to itself, whatever is not over asks for a connection before long."""
        if not hasattr(self, "link") or self.link.state in ("FATAL", "CLOSED"):
            return
        if self.is_connected and self.proof == "echo":
            assert any(self.link.tick(0.5, expects_peers=True) is REBUILD for _ in range(13))
        if self.link.state == "BACKOFF":
            assert any(self.link.tick(0.5, expects_peers=True) is CONNECT for _ in range(61))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=80, stateful_step_count=30)
