"""`python -m bus.bench`: throughput and latency of the bus beside the raw client, in the same run.

A ratio of figures of different days says nothing, so ours and its raw opponent take turns, and what is
reported is the median of the ratios of neighbours. Read in this order: load (the event, the counting),
ours and raw (the two sides), worker (one process), crew (the parent's end of it), figures and
plausible (pure), run (what is measured when), report. How to read the result: benchmarks/README.md.
"""
