"""The server is killed under load and started again: how long until events flow, and what became of them.

1,000 events a second; after two seconds the server is killed, a second later it is started again. Every
event that was published meanwhile has to come by repair, or to be told lost.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from bus.bench.crew import OURS, Crew, HarnessError
from bus.bench.figures import Result, figures, is_steady
from bus.bench.ours import KEY
from bus.bench.plausible import counted
from bus.bench.server import NoServer, server_of
from bus.bench.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bus.bench.figures import Repetition
    from bus.bench.run import Plan
    from bus.bench.server import Server
    from bus.bench.worker import Answer

PER_SECOND = 1_000
BEFORE = 2.0
DOWN = 1.0
# Kafka needs some seconds to start; none of the others one.
AFTER = {"kafka": 14.0}
AFTER_OTHERS = 7.0
NS = 1e9


def recovery(
    backend: str, loop: str, plan: Plan, times: int, progress: Callable[[str], None]
) -> Iterator[Result]:
    """One row: the medians of `times` restarts. Raises NoServer, HarnessError."""
    with ExitStack() as stack:
        server = stack.enter_context(server_of(backend))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bus-bench-", dir="/tmp"))
        crew = Crew(OURS, backend, loop, directory, server.url, key=KEY if plan.is_sealed else None)
        stack.callback(crew.end)
        crew.ready()
        taken: list[tuple[Repetition, dict[str, float]]] = []
        for number in range(times):
            taken.append(_restart(crew, server, AFTER.get(backend, AFTER_OTHERS)))
            progress(f"restart {number + 1}: fresh after {taken[-1][1]['fresh_s']:.2f} s")
        repetitions = [one for one, _ in taken]
        fresh = [measured["fresh_s"] for _, measured in taken]
        yield Result(
            scenario="recovery", backend=backend, loop=loop,
            params={"per_second": PER_SECOND, "delivery": "batch", "subscribers": 1, "down_s": DOWN},
            ours=figures(repetitions), raw=None, ratio=None, spread=None,
            pairs=times, stable=is_steady(fresh),
            measured={name: round(median(one[name] for _, one in taken), 4) for name in taken[0][1]},
        )  # fmt: skip


def _restart(crew: Crew, server: Server, after: float) -> tuple[Repetition, dict[str, float]]:
    if server.broker is None:
        raise NoServer("recovery restarts the server: leave --url out, it starts one of its own")
    crew.start(Work(count=int(PER_SECOND * (BEFORE + DOWN + after)), per_second=PER_SECOND, is_logged=True))
    time.sleep(BEFORE)
    killed = time.perf_counter()
    server.broker.kill()
    time.sleep(DOWN)
    server.broker.restart()
    up = time.perf_counter()
    server.restarted()
    repetition, came = crew.finish()
    if found := counted(repetition, tells_loss=True):
        raise HarnessError(f"recovery cannot be true: {'; '.join(found)}")
    return repetition, _measured(came[0], killed, up) | {
        "repaired": float(repetition.repaired), "lost": float(repetition.lost),
    }  # fmt: skip


def _measured(came: Answer, killed: float, up: float) -> dict[str, float]:
    """Seconds: the server was away; from its return to the first event published after it; of silence."""
    fresh = [arrived for arrived, due in came.log if due >= up * NS]
    if not fresh:
        raise HarnessError("recovery: no event that was published after the restart has come")
    silence = max((later[0] - earlier[0] for earlier, later in pairwise(came.log)), default=0)
    return {"down_s": up - killed, "fresh_s": min(fresh) / NS - up, "silence_s": silence / NS}
