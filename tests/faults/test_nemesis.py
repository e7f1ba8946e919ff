"""The nemesis' schedules can be played again, and leave nothing behind."""

from __future__ import annotations

import pytest

from bus.testing.proxy import Proxy, Toxics
from tests.faults.nemesis import Step, play, proxy_hands, schedule

KINDS = ["a", "b", "c", "d"]


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_makes_one_schedule_of_pairs_that_overlap(seed: int) -> None:
    steps = schedule(seed, 300, KINDS)
    assert steps == schedule(seed, 300, list(reversed(KINDS)))
    assert len(steps) > 10
    assert max(step.end for step in steps) < 300
    for first, second, *later in (steps[at : at + 3] for at in range(0, len(steps), 2)):
        assert first.kind != second.kind
        assert first.start <= second.start <= first.end
        assert all(step.start > max(first.end, second.end) for step in later)


def test_another_seed_makes_another_schedule() -> None:
    assert schedule(1, 300, KINDS) != schedule(2, 300, KINDS)


def test_one_kind_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        schedule(1, 10, ["a", "a"])


def test_a_schedule_is_played_in_order_and_everything_ends() -> None:
    seen: list[tuple[str, bool]] = []
    told: list[str] = []
    steps = [Step(0.0, 0.02, "a"), Step(0.01, 0.03, "b")]
    play(steps, {kind: lambda begins, kind=kind: seen.append((kind, begins)) for kind in "ab"}, told.append)  # type: ignore[misc]  # mypy takes a default for a second argument
    assert seen == [("a", True), ("b", True), ("a", False), ("b", False)]
    assert [line.partition(": ")[2] for line in told] == ["a begins", "b begins", "a ends", "b ends"]


def test_who_is_stopped_early_heals_what_is_there() -> None:
    seen: list[bool] = []
    play([Step(0.0, 60.0, "a")], {"a": seen.append}, is_over=lambda: bool(seen))
    assert seen == [True, False]


def test_a_hand_that_fails_is_healed_too() -> None:
    seen: list[bool] = []

    def fails(begins: bool) -> None:
        seen.append(begins)
        if begins:
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        play([Step(0.0, 60.0, "a")], {"a": fails})
    assert seen == [True, False]


def test_two_faults_of_a_proxy_are_there_at_once() -> None:
    with Proxy(("127.0.0.1", 9)) as proxy:
        hands = proxy_hands(proxy)
        hands["late"](True)
        hands["nothing to the broker"](True)
        assert proxy.up == Toxics(hold=True, delay=0.1, jitter=0.1)
        assert proxy.down == Toxics(delay=0.1, jitter=0.1)
        hands["late"](False)
        assert (proxy.up, proxy.down) == (Toxics(hold=True), Toxics())
        hands["nothing to the broker"](False)
        assert (proxy.up, proxy.down) == (Toxics(), Toxics())
