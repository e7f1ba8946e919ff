"""Cases 17-35: faults of the network."""

from __future__ import annotations

from tests.faults.matrix import Case, Variant, absent, every, lab, proven, same

ALL = "NKRCZ"
SERVERS = "NKRC"

CASES = {
    17: Case(
        "half open, both ways silent, idle",
        "detected <= 6 s, back <= 6 s, CPU < 3 %",
        every(ALL, lab("cut-idle")),
    ),
    18: Case("half open, both ways silent, under load", "as 17, publish never waits", every(ALL, lab("cut"))),
    19: Case("what the nodes send is lost", "as 17", every(ALL, lab("cut-to-broker"))),
    20: Case(
        "one node hears nothing and could be heard",
        "it notices, the others go on",
        every(ALL, lab("cut-from-broker")),
    ),
    21: Case("connections are reset", "all repaired, at once", every(ALL, lab("reset"))),
    22: Case(
        "connections are refused for 20 s",
        "idle CPU < 3 %, <= 10 log lines a minute",
        every(SERVERS, lab("refuse")),
    ),
    23: Case(
        "first of three addresses swallows everything",
        "another one is used",
        every("NKC", lab("dead-address")) | {"R": absent("it has one address")},
    ),
    24: Case(
        "somebody silent accepts at the first address",
        "another one is used",
        every("NKC", lab("silent-address")) | {"R": absent("it has one address")},
    ),
    25: Case("100 to 200 ms each way", "never DEGRADED, the load goes on", every(ALL, lab("delay"))),
    26: Case(
        "each node's link to the broker carries 32 kB/s",
        "no new link, loss told exactly",
        every(ALL, lab("slow")),
        (
            Variant(
                "shared",
                "one line of 32 kB/s each way carries the links of all nodes",
                "as above, and nobody is taken for dead; NATS may lose its link twice: a PONG does not say "
                "what waits for the receivers",
                {**every("KRCZ", lab("slow-shared")), "N": lab("slow-shared-nats")},
            ),
        ),
    ),
    27: Case("30 % of the packets to the broker are lost", "all repaired", every(ALL, lab("lossy"))),
    28: Case("every byte in a segment of its own", "all delivered", every(SERVERS, lab("slices"))),
    29: Case(
        "connections cut in the middle of frames",
        "all repaired, no partial event",
        every(SERVERS, lab("torn")),
    ),
    30: Case("of three peers one does not hear another", "repaired or told per pair", {"Z": lab("bridge")}),
    31: Case(
        "the broker's name gets another address",
        "found there",
        every("NKR", lab("moved")) | {"C": same("31 redis")},
    ),
    32: Case(
        "what the broker advertises cannot be reached",
        "a clear error",
        {
            "K": proven(
                "tests/backends/test_kafka_bad_input.py::test_unreachable_advertised_listener_is_named"
            )
        },
    ),
    33: Case(
        "network down for 90 s", "back <= 6 s after it is up, idle CPU < 3 %", every(ALL, lab("link-down"))
    ),
    34: Case(
        "the kernel gives the connection up (ETIMEDOUT)", "a new link, nobody spins", {"R": lab("etimedout")}
    ),
    35: Case("a late answer to a probe", "what others publish is heard", {"N": lab("late-pong")}),
}
