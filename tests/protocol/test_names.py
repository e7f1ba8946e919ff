"""Names and epochs (rule 13): a restart is no duplicate, late frames are none, and twins are found out."""

from __future__ import annotations

from itertools import pairwise

from bus.protocol.names import PAUSE, Names


def take_turns(names: Names, times: int, pause: float = PAUSE, since: float = 0.0) -> list[int]:
    """Two processes beat under one name, one after the other: at which beats it was told."""
    told: list[int] = []
    for turn in range(times):
        names.beat("a", 1 + turn % 2, since + turn * pause)
        if found := names.duplicates("a"):
            assert found == (1, 2)
            told.append(turn)
    return told


def test_the_epoch_that_beat_last_is_the_current_one() -> None:
    names = Names()
    assert names.current("a") is None
    assert [names.beat("a", epoch, 0.0) for epoch in (1, 1, 2, 2, 1)] == [None, None, 1, None, 2]
    assert names.beat("b", 3, 0.0) is None
    assert (names.current("a"), names.current("b")) == (1, 3)


def test_many_restarts_are_no_duplicate() -> None:
    names = Names()
    for epoch in range(100):
        names.beat("a", epoch, float(epoch))
        assert names.duplicates("a") == ()


def test_a_late_frame_of_a_dead_epoch_after_each_restart_is_no_duplicate() -> None:
    names = Names()
    for epoch in range(3):
        names.beat("a", epoch, 10.0 * epoch)
        for late in range(5):
            # They come in a bunch while one link is slower than another.
            names.beat("a", max(0, epoch - 1), 10.0 * epoch + late * 0.1)
            names.beat("a", epoch, 10.0 * epoch + late * 0.1)
        assert names.duplicates("a") == ()


def test_twins_are_found_out_at_the_third_return_and_told_again_while_they_go_on() -> None:
    told = take_turns(Names(), 100)
    # Turn 0 is new, turn 1 supersedes it; 2, 3 and 4 are returns.
    assert told[0] == 4
    assert len(told) > 2
    assert all(two - one >= 10 for one, two in pairwise(told))


def test_a_forgotten_epoch_leaves_nothing() -> None:
    names = Names()
    take_turns(names, 4)
    names.forget("a", 1)  # not the current one
    assert names.current("a") == 2
    names.forget("a", 2)
    assert names.current("a") is None
    assert take_turns(names, 4, since=100.0) == []
    names.forget("nobody", 7)
    names.forget("a", 1)
    names.forget("a", 2)
    assert not any(vars(names).values())


def test_five_thousand_epochs_of_one_name_that_are_forgotten_leave_nothing() -> None:
    names = Names()
    for epoch in range(5_000):
        names.beat("a", epoch, float(epoch))
        if epoch >= 10:
            names.forget("a", epoch - 10)
    assert all(len(table["a"]) <= 10 for table in (vars(names)["_former"],))
