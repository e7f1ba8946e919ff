"""Cases 1-16: brokers and nodes are killed, ended, frozen, replaced."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bus.testing.brokers import Broker, LocalBroker, NatsServer, RedisCluster, RedisSentinel, start_own
from tests.faults.crew import pause
from tests.faults.figures import LINES_A_MINUTE, Figures
from tests.faults.history import Asked, Changed, History, Sample, State
from tests.faults.lab import AFTER, Expected, Lab, scenario
from tests.faults.outages import masters, subscribers

DETECTED = 4.0
PUBLISH_USUAL, PUBLISH_LONGEST = 0.005, 0.25
# Of a lame duck; the server allows no less.
LAME = "30s"
_GONE = 45.0


@scenario("kill")
def kill(lab: Lab) -> None:
    """Case 1."""
    lab.start()
    with lab.fault():
        lab.broker.kill()
        pause(1)
        lab.broker.restart()
    pause(AFTER)


@scenario("kill-long", expect=Expected(lines=LINES_A_MINUTE))
def kill_long(lab: Lab) -> None:
    """Case 2: a minute, in which the nodes also have a time without load, to see what waiting costs."""
    lab.start()
    with lab.fault():
        lab.broker.kill()
        pause(20)
        lab.idle(30)
        pause(10)
        lab.broker.restart()
    pause(AFTER)


def _patient(kind: str, folder: Path) -> Broker:
    options = {"lame_duck_duration": LAME, "lame_duck_grace_period": "1s"}
    return NatsServer(folder, options=options) if kind == "nats" else start_own(kind, folder)


@scenario("end", broker=_patient)
def end(lab: Lab) -> None:
    """Case 3: SIGTERM; NATS has a way of its own, the lame duck."""
    lab.start()
    broker = lab.broker
    assert isinstance(broker, LocalBroker)
    with lab.fault():
        if isinstance(broker, NatsServer):
            broker.signal("ldm")
        else:
            for process in broker.processes:
                process.signal(signal.SIGTERM)
        until = time.monotonic() + _GONE
        while any(process.is_running for process in broker.processes) and time.monotonic() < until:
            pause(0.1)
        broker.restart()
    pause(AFTER)


def _freeze(lab: Lab, seconds: float) -> None:
    lab.broker.pause()
    try:
        pause(seconds)
    finally:
        lab.broker.resume()


@scenario("freeze-short", expect=Expected(noticed="maybe", rebuilds=1))
def freeze_short(lab: Lab) -> None:
    """Case 4."""
    lab.start()
    with lab.fault():
        _freeze(lab, 2)
    pause(AFTER)


@scenario(
    "freeze-long",
    expect=Expected(detected=DETECTED, usual=PUBLISH_USUAL, longest=PUBLISH_LONGEST),
)
def freeze_long(lab: Lab) -> None:
    """Case 5."""
    lab.start()
    with lab.fault():
        _freeze(lab, 30)
    pause(AFTER)


@scenario("close-frozen", expect=Expected(told=True, noticed="maybe"))
def close_frozen(lab: Lab) -> None:
    """Case 6: one closes while the broker is frozen; the others fear for what it published."""
    lab.start()
    with lab.fault():
        lab.broker.pause()
        try:
            pause(1)
            lab.crew.dismiss(lab.members[2])
        finally:
            lab.broker.resume()
    pause(AFTER)


@scenario("close-dead", expect=Expected(told=True))
def close_dead(lab: Lab) -> None:
    """Case 7: one closes twice, one in two tasks at once, one before it was ever connected."""
    lab.start(4, setup={"closing": "twice"})
    with lab.fault():
        lab.broker.kill()
        hasty = lab.crew.add("e", hasty=True, closing="together")
        lab.crew.meet()
        pause(1)
        lab.crew.dismiss(hasty)
        lab.crew.dismiss(lab.members[3])
        lab.broker.restart()
    pause(AFTER)


def _impatience(lab: Lab, histories: Sequence[History], found: Figures) -> Iterator[str]:
    for history in histories:
        answers = [line.answer for line in history.lines if isinstance(line, Asked)]
        if not all(answers) or not answers:
            yield f"{history.node}: ready(2) did not raise TimeoutError"


@scenario("late", look=_impatience, expect=Expected(noticed="maybe", recovered=10.0))
def late(lab: Lab) -> None:
    """Case 8: `ready` says what is missing, and the bus goes on trying."""
    lab.broker.kill()
    lab.start(meet=False, setup={"patience": 2.0})
    with lab.fault():
        pause(10)
        lab.broker.restart()
    lab.crew.meet()
    lab.go()
    pause(AFTER)


def _no_growth(lab: Lab, histories: Sequence[History], found: Figures) -> Iterator[str]:
    for history in histories:
        samples = [line for line in history.lines if isinstance(line, Sample)]
        first, last = samples[2], samples[-1]
        for name in ("fds", "tasks", "threads"):
            before, after = getattr(first, name), getattr(last, name)
            # An idle worker thread, and its descriptors, may have come.
            if after > before + 2:
                yield f"{history.node}: {name} grew from {before} to {after}"


@scenario("flap", look=_no_growth)
def flap(lab: Lab) -> None:
    """Case 9: for a minute it dies again and again."""
    lab.start()
    with lab.fault():
        until = time.monotonic() + 60
        while time.monotonic() < until:
            lab.broker.kill()
            pause(2)
            lab.broker.restart()
            pause(2)
    pause(AFTER)


def _restarted(lab: Lab, histories: Sequence[History], found: Figures) -> Iterator[str]:
    for history in histories:
        changes = [line.change for line in history.lines if isinstance(line, Changed) and line.node == "c"]
        if history.node != "c" and changes.count("Restarted") != 1:
            yield f"{history.node} was told about c: {changes}"
    if found.told:
        yield f"{found.told} events were told lost by a Gap, of a node that died a Resync was expected"


@scenario("node-kill", look=_restarted, expect=Expected(told=True, noticed="maybe"))
def node_kill(lab: Lab) -> None:
    """Case 10: a node dies, and another process takes its name."""
    lab.start()
    with lab.fault():
        lab.members[2].kill()
        pause(1)
        lab.crew.add("c")
        lab.crew.meet()
        lab.crew.go()
    pause(AFTER)


@scenario("node-freeze", expect=Expected(told=True, noticed="maybe"))
def node_freeze(lab: Lab) -> None:
    """Case 11: the others fear for it after 30 s; all of it is delivered nevertheless."""
    lab.start()
    with lab.fault():
        lab.members[2].signal(signal.SIGSTOP)
        try:
            pause(30)
        finally:
            lab.members[2].signal(signal.SIGCONT)
    pause(AFTER)


def _twins(lab: Lab, histories: Sequence[History], found: Figures) -> Iterator[str]:
    for history in histories:
        if not any(isinstance(line, Changed) and line.change == "Duplicate" for line in history.lines):
            yield f"{history.node} was not told Duplicate"


@scenario(
    "twins", look=_twins, expect=Expected(told=True, noticed="maybe", error="live processes have the name")
)
def twins(lab: Lab) -> None:
    """Case 12: a second process under a name that lives; all are told, nobody is filtered."""
    lab.start()
    with lab.fault():
        # Its `ready` would raise, and say why.
        lab.crew.add("c", hasty=True)
        lab.crew.meet()
        lab.crew.go()
    pause(20)


@scenario("failover", expect=Expected(noticed="some"))
def failover(lab: Lab) -> None:
    """Case 13: the master that most nodes are with dies, a replica takes over."""
    broker = lab.broker
    assert isinstance(broker, RedisCluster | RedisSentinel)
    lab.start()
    killed = broker.master if isinstance(broker, RedisSentinel) else max(masters(broker), key=subscribers)
    with lab.fault():
        killed.kill()
        broker.settle()
    pause(AFTER)
    killed.restart()
    pause(1)


@scenario("sentinel-failover")
def sentinel_failover(lab: Lab) -> None:
    """Case 15: the old master lives on as a replica; nobody may stay with it."""
    broker = lab.broker
    assert isinstance(broker, RedisSentinel)
    lab.start()
    old = broker.master
    with lab.fault():
        broker.failover()
        # For some seconds there are two, until the sentinels tell the old one.
        until = time.monotonic() + _GONE
        while old.role == "master" and time.monotonic() < until:
            pause(0.1)
    pause(AFTER)
    there = {str(server.port): subscribers(server) for server in broker.nodes if server is not broker.master}
    lab.noted += [
        f"{count} nodes are subscribed at the replica {port}" for port, count in there.items() if count
    ]
    if (count := subscribers(broker.master)) != len(lab.members):
        lab.noted.append(f"{count} of {len(lab.members)} nodes are subscribed at the master")


def _kafkas(kind: str, folder: Path) -> Broker:
    from bus.testing.brokers.kafka import KafkaCluster

    return KafkaCluster(folder=folder)


def _calm(lab: Lab, histories: Sequence[History], found: Figures) -> Iterator[str]:
    """Nobody asks again and again while there is no leader: no node is busy for a second."""
    for history in histories:
        samples = [line for line in history.lines if isinstance(line, Sample)]
        for one, other in zip(samples, samples[3:], strict=False):
            share = (other.cpu - one.cpu) / (other.at - one.at)
            if share > 0.9:
                yield f"{history.node} used {share:.0%} of a CPU"
                break


@scenario("rolling", look=_calm, broker=_kafkas, expect=Expected(noticed="some"))
def rolling(lab: Lab) -> None:
    """Case 16: three Kafka brokers are killed and started, one after the other; the leader moves."""
    broker = lab.broker
    assert isinstance(broker, LocalBroker)
    lab.start()
    with lab.fault():
        for process in broker.processes:
            process.kill()
            pause(3)
            broker.start()
            pause(3)
    pause(AFTER)


def ready_after(history: History) -> float | None:
    """Seconds from its opening to its first READY."""
    states = (line for line in history.lines if isinstance(line, State))
    return next((line.at - history.lines[0].at for line in states if line.state == "READY"), None)
