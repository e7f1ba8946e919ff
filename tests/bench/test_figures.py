"""Rates, percentiles, pair ratios and steadiness: pure arithmetic on made-up repetitions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from bus.bench.figures import Repetition, figures, is_steady, percentile, ratios, versus

BASE = Repetition(
    published=1000, received=1000, lost=0, checksum_sent=5, checksum_received=5,
    seconds=2.0, wall=2.1, cpu_publisher=0.5, cpu_subscriber=0.25, waited=0.0,
)  # fmt: skip


def repetition(**changes: Any) -> Repetition:
    return msgspec.structs.replace(BASE, **changes)


def test_rate_counts_what_was_received_in_the_subscriber_s_time() -> None:
    assert repetition(received=900, seconds=2.0, wall=9.0).rate == 450


def test_rate_of_nothing_is_zero_and_no_division() -> None:
    assert repetition(received=0, seconds=0.0).rate == 0


def test_cpu_of_one_process_for_both_ends_is_counted_once() -> None:
    assert repetition(cpu_subscriber=None).cpu == 0.5
    assert repetition().cpu == 0.75


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 10), (1, 10), (25, 10), (26, 20), (50, 20), (99, 40), (100, 40)]
)
def test_percentile_is_the_nearest_rank(percent: float, expected: int) -> None:
    assert percentile([10, 20, 30, 40], percent) == expected


@given(st.lists(st.integers(), min_size=1), st.floats(0, 100))
def test_percentile_is_not_exceeded_by_its_share(values: list[int], percent: float) -> None:
    found = percentile(sorted(values), percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-9


def test_figures_are_medians_and_losses_are_added_up() -> None:
    found = figures(
        [repetition(seconds=1.0, lost=3), repetition(seconds=2.0), repetition(seconds=4.0, lost=4)]
    )
    assert found.rate == 500
    assert found.lost == 7
    assert found.cpu_us_pub == 500
    assert found.cpu_us_sub == 250
    assert found.p50_us is None


def test_figures_of_one_process_have_no_cpu_of_a_subscriber() -> None:
    assert figures([repetition(cpu_subscriber=None)]).cpu_us_sub is None


def test_ratio_of_throughput_is_of_rates_and_of_latency_of_median_delays() -> None:
    fast, slow = repetition(seconds=1.0), repetition(seconds=2.0)
    assert ratios([(fast, slow), (slow, fast)]) == [2.0, 0.5]
    late, early = repetition(p50_us=30.0, p99_us=40.0), repetition(p50_us=20.0, p99_us=99.0)
    assert ratios([(late, early)]) == [1.5]


def test_steady_means_within_a_quarter() -> None:
    assert is_steady([1.0, 1.25, 1.1])
    assert not is_steady([1.0, 1.26])
    assert not is_steady([100.0, 112.0], 1.1)


def test_cpu_of_many_nodes_is_for_each_event_received() -> None:
    assert figures([repetition(copies=5)]).cpu_us_pub == 100
    assert figures([repetition(cpu_server=1.0)]).cpu_us_server == 1000
    assert figures([repetition()]).cpu_us_server is None


def test_curve_of_delays_is_the_median_of_each_percentile() -> None:
    curves: list[list[tuple[float, float]]] = [
        [(50, 10), (99, 70)],
        [(50, 12), (99, 20)],
        [(50, 50), (99, 30)],
    ]
    assert figures([repetition(curve=curve) for curve in curves]).curve == [(50, 12), (99, 30)]


def test_a_further_opponent_is_judged_turn_by_turn() -> None:
    fast, slow = repetition(seconds=1.0), repetition(seconds=2.0)
    found = versus([fast, slow, fast], [slow, slow, slow])
    assert (found.ratio, found.spread, found.stable) == (2.0, (1.0, 2.0), False)
    assert found.figures.rate == 500
