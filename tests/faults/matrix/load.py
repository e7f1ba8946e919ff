"""Cases 36-49: load and resources."""

from __future__ import annotations

from tests.faults.matrix import Case, Cell, absent, every, lab, proven, same

ALL = "MNKRCZ"
HERE = "tests/faults/test_everywhere.py"
BURST = "test_a_hundred_thousand_events_of_one_tick_are_delivered_or_told"
SECURED = "tests/faults/test_secured.py"
CORE = {"M": "memory", "N": "nats", "Z": "zenoh"}
SUITE = {
    "M": "test_memory.py::TestMemory", "N": "test_nats_conformance.py::TestNats",
    "K": "test_kafka_conformance.py::TestKafka", "R": "test_redis_conformance.py::TestRedis",
    "C": "test_redis_conformance.py::TestRedisCluster", "Z": "test_zenoh_conformance.py::TestZenoh",
}  # fmt: skip


def everywhere(number: int, *tests: str) -> dict[str, Cell]:
    """Shown on Memory, NATS and Zenoh; the mechanism is in the core, so it is the same on the others."""
    cells = every(ALL, same(f"{number} memory"))
    return cells | {
        letter: proven(*(f"{HERE}::{test}[{system}]" for test in tests)) for letter, system in CORE.items()
    }


def together(number: int, test: str) -> dict[str, Cell]:
    """As `everywhere`, by one test for the three."""
    return every(ALL, same(f"{number} memory")) | every("MNZ", proven(f"{HERE}::{test}"))


def suite(*tests: str) -> dict[str, Cell]:
    """Scenarios of the conformance suite, on each backend."""
    return {
        letter: proven(*(f"tests/backends/{where}::{test}" for test in tests))
        for letter, where in SUITE.items()
    }


def soaked() -> dict[str, Cell]:
    """The last long run of `tests/soak` on each system, as it was recorded."""
    letters = {"M": "memory", "N": "nats", "K": "kafka", "R": "redis", "C": "redis-cluster", "Z": "zenoh"}
    node = "tests/soak/test_soak.py::test_the_last_long_run_was_good"
    return {letter: proven(f"{node}[{system}]") for letter, system in letters.items()}


CASES = {
    36: Case(
        "slow local consumer",
        "exact Overflow, others unaffected",
        everywhere(36, "test_a_slow_reader_is_told_exactly_what_it_missed"),
    ),
    37: Case(
        "handler raises, hangs, is cancelled",
        "reported, the next event is delivered",
        everywhere(37, "test_handlers_that_raise_or_hang_or_are_cancelled_hurt_nobody_else"),
    ),
    38: Case("server kicks a slow consumer", "reconnect, no endless kicks", every("NRC", lab("kicked"))),
    39: Case(
        "slow Python side under load of the interpreter",
        "ring drops, gaps exact",
        {
            "Z": proven(
                "tests/backends/test_zenoh_stall.py::test_loop_that_spins_loses_little_and_keeps_its_peers"
            )
        },
    ),
    40: Case(
        "event loop blocked for 5 s",
        "no false alarm afterwards",
        together(40, "test_a_loop_that_stands_still_for_five_seconds_is_no_dead_broker"),
    ),
    41: Case(
        "burst of 100,000 publishes in one tick",
        "bounded memory, loss told",
        suite("test_a_burst_is_delivered_or_told")
        | {
            letter: proven(
                f"{HERE}::test_a_hundred_thousand_events_of_one_tick_are_delivered_or_told[{system}]"
            )
            for letter, system in CORE.items()
        },
    ),
    42: Case(
        "subscription churn",
        "no leak, one subscription at the broker",
        everywhere(42, "test_subscribing_and_leaving_ten_thousand_times_leaves_nothing"),
    ),
    43: Case(
        "event too large, at the limit, empty",
        "TooLarge at publish, others exact",
        suite("test_events_of_every_size_arrive_exactly"),
    ),
    44: Case(
        "broker's limit below ours",
        "told as Gap, the link lives",
        {
            "N": proven(
                "tests/backends/test_nats_outage.py"
                "::test_a_server_that_carries_less_gets_less_and_what_is_too_large_is_told"
            ),
            "K": proven(
                "tests/backends/test_kafka_bus.py"
                "::test_event_over_the_limit_of_the_topic_is_told_and_the_others_come"
            ),
        },
    ),
    45: Case(
        "no file descriptors while reconnecting",
        "backs off, recovers",
        {"M": absent("it opens no descriptor")} | every("NKRCZ", lab("no-descriptors")),
    ),
    46: Case(
        "broker's disk is full", "events go on, or the broker ends: as 1", every("RK", lab("disk-full"))
    ),
    47: Case(
        "a random nemesis of two faults at a time (make soak)",
        "all invariants, nothing grows",
        soaked(),
    ),
    48: Case(
        "broker's maxclients or maxmemory is reached",
        "backs off with clear words",
        {
            "R": proven(
                "tests/backends/test_redis_bad_input.py::test_a_server_with_too_many_clients_is_tried_again"
            )
        },
    ),
    49: Case(
        "the common thread pool is full",
        "open and close stay bounded",
        everywhere(49, "test_a_full_pool_of_threads_holds_up_neither_opening_nor_closing"),
    ),
}
