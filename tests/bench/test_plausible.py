"""Each plausibility check accepts a sound repetition and fails on the mistake it is there for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bus.bench.figures import Repetition
from bus.bench.plausible import complaints

SOUND = Repetition(
    published=1_000_000, received=1_000_000, lost=0, checksum_sent=77, checksum_received=77,
    seconds=1.2, wall=1.25, cpu_publisher=1.1, cpu_subscriber=0.9, waited=0.1,
)  # fmt: skip


def sound(**changes: Any) -> Repetition:
    return msgspec.structs.replace(SOUND, **changes)


def judge(
    *repetitions: Repetition, tells_loss: bool = True, per_second: int = 0, may_wait: bool = False
) -> str:
    return "\n".join(
        complaints(
            repetitions, cores=2, seconds=1.0, tells_loss=tells_loss, per_second=per_second,
            may_wait=may_wait,
        )
    )  # fmt: skip


def test_sound_repetitions_pass() -> None:
    assert judge(sound(), sound(seconds=1.3), sound(seconds=1.1)) == ""


def test_ends_that_wait_for_a_server_whose_work_nobody_knows_need_not_be_busy() -> None:
    idle = sound(cpu_publisher=0.1, cpu_subscriber=0.1, waited=0.0)
    assert "cores busy" in judge(idle)
    assert judge(idle, may_wait=True) == ""


def test_the_work_of_the_server_counts_as_busy() -> None:
    idle = sound(cpu_publisher=0.1, cpu_subscriber=0.1, waited=0.0)
    assert judge(msgspec.structs.replace(idle, cpu_server=1.0)) == ""
    assert "a clock is wrong" in judge(sound(cpu_server=1.5))


def test_every_copy_of_an_event_is_expected() -> None:
    three = sound(copies=3, received=3_000_000)
    assert judge(three) == ""
    assert "lost untold" in judge(sound(copies=3))
    assert "some came twice" in judge(sound(copies=3, received=3_000_001))


def test_paced_repetition_passes_without_being_busy() -> None:
    paced = sound(
        published=1000, received=1000, seconds=1.0, cpu_publisher=0.1, cpu_subscriber=0.1,
        waited=0.0, p50_us=100.0, p99_us=300.0,
    )  # fmt: skip
    assert judge(paced, per_second=1000) == ""


def test_told_loss_passes_and_so_does_the_raw_client_s() -> None:
    lossy = sound(received=900_000, lost=100_000, checksum_received=5)
    assert judge(lossy) == ""
    assert judge(lossy, tells_loss=False) == ""


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (sound(received=1_000_001), "some came twice"),
        (sound(received=999_999), "lost untold"),
        (sound(checksum_received=78), "other events came"),
        (sound(seconds=0.01), "1 s were planned"),
        (sound(cpu_publisher=2.9), "a clock is wrong"),
        (sound(cpu_publisher=0.2, cpu_subscriber=0.2), "something sleeps"),
        (sound(p50_us=0.0, p99_us=1.0), "delays of 0 us"),
        (sound(p50_us=9.0, p99_us=1.0), "delays of 9 us"),
    ],
)
def test_a_wrong_repetition_is_named_with_its_number(wrong: Repetition, text: str) -> None:
    found = judge(sound(), wrong)
    assert "repetition 2: " in found
    assert text in found
    assert "repetition 1: " not in found


def test_waiting_for_a_core_is_not_sleeping() -> None:
    assert judge(sound(cpu_publisher=0.2, cpu_subscriber=0.2, waited=0.5)) == ""


def test_wrong_pace_is_found() -> None:
    assert "instead of 1.000 s" in judge(sound(published=1000, received=1000, seconds=1.5), per_second=1000)


def test_on_a_crowded_machine_a_late_end_is_no_wrong_pace() -> None:
    late = sound(published=1000, received=1000, seconds=1.5)
    alone = {"cores": 2, "seconds": 1.0, "tells_loss": True, "per_second": 1000}
    assert complaints([late], **alone, crowd=3.0) == []  # type: ignore[arg-type]  # of different types
    assert complaints([late], **alone, crowd=0.5) != []  # type: ignore[arg-type]  # as above


def test_the_same_rate_every_time_is_no_measurement() -> None:
    assert "have the same rate" in judge(sound(), sound(), sound())
    assert judge(sound()) == ""
