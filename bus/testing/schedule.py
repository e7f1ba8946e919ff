"""Random schedules for SimNetwork: a seed decides the network, the traffic and the faults.

    run_seed(4711)              # raises Violation when a promise is broken
    print(Schedule(4711))       # what that seed does, one line per step

A schedule is made before it runs, so that it can be shown: `python -m bus.testing.replay 4711`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from bus.protocol.limits import Limits
from bus.protocol.outlet import Sizes
from bus.testing.network import Core, SimNetwork

if TYPE_CHECKING:
    from bus.protocol.inbox import DropPolicy
    from bus.protocol.lifecycle import ProofKind

# Delays of one or two links in seconds: a local server, a far one, one route slower than the other.
_LINKS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.0005, 0.002),),
    ((0.001, 0.030),),
    ((0.030, 0.030),),
    ((0.0005, 0.001), (0.015, 0.020)),
    ((0.001, 0.002), (0.3, 0.4)),
    ((0.001, 0.001), (1.0, 1.5)),
)
_PROOFS: tuple[ProofKind | None, ...] = (None, None, "echo", "server", "peers")
_DROPS: tuple[DropPolicy, ...] = ("oldest", "newest", "close")
LONGEST_FAULT = 40.0
CLUSTER_KEY = b"the key of a simulated cluster"


class Step(NamedTuple):
    """One thing that happens: when (seconds), what, and the call that does it."""

    at: float
    what: str
    act: Callable[[SimNetwork], object]


class Schedule:
    """What the seed decided; `network()` makes the network, `play()` plays it and judges."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # Another generator than the network's: the plan does not depend on how it is carried out.
        self._random = random = Random(f"schedule {seed}")
        self.names = "abcde"[: random.randint(2, 5)]
        self.links: tuple[tuple[float, float], ...] = random.choice(_LINKS)
        self.proof: ProofKind | None = random.choice(_PROOFS)
        self.drop: float = random.choice((0.0, 0.0, 0.01, 0.2))
        self.duplicate: float = random.choice((0.0, 0.05))
        self.reorder: float = random.choice((0.0, 0.0, 0.1))
        self.corrupt: float = random.choice((0.0, 0.0, 0.02))
        self.confirm: float = random.choice((0.0, 0.0, 0.003, 0.3))
        self.log = random.choice(("large", "large", "3 KB", "4 s"))
        self.hold = random.choice((16 << 20, 16 << 20, 3_000))
        self.frame = random.choice((65_536, 1_024))
        self.max_message = random.choice((1 << 20, 1 << 20, 1_300))
        self.rate: float
        self.burst: int
        self.rate, self.burst = random.choice(((0.5, 1), (0.5, 20), (2.0, 4), (2.0, 20), (6.0, 1), (6.0, 4)))
        if self.confirm > 0.1:
            # Two frames in 0.3 s are all that such a link carries. Where that does not suffice for what
            # is published and must be repeated, giving up after ten seconds is the only thing left.
            self.drop, self.rate = min(self.drop, 0.01), min(self.rate, 2.0)
            self.frame, self.max_message = 65_536, 1 << 20
        self.steps: list[Step] = []
        for _ in range(random.randint(0, 6)):
            self._add_fault()
        # Drawn last: what an older seed does stays as it was.
        if random.random() < 0.2:
            self._add_lie()
        self.keeps: float = 60.0 if self.proof == "echo" and random.random() < 0.5 else 0.0
        if self.keeps:
            self._set_clock()
        self.is_sealed: bool = random.random() < 0.25
        self.is_typed: bool = random.random() < 0.25
        self.steps.sort(key=lambda step: step.at)
        self.length: float = max([4.0, *(step.at for step in self.steps)]) + 0.5

    # -- the plan ----------------------------------------------------------------------------------

    def _step(self, at: float, what: str, act: Callable[[SimNetwork], object]) -> None:
        self.steps.append(Step(at, what, act))

    def _add_fault(self) -> None:
        random = self._random
        at = random.uniform(0.1, 6.0) if random.random() < 0.9 else random.uniform(6.0, LONGEST_FAULT)
        # Short faults are as interesting as long ones: uniform in the logarithm.
        end = at + 0.1 * (LONGEST_FAULT / 0.1) ** random.random()
        one, other = random.sample(self.names, 2)
        link = random.choice((None, *range(len(self.links))))
        lossy = random.choice((None, 0, 50))
        match random.choice(
            (
                "broker",
                "crash",
                "crash",
                "close",
                "freeze",
                "freeze",
                "cut",
                "cut",
                "part",
                "plug",
                "forge",
                "slow",
            )
        ):
            case "broker":
                self._step(at, f"broker down, link {link}", lambda net: net.broker_down(link))
                self._step(end, f"broker up, link {link}", lambda net: net.broker_up(link))
            case "crash":
                self._step(at, f"{one} crashes", lambda net: net.node(one).crash())
                if random.random() < 0.8:
                    self._step(end, f"{one} restarts", lambda net: net.node(one).restart())
            case "close":
                linger = random.choice((0.0, 0.5, 2.0))
                self._step(at, f"{one} closes, lingers {linger} s", lambda net: net.node(one).close(linger))
                if random.random() < 0.5:
                    self._step(end, f"{one} restarts", lambda net: net.node(one).restart())
            case "freeze":
                first = random.random() < 0.5
                self._step(
                    at,
                    f"{one} freezes, {lossy} frames kept",
                    lambda net: net.node(one).freeze(lossy),
                )
                self._step(end, f"{one} thaws, tick first: {first}", lambda net: net.node(one).thaw(first))
            case "cut":
                self._step(at, f"cut {one} -> {other}, link {link}", lambda net: net.cut(one, other, link))
                self._step(end, f"heal {one} - {other}", lambda net: net.heal(one, other))
            case "part":
                self._step(at, f"partition {one} | {other}", lambda net: net.partition(one, other))
                self._step(end, f"heal {one} - {other}", lambda net: net.heal(one, other))
            case "plug":
                self._step(at, f"unplug {one}, link {link}", lambda net: net.node(one).unplug(link))
                self._step(end, f"plug {one}", lambda net: net.node(one).plug())
            case "forge":
                jump = random.choice((30, 500, 10**6, 1 << 62, (1 << 63) - 1))
                amount = random.choice((1, 3, 100))
                self._step(
                    at,
                    f"forge {amount} events of {one} for {other}, {jump} ahead",
                    lambda net: forge(net, one, other, jump, amount),
                )
            case _:
                lag = random.choice((0.2, 0.7))
                self._step(at, f"{one} is slow, {lag} s", lambda net: setattr(net.node(one), "lag", lag))
                self._step(end, f"{one} is fast", lambda net: setattr(net.node(one), "lag", 0.0))

    def _add_lie(self) -> None:
        one, other = self._random.sample(self.names, 2)
        ahead = self._random.choice((1, 30, 10**6, 1 << 62))
        link = self._random.randrange(len(self.links))
        self._step(
            self._random.uniform(0.5, 8.0),
            f"{other} hears that {one} has published {ahead} events more, link {link}",
            lambda net: lie(net, one, other, ahead, link),
        )

    def _set_clock(self) -> None:
        by = self._random.choice((-3_600, -60, 10, 60))

        def set_clock(net: SimNetwork) -> None:
            net.server_ahead += by

        self._step(self._random.uniform(0.5, 8.0), f"the brokers' clock is set by {by} s", set_clock)

    def __str__(self) -> str:
        settings = (
            f"seed {self.seed}: nodes {self.names}, links {self.links}, proof {self.proof}, "
            f"drop {self.drop}, duplicate {self.duplicate}, reorder {self.reorder}, corrupt {self.corrupt}, "
            f"confirm {self.confirm}, log {self.log}, hold {self.hold}, "
            f"frame {self.frame} (at most {self.max_message}), {self.rate}/s bursts of up to {self.burst}, "
            f"sealed {self.is_sealed}"
        )
        return "\n".join((settings, *(f"{step.at:8.3f} s  {step.what}" for step in self.steps)))

    # -- the run -----------------------------------------------------------------------------------

    def network(self, core: Core | None = None) -> SimNetwork:
        """The network before anything has happened."""
        limits = Limits(
            log_bytes=3_000 if self.log == "3 KB" else 1 << 26,
            log_age=4.0 if self.log == "4 s" else 120.0,
            hold_bytes=self.hold,
        )
        sizes = Sizes(frame=self.frame, max_frame=self.frame * 4, max_message=self.max_message)
        return SimNetwork(
            seed=self.seed, nodes=tuple(self.names), links=self.links, limits=limits, sizes=sizes,
            proof=self.proof, drop=self.drop, duplicate=self.duplicate, reorder=self.reorder,
            corrupt=self.corrupt, confirm=self.confirm, keeps=self.keeps,
            keys=[CLUSTER_KEY] if self.is_sealed else (), typed=self.is_typed, core=core,
        )  # fmt: skip

    def play(self, net: SimNetwork) -> None:
        """Play it on that network, heal everything, wait until all has settled. Raises Violation."""
        for name in self.names:
            self._use(net, name)
        for step in self.steps:
            net.run(step.at - net.now)
            step.act(net)
        net.run(self.length - net.now)
        self._heal(net)
        net.settle()

    def _use(self, net: SimNetwork, name: str) -> None:
        """An application on this node: publishes in bursts and reads now and then."""
        random, node = net.random, net.node(name)
        capacity, drop = random.choice((50, 500, 65_536)), random.choice(_DROPS)

        def work() -> None:
            if net.now > self.length:
                return
            if node.is_running and not node.is_frozen:
                if not node.subscribers:
                    node.subscribe(capacity, drop=drop)
                if not node.is_closing:
                    size = random.choice((0, 30, 200) if random.random() < 0.99 else (2_000,))
                    node.publish(*(b"x" * size for _ in range(random.randint(1, self.burst))))
                if random.random() < 0.7:
                    node.subscribers[0].read(random.choice((1, 20, 1_000)))
            net.after(random.expovariate(self.rate), work)

        work()

    def _heal(self, net: SimNetwork) -> None:
        net.heal()
        net.drop = min(net.drop, 0.01)
        for link in range(len(self.links)):
            if not net.is_broker_up(link):
                net.broker_up(link)
        for node in net.nodes.values():
            node.lag = 0.0
            node.thaw()
            node.plug()


def forge(net: SimNetwork, sender: str, receiver: str, jump: int, amount: int) -> None:
    """A forged frame that far ahead of the true log; numbers end below 2^63."""
    if net.node(sender).is_running:
        ahead = net.node(sender).life.last + jump
        net.forge(sender, receiver, min(ahead, (1 << 63) - amount), amount)


def lie(net: SimNetwork, sender: str, receiver: str, ahead: int, link: int) -> None:
    """An untrue heartbeat of one who lives and is known: its next true one takes that back."""
    node = net.node(sender)
    if node.is_running and not node.is_closing and node.epoch in net.node(receiver).engine.peers:
        net.lie(sender, receiver, ahead, link)


def run_seed(seed: int, core: Core | None = None) -> SimNetwork:
    """Play one seed; raises Violation when a promise is broken."""
    schedule = Schedule(seed)
    net = schedule.network(core)
    schedule.play(net)
    return net
