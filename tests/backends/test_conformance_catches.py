"""The suite catches what it is for: each broken toy fails the scenario that is named for its mistake.

The twelve run through the scenarios of the contract (`Frames`, `Links`) up to the one that catches
them, the others through that one alone. A toy without a mistake passes everything. Patience is
short: nothing here has a network.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from bus.testing.conformance import Conformance, Harness
from bus.testing.conformance.frames import Frames
from bus.testing.conformance.links import Links
from tests.backends import toys
from tests.backends.toys import Toy

CONTRACT = [name for theme in (Frames, Links) for name in vars(theme) if name.startswith("test_")]

# Toy -> the scenario that catches it, and words of its complaint.
CAUGHT: dict[type[Toy], tuple[str, str]] = {
    toys.Drops: ("test_no_frame_is_lost_on_a_healthy_system", "20 of 2000 frames were lost"),
    toys.Reorders: ("test_frames_of_one_link_arrive_in_the_order_of_send", "overtook others"),
    toys.Duplicates: ("test_no_frame_arrives_twice", "got 50 frames twice"),
    toys.Echoes: ("test_own_frames_come_back_only_as_proof", "50 came back, expected 0"),
    toys.LosesTheTail: ("test_the_last_frame_before_silence_arrives", "followed by silence"),
    toys.SwallowsErrors: ("test_a_dead_link_refuses_to_send", "returned normally on a link"),
    toys.HangsInClose: ("test_close_returns_within_a_second", "when idle: Hung"),
    toys.WorkQueue: ("test_every_link_of_a_channel_hears_every_frame", "frames missing"),
    toys.NeverPositioned: (
        "test_what_is_sent_after_connect_returned_arrives",
        "must wait until the system has confirmed the subscription",
    ),
    toys.MixesClusters: ("test_channels_do_not_mix", "were heard on"),
    toys.Truncates: ("test_frames_arrive_byte_for_byte", "it came with 10000 bytes"),
    toys.BlocksTheLoop: ("test_the_event_loop_is_not_blocked", "the loop stood still for 1"),
    toys.EchoesAsAnother: ("test_own_frames_come_back_only_as_proof", "each unchanged"),
    toys.FoldsCase: ("test_channels_do_not_mix", "were heard on"),
    toys.KeepsHistory: ("test_a_new_link_hears_nothing_old", "old frames came"),
    toys.IgnoresTheDoor: ("test_no_frame_arrives_twice", "was called in the thread"),
    toys.DeliversItsBuffer: ("test_frames_arrive_byte_for_byte", "delivered as bytearray"),
    toys.NeverConfirms: (
        "test_confirms_and_stamps_come_exactly_if_features_say_so",
        "confirmed() came for 0 of 2 frames",
    ),
    toys.ConfirmsUnasked: (
        "test_confirms_and_stamps_come_exactly_if_features_say_so",
        "100 times, expected 0",
    ),
    toys.ProvesUnasked: (
        "test_the_server_proves_the_connection_if_features_say_so",
        "proven() was called",
    ),
    toys.ProvesNothing: (
        "test_the_server_proves_the_connection_if_features_say_so",
        "returned without proven()",
    ),
    toys.DreamsOfLargeFrames: ("test_features_are_sane", "does not hold"),
    toys.RefusesLargeFrames: ("test_the_largest_frames_arrive", "did not arrive"),
    toys.RunsForEver: ("test_run_lasts_as_long_as_the_link", "the end of run() is None"),
    toys.AcceptsNonsense: ("test_nonsense_is_refused_before_any_io", "Bus.open accepted"),
    toys.DialsInTheConstructor: ("test_construction_does_no_io", "in the constructor"),
    toys.RevivesTheOldClient: ("test_connect_makes_a_new_client_each_time", "the old link again"),
    toys.AbortsOnce: ("test_abort_is_quick_and_may_be_repeated", "already aborted"),
    toys.DropsWhatWaits: ("test_close_lets_out_what_was_sent", "was dropped"),
    toys.ForgetsATask: ("test_a_cancelled_connect_leaves_nothing", "task"),
    toys.IgnoresCancellation: ("test_a_cancelled_send_leaves_nothing", "after it was cancelled"),
    toys.RaisesInClassify: ("test_classify_never_raises", "classify(Strange) raised"),
    toys.GivesUpOnNetworkErrors: ("test_classify_never_raises", "the bus would give up"),
    toys.KillsTheOthers: ("test_links_of_one_process_share_nothing", "closed"),
    toys.NeedsAsyncio: ("test_trio_works_or_is_refused_before_any_io", "no running event loop"),
}

# The same, seen through `Bus`.
SEEN_BY_USERS: dict[type[Toy], tuple[str, str]] = {
    toys.WorkQueue: ("test_every_other_node_hears_every_event", "not ready within"),
    toys.MixesClusters: ("test_clusters_do_not_mix", "got events of the other cluster"),
    toys.Truncates: ("test_events_of_every_size_arrive_exactly", "got 4 of 12"),
    toys.EchoesAsAnother: ("test_a_node_does_not_hear_itself", "not ready within"),
    toys.ForgetsATask: ("test_twenty_openings_leave_nothing", "task"),
    toys.SwallowsErrors: ("test_a_link_whose_server_died_says_so", "neither run() nor send()"),
    toys.ShowsItsSecret: ("test_an_unreachable_server_is_tried_again", "<the secret>"),
    toys.GivesUpTooSoon: ("test_a_failed_connect_is_classified", "the bus gives up"),
    toys.TriesWrongPasswordsForEver: ("test_wrong_credentials_are_fatal", "not ready within"),
    toys.ConnectsToNobody: ("test_a_failed_connect_is_classified", "there is no server"),
}


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.install(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def complaints(toy: type[Toy], names: Iterable[str], patience: float) -> dict[str, str]:
    """Run scenarios against a toy; name -> what it complained about."""
    harness = Harness(
        coordinator=lambda: {"@type": toy.__name__},
        unreachable={"@type": toy.__name__} if toy in toys.AWAY else None,
        wrong_credentials={"@type": toy.__name__} if toy in toys.AWAY else None,
        secrets=(toys.SECRET,),
        kill=toys.kill,
        restart=toys.restart,
        invalid=({"@type": toy.__name__, "port": -1},),
        patience=patience,
        open_timeout=1.0,
    )
    found: dict[str, str] = {}
    for name in names:
        try:
            asyncio.run(getattr(Conformance(), name)(harness))
        except pytest.skip.Exception:
            continue
        except Exception as error:  # noqa: BLE001  # whatever it is, it fails the scenario
            found[name] = f"{type(error).__name__}: {error}"
    return found


def test_a_toy_without_a_mistake_passes() -> None:
    assert complaints(toys.Sound, CONTRACT, patience=2.0) == {}


@pytest.mark.parametrize("toy", toys.TWELVE, ids=lambda toy: toy.__name__)
def test_the_suite_catches_the_broken_backend(toy: type[Toy]) -> None:
    name, words = CAUGHT[toy]
    until_caught = CONTRACT[: CONTRACT.index(name) + 1]
    assert words in complaints(toy, until_caught, patience=0.15).get(name, "passed")


@pytest.mark.parametrize("toy", toys.MORE, ids=lambda toy: toy.__name__)
def test_the_scenario_catches_the_broken_backend(toy: type[Toy]) -> None:
    name, words = CAUGHT[toy]
    assert words in complaints(toy, [name], patience=0.3).get(name, "passed")


@pytest.mark.parametrize("toy", SEEN_BY_USERS, ids=lambda toy: toy.__name__)
def test_users_would_see_the_broken_backend(toy: type[Toy]) -> None:
    name, words = SEEN_BY_USERS[toy]
    assert words in complaints(toy, [name], patience=0.5).get(name, "passed")


def test_every_scenario_of_the_contract_is_seen_to_fail() -> None:
    assert set(CONTRACT) - {name for name, _ in CAUGHT.values()} == set()


def test_trio_is_loaded_before_any_scenario_runs() -> None:
    """CPython 3.11 cannot parse it while a traceback is written, and pytest parses it."""
    loaded = "import sys, bus.testing.conformance; sys.exit('anyio._backends._trio' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


def test_every_toy_is_caught() -> None:
    assert {*CAUGHT, *SEEN_BY_USERS} == {*toys.TWELVE, *toys.MORE, *toys.AWAY}
