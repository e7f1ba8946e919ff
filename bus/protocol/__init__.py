"""The protocol core, sans-IO: numbered log, lossy links, reassembly, repair, told loss.

Rules of this folder: no await, no clock, no random, no socket, no thread, no logging. Time comes in as
`now` (seconds of a monotonic clock), randomness as a function. Read in this order: frame (the wire),
log (the sender), peer (the receiver), inbox (the subscriber), lifecycle (one link), engine (one node).
The numbers in comments ("rule 4") are those of docs/protocol.md.
"""
