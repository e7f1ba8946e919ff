"""Cases 69-80: time, cancellation, runtime."""

from __future__ import annotations

from tests.faults.matrix import Case, Cell, every, lab, proven, same
from tests.faults.matrix.load import ALL, CORE, HERE, everywhere, suite, together

PROCESSES = "tests/faults/test_processes.py"
THROWS = "test_what_a_library_throws_at_us_costs_a_new_link_and_no_event"


def in_processes(number: int, test: str, *parameters: str) -> dict[str, Cell]:
    """As `everywhere`, in a process of its own."""
    ends = [f"-{parameter}" for parameter in parameters] or [""]
    return every(ALL, same(f"{number} memory")) | {
        letter: proven(*(f"{PROCESSES}::{test}[{system}{end}]" for end in ends))
        for letter, system in CORE.items()
    }


def thrown(number: int, kind: str) -> dict[str, Cell]:
    """A call of the library ends so, once."""
    return every(ALL, same(f"{number} memory")) | {
        letter: proven(*(f"{HERE}::{THROWS}[{system}-{kind}-{call}]" for call in ("send", "run")))
        for letter, system in CORE.items()
    }


CASES = {
    69: Case(
        "wall clock jumps two days",
        "no disconnect, no false gap",
        together(69, "test_a_wall_clock_that_jumps_two_days_changes_nothing")
        | every("NKRCZ", lab("clock-jump")),
    ),
    70: Case(
        "monotonic clock jumps (process stopped for 120 s)",
        "as 11",
        every("KRC", same("70 nats"))
        | every("NZ", lab("long-stop"))
        | {"M": proven("tests/simulation/test_scenarios.py::test_scenario[a_frozen_receiver_judges_nobody]")},
    ),
    71: Case(
        "cancelled at every await",
        "ends at once, can be closed",
        suite("test_a_cancelled_connect_leaves_nothing", "test_a_cancelled_send_leaves_nothing")
        | {
            letter: proven(
                f"{HERE}::test_a_bus_that_is_cancelled_anywhere_ends_at_once_and_leaves_nothing[{system}]"
            )
            for letter, system in CORE.items()
        },
    ),
    72: Case("stray CancelledError of a library", "rebuilt, the host lives", thrown(72, "cancelled")),
    73: Case("exception in a call of a library", "rebuilt, no silent death", thrown(73, "raises")),
    74: Case(
        "loop closed without close, Ctrl-C, SIGTERM",
        "the process ends within 3 s",
        in_processes(
            74, "test_a_process_that_does_not_close_its_bus_ends_at_once", "forgotten", "SIGINT", "SIGTERM"
        ),
    ),
    75: Case(
        "fork after the start",
        "clear error in the child, the parent lives",
        in_processes(75, "test_a_child_that_was_forked_is_told_and_the_parent_goes_on"),
    ),
    76: Case(
        "two buses in one process",
        "isolated",
        suite("test_two_buses_of_one_process_are_two_nodes", "test_clusters_do_not_mix"),
    ),
    77: Case(
        "trio", "core, Memory and Zenoh; others refuse", suite("test_trio_works_or_is_refused_before_any_io")
    ),
    78: Case(
        "flood of a library's log",
        "<= 10 lines a minute, the first one shown",
        every("NKRCZ", proven(f"{PROCESSES}::test_a_dead_server_is_a_few_lines_in_the_log"))
        | {
            "M": proven(
                "tests/bus/test_quiet.py"
                "::test_a_link_that_flaps_is_six_lines_a_minute_and_the_last_state_is_always_told"
            )
        },
    ),
    79: Case(
        "no peer; one node; many nodes on one broker",
        "start, stay READY, idle CPU < 1 %",
        every(ALL, same("79 nats"))
        | {
            letter: proven(f"{HERE}::test_many_nodes_on_one_system_stay_ready[{which}]")
            for letter, which in {"M": "memory-50", "N": "nats-16", "Z": "zenoh-8"}.items()
        },
    ),
    80: Case(
        "process ends right after publish",
        "delivered, or counted in the last heartbeat",
        everywhere(80, "test_what_was_published_right_before_the_end_is_delivered")
        | every("NKRCZ", lab("leave-at-once")),
    ),
}
