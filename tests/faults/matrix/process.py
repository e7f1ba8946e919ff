"""Cases 1-16: faults of processes, the broker's and the nodes'."""

from __future__ import annotations

from tests.faults.matrix import Case, every, lab, proven

ALL = "NKRCZ"
SERVERS = "NKRC"

CASES = {
    1: Case("broker killed under load, back after 1 s", "all repaired, back <= 6 s", every(ALL, lab("kill"))),
    2: Case(
        "broker killed, back after 60 s",
        "repaired from the log, idle CPU < 3 %, <= 10 log lines a minute",
        every(SERVERS, lab("kill-long")),
    ),
    3: Case(
        "broker ended politely (SIGTERM, NATS lame duck)",
        "all repaired, back <= 6 s",
        every(SERVERS, lab("end")),
    ),
    4: Case("broker frozen for 2 s", "at most one new link, nothing twice", every(ALL, lab("freeze-short"))),
    5: Case(
        "broker frozen for 30 s",
        "publish p99.9 < 5 ms and never > 250 ms, back <= 6 s",
        every(ALL, lab("freeze-long")),
    ),
    6: Case(
        "close while the broker is frozen", "<= 2 s, nothing left behind", every(ALL, lab("close-frozen"))
    ),
    7: Case(
        "close while it is dead, while connecting, twice, from two tasks",
        "<= 2 s, nothing left behind",
        every(ALL, lab("close-dead")),
    ),
    8: Case(
        "nodes start 10 s before the broker",
        "ready() says what is missing, later READY by itself",
        every(SERVERS, lab("late")),
    ),
    9: Case("broker dies again and again for 60 s", "no growth, back <= 6 s", every(ALL, lab("flap"))),
    10: Case(
        "node killed, another process takes its name",
        "Restarted, one Resync, no Gap",
        every(ALL, lab("node-kill")),
    ),
    11: Case("node frozen for 30 s", "feared lost, then all delivered", every(ALL, lab("node-freeze"))),
    12: Case(
        "two processes under one name",
        "Duplicate told on all sides, nobody filtered",
        every(ALL, lab("twins"))
        | {"M": proven("tests/bus/test_waiting.py::test_two_processes_with_one_name_are_told_on_every_side")},
    ),
    13: Case(
        "master killed, a replica takes over", "all repaired, back <= 6 s", every("CS", lab("failover"))
    ),
    14: Case(
        "the channel's slot moves to another master",
        "the link follows it",
        {"C": proven("tests/backends/test_redis_link.py::test_a_slot_that_moves_takes_the_link_with_it")},
    ),
    15: Case(
        "failover while the old master lives on as a replica",
        "nobody stays with the replica",
        {"S": lab("sentinel-failover")},
    ),
    16: Case(
        "three brokers restarted one after the other", "all repaired, nobody spins", {"K": lab("rolling")}
    ),
}
