"""Cases 50-59: malformed input and versions."""

from __future__ import annotations

from tests.faults.matrix import Case, proven
from tests.faults.matrix.load import everywhere

NONSENSE = "test_nonsense_on_the_channel_delivers_nothing_and_harms_nothing"
NEWER = "test_what_is_known_of_a_newer_release_is_delivered"
KAFKA = "tests/backends/test_kafka_link.py"

CASES = {
    50: Case("garbage on our topic", "dropped, the next event is delivered", everywhere(50, NONSENSE)),
    51: Case("bit flips in valid frames", "never a crash, never a wrong event", everywhere(51, NONSENSE)),
    52: Case("frames truncated at every length", "as 50", everywhere(52, NONSENSE)),
    53: Case(
        "unknown tags, newer versions, more fields", "what is known is delivered", everywhere(53, NEWER)
    ),
    54: Case("rolling upgrade of event schemas", "both directions work", everywhere(54, NEWER)),
    55: Case(
        "sequence numbers wrap, jump, go back",
        "bounded memory, no duplicate",
        everywhere(55, "test_numbers_that_jump_or_wrap_cost_no_memory_and_no_event"),
    ),
    56: Case(
        "malformed protocol from the server",
        "dropped, bounded memory, backs off",
        {
            "N": proven("tests/backends/test_nats_link.py::test_what_is_not_the_protocol_ends_the_link"),
            "R": proven("tests/backends/test_redis_link.py::test_bytes_that_make_no_sense_end_the_link"),
            "K": proven("tests/backends/test_kafka_bad_input.py::test_garbage_is_tried_again"),
        },
    ),
    57: Case(
        "corrupt record batch at one offset",
        "skipped with a Gap, not stuck",
        {
            "K": proven(
                f"{KAFKA}::test_damaged_record_is_left_out_after_three_tries",
                f"{KAFKA}::test_batch_that_is_cut_off_is_left_out_after_three_tries",
            )
        },
    ),
    58: Case(
        "topic made anew with a shorter log",
        "events flow within 6 s",
        {
            "K": proven(
                f"{KAFKA}::test_position_beyond_the_end_ends_the_link",
                "tests/backends/test_kafka_bus.py"
                "::test_topic_that_is_deleted_is_made_again_and_nothing_is_lost",
            )
        },
    ),
    59: Case(
        "number of partitions grows",
        "no event lost untold",
        {"K": proven("tests/backends/test_kafka_bus.py::test_more_partitions_cost_nothing")},
    ),
}
