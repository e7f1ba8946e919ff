"""Cases 50-59: malformed input and versions."""

from __future__ import annotations

from tests.faults.matrix import Case, pending

ALL = "MNKRCZ"

CASES = {
    50: Case("garbage on our topic", "dropped, counted, the next event is delivered", pending(ALL)),
    51: Case("bit flips in valid frames", "never a crash, never a wrong event", pending(ALL)),
    52: Case("frames truncated at every length", "as 50", pending(ALL)),
    53: Case("unknown tags, newer versions, more fields", "what is known is delivered", pending(ALL)),
    54: Case("rolling upgrade of event schemas", "both directions work", pending(ALL)),
    55: Case("sequence numbers wrap, jump, go back", "bounded memory, no duplicate", pending(ALL)),
    56: Case("malformed protocol from the server", "dropped, bounded memory, backs off", pending("NRK")),
    57: Case("corrupt record batch at one offset", "skipped with a Gap, not stuck", pending("K")),
    58: Case("topic made anew with a shorter log", "events flow within 6 s", pending("K")),
    59: Case("number of partitions grows", "no event lost untold", pending("K")),
}
