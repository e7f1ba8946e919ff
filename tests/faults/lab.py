"""The fault lab: one system, its nodes under load, and everything that can be done to them.

A scenario is a function that takes a `Lab`:

    @scenario("kill")
    def kill(lab: Lab) -> None:
        lab.start()                     # three nodes that hear each other, 500 events a second each, for 2 s
        with lab.fault():               # began ... healed
            lab.broker.kill()
            pause(1)
            lab.broker.restart()
        pause(4)

Afterwards the load is stopped, everything settles, and the histories are judged: by the invariants of
`figures`, and by what the scenario says it expects. In the full lab the broker and each node have a network
namespace of their own (`wires`), and `lab.cables` cuts between them; the plain one, without root, has a proxy
in front of those brokers that name only one address.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from bus.testing.brokers import Broker, Unavailable, start_own
from bus.testing.proxy import Proxy
from tests.faults.between import Between, redirected
from tests.faults.cables import Cables
from tests.faults.crew import Crew, Member, pause
from tests.faults.figures import (
    LINES_A_MINUTE,
    Figures,
    Window,
    broken,
    figures,
    left_ready,
)
from tests.faults.history import History, histories, judge, recovered
from tests.faults.wires import beside, missing

if TYPE_CHECKING:
    from bus.testing.brokers.kafka import KafkaServer

# Systems that one proxy can be in front of.
_PLAIN = ("nats", "kafka", "redis", "zenoh")
# What is added to the URL of the broker.
OPTIONS = {"redis-cluster": "?readFromReplicas=false"}
RATE = 500
BEFORE, AFTER = 2.0, 4.0
RECOVER = 6.0
# Of the load that was asked for: with less, the machine was too slow to show anything.
LEAST = 0.3
IDLE_CPU = 0.03

Noticed = Literal["all", "some", "maybe", "never"]
# More that a scenario looks at: problems, in words.
Look = Callable[["Lab", Sequence[History], Figures], Iterator[str]]


class Expected(NamedTuple):
    """What a scenario allows; times are seconds."""

    # Fresh events both ways, after the fault.
    recovered: float = RECOVER
    # Whether losses may be told; else everything is to be repaired.
    told: bool = False
    # Which nodes leave READY.
    noticed: Noticed = "all"
    # Within that time, those who do.
    detected: float | None = None
    # How often a node may lose its link.
    rebuilds: int | None = None
    # Lines a minute in the log, of all kinds; those that tell no change of state are always few.
    lines: float | None = None
    # What an error in the log has to say that is none of ours.
    error: str = "\0"
    # Of all but one of a thousand calls of `publish`, and of every one.
    usual: float | None = None
    longest: float | None = None


class Scenario(NamedTuple):
    """A fault by its name."""

    name: str
    act: Callable[[Lab], None]
    expected: Expected
    look: Look | None
    # A proxy is to be in front of every port.
    is_proxied: bool
    # Makes the broker, if it is another one than usual.
    broker: Callable[[str, Path], Broker] | None


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str,
    *,
    look: Look | None = None,
    proxied: bool = False,
    broker: Callable[[str, Path], Broker] | None = None,
    expect: Expected | None = None,
) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """Put it under its name; `expect`: what is not as usual."""

    def put(act: Callable[[Lab], None]) -> Callable[[Lab], None]:
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(name, act, expect or Expected(), look, proxied, broker)
        return act

    return put


class Lab:
    """One run. `base`: of the `Wires` in whose inside we are; None: the plain lab."""

    broker: Broker
    crew: Crew

    def __init__(self, system: str, folder: Path, what: Scenario, base: str | None) -> None:
        self.system = system
        self.folder = folder
        self.base = base
        self._what = what
        self._stack = ExitStack()
        self._between: Between | None = None
        self._cables = None if base is None else Cables()
        self._began = self._healed = 0.0
        self._quiet: list[tuple[float, float]] = []
        self._started = 0.0
        self._wanted = 0.0
        # Problems that a scenario saw while it ran.
        self.noted: list[str] = []

    # -- what a scenario does ----------------------------------------------------------------------

    @property
    def cables(self) -> Cables | Between:
        """What cuts between the nodes and the broker: in the plain lab the proxy does."""
        return self._cables or self.between

    @property
    def full(self) -> Cables:
        """Cables that can also tell nodes and ports apart. Raises Unavailable in the plain lab."""
        if self._cables is None:
            raise Unavailable(f"the plain lab cannot do that: this needs {missing()}")
        return self._cables

    @property
    def namespaces(self) -> str:
        """The base of the `Wires` around us. Raises Unavailable in the plain lab."""
        if self.base is None:
            raise Unavailable(f"the plain lab has no networks of its own: this needs {missing()}")
        return self.base

    @property
    def between(self) -> Between:
        """The proxies."""
        assert self._between is not None, "this scenario has no proxies"
        return self._between

    @property
    def url(self) -> str:
        """What the nodes open."""
        url = self.broker.url
        if self._cables is None and self._between is not None:
            url = f"{url.partition('://')[0]}://{self._between.proxies[0].address}"
            url += "?mode=client" if self.system == "zenoh" else ""
        return url + OPTIONS.get(self.system, "")

    def start(
        self,
        count: int = 3,
        *,
        rate: int = RATE,
        coordinator: object = None,
        limits: Mapping[str, float] | None = None,
        meet: bool = True,
        setup: Mapping[str, object] | None = None,
        env: Mapping[str, Mapping[str, str]] | None = None,
        before: float = BEFORE,
    ) -> None:
        """Start the nodes and, when they hear each other, the load."""
        self.crew = Crew(
            coordinator or self.url, self.folder, count=count, rate=rate, limits=limits, prefix=self._prefix,
            setup=setup, env=env,
        )  # fmt: skip
        self._stack.push(self.crew.__exit__)
        self.crew.start()
        self._wanted = rate
        if meet:
            self.crew.meet()
            self.go()
            pause(before)

    def start_apart(self, coordinators: Mapping[str, object]) -> None:
        """As `start`, but each node has a Coordinator of its own, by its name."""
        self.crew = Crew(None, self.folder, count=len(coordinators), rate=RATE, prefix=self._prefix)
        self._stack.push(self.crew.__exit__)
        self._wanted = RATE
        for name, coordinator in coordinators.items():
            self.crew.add(name, coordinator=coordinator)
        self.crew.meet()
        self.go()
        pause(BEFORE)

    def go(self) -> None:
        """The load begins, or goes on."""
        self.crew.go()
        self._started = self._started or time.monotonic()

    @contextmanager
    def fault(self) -> Generator[None]:
        """While it lasts the fault is there; when there are several, from the first to the last."""
        self._began = self._began or time.monotonic()
        yield
        self._healed = time.monotonic()

    def recover(self) -> None:
        """Wait until all have fresh events of all, as long as that may take; later is a problem."""
        moment = time.monotonic()
        while recovered(histories(self.folder), moment, self.crew.gone) is None:
            pause(0.2)
            if time.monotonic() > moment + RECOVER:
                self.noted.append(f"no fresh events {RECOVER:g} s after the end of a fault (I7)")
                return

    def idle(self, seconds: float) -> None:
        """No load for a while, in which the nodes should do nothing."""
        self.crew.quiet()
        self.watch_idle(seconds)
        self.crew.go()

    def watch_idle(self, seconds: float) -> None:
        """Nobody publishes already: see for a while what the nodes do."""
        began = time.monotonic()
        pause(seconds)
        self._quiet.append((began + 1, time.monotonic()))

    @property
    def members(self) -> Sequence[Member]:
        """The nodes, in order."""
        return self.crew.members

    # -- what is done with it ----------------------------------------------------------------------

    def run(self) -> tuple[Figures, list[str], tuple[str, ...]]:
        """The whole of it: figures, problems, and the losses that were told."""
        with self._stack:
            if self._cables is None:
                self._start_behind_a_proxy()
            else:
                self._start_broker(self._what.broker or start_own)
                if self._what.is_proxied:
                    self._between = redirected(self._cables, self._stack)
            self._what.act(self)
            return self._judged(self.crew.finish())

    def _start_broker(self, make: Callable[[str, Path], Broker]) -> None:
        self.broker = make(self.system, self.folder)
        self._stack.callback(self.broker.stop)
        self._stack.callback(lambda: (self.folder / "broker.log").write_text(self.broker.logs()))

    def _start_behind_a_proxy(self) -> None:
        """In the plain lab: a Kafka must announce the address of its proxy."""
        if self.system not in _PLAIN:
            raise Unavailable(f"{self.system} names addresses of its own: this needs {missing()}")
        proxy = self._stack.enter_context(Proxy(("127.0.0.1", 9)))
        self._between = Between([proxy])
        if self.system == "kafka":
            self._start_broker(lambda kind, folder: announcing(proxy.address, folder))
            proxy.target = ("127.0.0.1", cast("KafkaServer", self.broker).ports["LAB"])
        else:
            self._start_broker(self._what.broker or start_own)
            proxy.target = _target(self.broker)

    def _prefix(self, node: str) -> Sequence[str]:
        return () if self.base is None else beside(self.base, node)

    def _judged(self, runs: list[History]) -> tuple[Figures, list[str], tuple[str, ...]]:
        gone = self.crew.gone
        verdict = judge(runs, gone)
        window = Window(self._began, self._healed, tuple(self._quiet))
        found = figures(runs, window, verdict, gone)
        here = [history for history in runs if history.epoch not in gone]
        problems = broken(runs, verdict, gone, self._what.expected.error)
        problems += [] if self._what.expected.told else verdict.losses
        problems += unexpected(self._what.expected, found, [left_ready(one, self._began) for one in here])
        problems += self._too_slow(here)
        problems += self.noted
        if self._what.look:
            problems += self._what.look(self, here, found)
        return found, problems, verdict.losses

    def _too_slow(self, here: Sequence[History]) -> Iterator[str]:
        quiet = sum(end - began + 1 for began, end in self._quiet)
        wanted = len(here) * self._wanted * (self._healed + AFTER - self._started - quiet)
        published = sum(history.published for history in here)
        if published < LEAST * wanted:
            yield f"{published} events were published, {wanted:.0f} were wanted: the machine is too slow"


def unexpected(expected: Expected, found: Figures, noticed: Sequence[float | None]) -> Iterator[str]:
    """What differs from what was expected."""
    if found.recovered is None or found.recovered > expected.recovered:
        yield f"recovered after {found.recovered} s, allowed are {expected.recovered:g} (I7)"
    count = sum(at is not None for at in noticed)
    if (expected.noticed == "all" and count < len(noticed)) or (expected.noticed == "some" and not count):
        yield f"{len(noticed) - count} of {len(noticed)} were READY all the time: did the fault happen?"
    if expected.noticed == "never" and count:
        yield f"{count} of {len(noticed)} left READY"
    limits: list[tuple[str, float | None, float | None]] = [
        ("detected after", found.detected, expected.detected),
        ("links lost", found.rebuilds, expected.rebuilds),
        ("the usual publish took", found.publish_usual, expected.usual),
        ("the longest publish took", found.publish_wall, expected.longest),
        ("CPU while idle (I10):", found.cpu, IDLE_CPU),
        ("lines a minute in a log (I9):", found.lines, expected.lines),
        ("lines a minute beside those of the state (I9):", found.other_lines, LINES_A_MINUTE),
    ]
    for what, value, limit in limits:
        if value is not None and limit is not None and value > limit:
            yield f"{what} {value:g}, allowed are {limit:g}"


def announcing(address: str, folder: Path, port: int | None = None) -> KafkaServer:
    """A Kafka that has one more listener, LAB, and tells clients of it to go to that address."""
    from bus.testing.brokers.kafka import KafkaServer, Listener

    return KafkaServer(folder, listeners={"LAB": Listener("PLAINTEXT", address, port)})


def _target(broker: Broker) -> tuple[str, int]:
    place = broker.url.partition("://")[2].partition("?")[0].rpartition("@")[2].partition(",")[0]
    host, _, port = place.rpartition(":")
    return host, int(port)


def machine_load() -> float:
    """How busy the machine is: processes that want a CPU, over the last minute."""
    return round(os.getloadavg()[0], 1)
