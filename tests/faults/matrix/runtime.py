"""Cases 69-80: time, cancellation, runtime."""

from __future__ import annotations

from tests.faults.matrix import Case, every, lab, pending, same

ALL = "MNKRCZ"

CASES = {
    69: Case(
        "wall clock jumps two days",
        "no disconnect, no false gap",
        pending("M") | every("NKRCZ", lab("clock-jump")),
    ),
    70: Case(
        "monotonic clock jumps (process stopped 120 s)",
        "as 11",
        pending("M") | every("NZ", lab("long-stop")) | every("KRC", same("70 nats")),
    ),
    71: Case("cancelled at every await", "ends at once, can be closed", pending(ALL)),
    72: Case("stray CancelledError of a library", "rebuilt, the host lives", pending(ALL)),
    73: Case("exception in a library callback", "rebuilt, no silent death", pending(ALL)),
    74: Case("loop closed without close, Ctrl-C, SIGTERM", "the process ends within 3 s", pending(ALL)),
    75: Case("fork after the start", "clear error in the child, the parent lives", pending(ALL)),
    76: Case("two buses in one process", "isolated", pending(ALL)),
    77: Case("trio", "core, Memory and Zenoh; others refuse", pending(ALL)),
    78: Case("flood of a library's log", "<= 10 lines a minute, the first one shown", pending(ALL)),
    79: Case("no peer; one node; 50 nodes on one broker", "start, idle CPU < 1 %", pending(ALL)),
    80: Case(
        "process ends right after publish",
        "delivered, or counted in the last heartbeat",
        pending("M") | every("NKRCZ", lab("leave-at-once")),
    ),
}
