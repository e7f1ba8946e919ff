"""The log stays short whatever fails for however long, and the first line of everything is shown."""

from __future__ import annotations

import asyncio
import logging
from itertools import repeat

import pytest

from bus import Bus
from bus.quiet import TEXTS, Pace, Quiet, quiet
from bus.testing.fake import FakeSystem, raises
from tests.bus.cluster import simulated
from tests.bus.test_supervisor import SERVER, journal

MINUTE = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def line(text: str, *args: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("bus", level, "", 0, text, args, None)


def test_a_line_that_repeats_is_told_once_a_minute_with_how_often() -> None:
    clock = Clock()
    quiet = Quiet(clock)
    told: list[str] = []
    for clock.now in range(130):
        record = line("%s is full", "the disk")
        if quiet.filter(record):
            told.append(record.getMessage())
    assert told == [
        "the disk is full",
        "the disk is full (59 more times in the last 60 s)",
        "the disk is full (59 more times in the last 60 s)",
    ]


def test_different_lines_and_debugging_pass() -> None:
    quiet = Quiet(Clock())
    assert all(quiet.filter(line("attempt %d", number)) for number in range(50))
    assert all(quiet.filter(line("the same", level=logging.DEBUG)) for _ in range(50))
    assert [quiet.filter(line("attempt %d", number)) for number in range(50)] == [False] * 50


def test_the_memory_of_lines_is_bounded() -> None:
    quiet = Quiet(Clock())
    for number in range(10 * TEXTS):
        assert quiet.filter(line("attempt %d", number))
    assert quiet.filter(line("attempt %d", 0)), "it was forgotten, so it is new"
    assert not quiet.filter(line("attempt %d", 10 * TEXTS - 1))


def test_a_quiet_logger_obeys_the_one_of_its_name(caplog: pytest.LogCaptureFixture) -> None:
    one, other = quiet("bus.backend"), quiet("bus.backend")
    with caplog.at_level(logging.WARNING, "bus.backend"):
        for log in (one, one, other):
            log.warning("too small: %d", 7)
            log.info("not asked for")
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("bus.backend", "too small: 7"),
        ("bus.backend", "too small: 7"),  # of the other bus
    ]


def test_a_pace_has_room_again_when_the_oldest_line_is_a_minute_old() -> None:
    pace = Pace(3)
    assert [pace.allows(now) for now in (0, 10, 20, 30, 59.9, 60, 61, 70, 71)] == [
        True, True, True, False, False, True, False, True, False,
    ]  # fmt: skip


def told(lines: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """What is not for debugging: the lines that say what the link is."""
    return [(at, text) for at, text in lines if " is " in text]


@simulated
async def test_a_server_that_is_away_for_minutes_is_one_line() -> None:
    with FakeSystem(connect=repeat(raises(OSError("refused")))) as system, journal() as heard:
        async with Bus.open(system.coordinator, node="a"):
            await asyncio.sleep(5 * MINUTE)
        assert len(system.attempts) > 100
    lines = [text for _, text in told(heard.lines)]
    assert len(lines) == 2, lines
    assert "is BACKOFF (unreachable: OSError: refused)" in lines[0]
    assert lines[1].endswith("is CLOSED")


@simulated
async def test_a_link_that_flaps_is_six_lines_a_minute_and_the_last_state_is_always_told() -> None:
    with FakeSystem(features=SERVER) as system, journal() as heard:
        async with Bus.open(system.coordinator, node="a") as bus:
            await bus.ready(10)
            for number in range(40):
                system.attempts[-1].link.lose(OSError(f"gone {number}"))
                await asyncio.sleep(3)
            await bus.ready(30)
            await asyncio.sleep(MINUTE)
            lines = told(heard.lines)
    assert "is READY" in lines[-1][1]
    assert "changes" in lines[-1][1]
    for began, _ in lines:
        assert sum(began <= at < began + MINUTE for at, _ in lines) <= 6
