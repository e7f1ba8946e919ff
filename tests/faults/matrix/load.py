"""Cases 36-49: load and resources."""

from __future__ import annotations

from tests.faults.matrix import Case, every, lab, pending

ALL = "MNKRCZ"

CASES = {
    36: Case("slow local consumer", "exact Overflow, others unaffected", pending(ALL)),
    37: Case("handler raises, hangs, is cancelled", "reported, the next event is delivered", pending(ALL)),
    38: Case("server kicks a slow consumer", "reconnect, no endless kicks", every("NRC", lab("kicked"))),
    39: Case("slow Python side under load of the interpreter", "ring drops, gaps exact", pending("Z")),
    40: Case("event loop blocked for 5 s", "no false alarm afterwards", pending(ALL)),
    41: Case("burst of 100,000 publishes in one tick", "bounded memory, loss told", pending(ALL)),
    42: Case("subscription churn", "no leak, one subscription at the broker", pending(ALL)),
    43: Case("event too large, at the limit, empty", "TooLarge at publish, others exact", pending(ALL)),
    44: Case("broker's limit below ours", "told as Gap, the link lives", pending("NK")),
    45: Case(
        "no file descriptors while reconnecting",
        "backs off, recovers",
        pending("M") | every("NKRCZ", lab("no-descriptors")),
    ),
    46: Case("broker's disk is full", "errors, the receiving side lives", every("RK", lab("disk-full"))),
    47: Case("10 min with a random nemesis of two faults", "all invariants", pending(ALL)),
    48: Case("broker's maxclients or maxmemory is reached", "backs off with clear words", pending("R")),
    49: Case("the common thread pool is full", "open and close stay bounded", pending(ALL)),
}
