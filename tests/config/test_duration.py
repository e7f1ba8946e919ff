"""Durations: text in, milliseconds inside, canonical text out."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, strategies as st

from bus.config import Duration
from bus.errors import ConfigError

MOST = 2**53 - 1
UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("5s", 5_000),
        ("1m30s", 90_000),
        ("250 ms", 250),
        ("250ms", 250),
        ("5000", 5_000),
        (" 5000 ", 5_000),
        ("1d 2h 3m 4s 5ms", 93_784_005),
        ("30s1m", 90_000),
        ("5S", 5_000),
        ("1M", 60_000),
        ("0s1ms", 1),
    ],
)
def test_text_gives_milliseconds(text: str, ms: int) -> None:
    assert Duration(text).ms == ms


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "0",
        "0s",
        "-1",
        "-5s",
        "+5s",
        "1.5s",
        "5sec",
        "5s3",
        "s",
        "5 5s",
        "1e3",
        "\N{ARABIC-INDIC DIGIT FIVE}s",
        "5_0",
        "9007199254740992",
        "104249992d",
        "9" * 5000,
        "5s\x00",
        "1,5s",
    ],
)
def test_other_text_is_refused_with_what_is_allowed(bad: str) -> None:
    with pytest.raises(ConfigError, match="not a duration") as raised:
        Duration(bad)
    assert '"1m30s"' in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    "bad",
    [0, -1, MOST + 1, 10**6000, 1.5, True, None, b"5s", [5]],
    ids=lambda bad: type(bad).__name__,
)
def test_other_values_are_refused(bad: object) -> None:
    with pytest.raises(ConfigError):
        Duration(bad)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # on purpose


@pytest.mark.parametrize(
    ("ms", "text"),
    [(1, "1ms"), (5_000, "5s"), (90_000, "1m30s"), (1_500, "1s500ms"), (86_400_000, "1d")],
)
def test_text_for_people_is_the_shortest_exact_one(ms: int, text: str) -> None:
    assert str(Duration(ms)) == f"{Duration(ms)}" == text
    assert repr(Duration(ms)) == f'Duration("{text}")'


@given(st.integers(1, MOST))
def test_every_length_survives_its_text_form(ms: int) -> None:
    assert Duration(str(Duration(ms))) == Duration(ms)
    assert Duration(str(ms)).ms == ms


@given(
    st.lists(st.tuples(st.integers(0, 9_999), st.sampled_from(sorted(UNITS))), min_size=1, max_size=6),
    st.sampled_from(["", " ", "  "]),
    st.booleans(),
)
def test_parts_in_any_order_and_spacing_add_up(parts: list[tuple[int, str]], blank: str, upper: bool) -> None:
    text = blank.join(f"{count}{blank}{unit}" for count, unit in parts)
    total = sum(count * UNITS[unit] for count, unit in parts)
    if total == 0:
        with pytest.raises(ConfigError):
            Duration(text)
    else:
        assert Duration(text.upper() if upper else text).ms == total


@given(st.integers(1, MOST), st.integers(1, MOST))
def test_durations_compare_by_length(one: int, two: int) -> None:
    assert (Duration(one) < Duration(two)) == (one < two)
    assert (Duration(one) <= Duration(two)) == (one <= two)
    assert (Duration(one) > Duration(two)) == (one > two)
    assert (Duration(one) == Duration(two)) == (one == two)
    assert len({Duration(one), Duration(one), Duration(two)}) == len({one, two})


def test_seconds_are_for_clocks() -> None:
    assert Duration("1s500ms").seconds == 1.5
    assert Duration(1) != 1


def test_duration_is_immutable_and_copies() -> None:
    duration = Duration("5s")
    with pytest.raises(AttributeError):
        duration.ms = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # on purpose
    with pytest.raises(AttributeError):
        del duration._ms  # pyright: ignore[reportPrivateUsage]  # on purpose
    assert copy.deepcopy(duration) == pickle.loads(pickle.dumps(duration)) == duration
