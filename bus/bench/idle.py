"""What a bus costs that has nothing to do: CPU and wake-ups a second of a process, beside the raw client."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bus.bench.crew import OURS, Crew
from bus.bench.figures import Figures, Result
from bus.bench.server import server_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bus.bench.run import Plan

# Connections are made, nodes have met: from here on nothing happens but heartbeats.
SETTLE = 2.0
SPAN = 5.0
NODES = (2, 8)


def idle(backend: str, loop: str, plan: Plan) -> Iterator[Result]:
    """A row for two processes, and one for eight where they can be as many."""
    with ExitStack() as stack:
        server = stack.enter_context(server_of(backend, plan.url))
        for nodes in NODES[:1] if backend == "memory" else NODES:
            sides = (OURS, "raw") if "raw" in plan.opponents else (OURS,)
            found = {side: _measure(side, backend, loop, server.url, nodes, plan.seconds) for side in sides}
            (ours, wakes), raw = found[OURS], found.get("raw")
            yield Result(
                scenario="idle", backend=backend, loop=loop,
                params={"nodes": nodes, "seconds": SPAN * min(1.0, plan.seconds)},
                ours=_figures(ours), raw=raw and _figures(raw[0]),
                ratio=ours / raw[0] if raw and raw[0] else None, spread=None, pairs=1, stable=True,
                measured={
                    "cpu_percent": round(ours / 1e4, 3), "wakes_per_second": round(wakes, 1),
                    **({"raw_cpu_percent": round(raw[0] / 1e4, 3)} if raw else {}),
                },
            )  # fmt: skip


def _measure(side: str, backend: str, loop: str, url: str, nodes: int, scale: float) -> tuple[float, float]:
    """Microseconds of CPU and wake-ups per second, of the average process."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bus-bench-", dir="/tmp"))
        # Two are a publisher and a subscriber: for the raw client, that is what there is.
        crew = Crew(side, backend, loop, directory, url, nodes=nodes if nodes > NODES[0] else 1)
        stack.callback(crew.end)
        crew.ready()
        time.sleep(SETTLE * min(1.0, scale))
        before, began = crew.usage(), time.perf_counter()
        time.sleep(SPAN * min(1.0, scale))
        after, took = crew.usage(), time.perf_counter() - began
        pairs = list(zip(before, after, strict=True))
        cpu = sum(late.cpu - early.cpu for early, late in pairs) / len(pairs) / took
        return cpu * 1e6, sum(late.switches - early.switches for early, late in pairs) / len(pairs) / took


def _figures(cpu_us: float) -> Figures:
    # No events: what it costs is per second.
    return Figures(rate=0.0, cpu_us_pub=cpu_us, cpu_us_sub=None, lost=0, p50_us=None, p99_us=None)
