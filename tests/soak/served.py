"""A long run of node processes on a broker, with a proxy in front where the protocol allows one."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from bus.testing.brokers import Broker, start_own
from bus.testing.proxy import Proxy
from tests.faults.crew import Crew, pause
from tests.faults.lab import OPTIONS, machine_load
from tests.faults.nemesis import Hand, broker_hands, node_hands, play, proxy_hands, schedule
from tests.soak.result import Result, Run, judged, listing, pairs_of

# Their brokers name the one address under which they are reached.
PROXIED = ("nats", "redis", "valkey", "zenoh")
RATE = 300
# Seconds between two looks at the state: more often, looking is most of what an idle node does.
STATE = 0.25
# Seconds: until what a start brings along has settled; of each look without load.
WARM, LOOK = 8.0, 12.0
# Longer than all may take to recover.
SETTLE = 8.0


def run(system: str, seconds: float, seed: int, folder: Path, nodes: int) -> Result:
    """All of it; the histories and logs stay in the folder."""
    with ExitStack() as stack:
        broker = start_own(system, folder)
        stack.callback(broker.stop)
        stack.callback(lambda: (folder / "broker.log").write_text(broker.logs()))
        hands: dict[str, Hand] = dict(broker_hands(broker))
        url = broker.url + OPTIONS.get(system, "")
        if system in PROXIED:
            proxy = stack.enter_context(Proxy(_target(broker)))
            hands |= proxy_hands(proxy)
            options = "?mode=client" if system == "zenoh" else ""
            url = f"{broker.url.partition('://')[0]}://{proxy.address}{options}"
        crew = stack.enter_context(Crew(url, folder, count=nodes, rate=RATE, setup={"look": STATE}))
        hands |= node_hands(crew.members)
        steps = schedule(seed, seconds, sorted(hands))
        (folder / "schedule.txt").write_text(listing(steps) + "\n")
        moments: list[tuple[float, bool]] = []
        crew.go()
        pause(WARM)
        before = _calm(crew)
        crew.go()
        play(steps, hands, lambda line: moments.append((time.monotonic(), line.endswith("begins"))))
        pause(SETTLE)
        crew.quiet()
        broker.kill()
        pause(SETTLE)
        away = _look()
        broker.mend()
        crew.go()
        pause(WARM)
        after = _calm(crew)
        histories = crew.finish()
    empty = Result(system=system, nodes=nodes, seconds=seconds, seed=seed, busy=machine_load())
    return judged(empty, histories, Run(pairs_of(moments), before, away, after))


def _calm(crew: Crew) -> tuple[float, float]:
    crew.quiet()
    pause(SETTLE)
    return _look()


def _look() -> tuple[float, float]:
    began = time.monotonic()
    pause(LOOK)
    return began, time.monotonic()


def _target(broker: Broker) -> tuple[str, int]:
    place = broker.url.partition("://")[2].partition("?")[0].rpartition("@")[2]
    host, _, port = place.rpartition(":")
    return host, int(port)
