"""Cases after 35: servers that kick, no descriptors, full disks, clocks that jump, hasty ends."""

from __future__ import annotations

import resource
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bus.testing.brokers import Broker, NatsServer, RedisCluster, RedisServer, Unavailable
from bus.testing.brokers.resp import ReplyError
from tests.faults.crew import pause
from tests.faults.figures import Figures
from tests.faults.history import History
from tests.faults.lab import AFTER, Expected, Lab, scenario
from tests.faults.wires import run

# Bytes of an event: the buffers of the kernel hold some MiB, and are to be full soon.
LARGE = 4_000
# More than two senders repeat at one request, which is at most 1 MiB.
_LIMITS = ("--client-output-buffer-limit", "pubsub 4mb 2mb 5")
_DISK = "24m"
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def _impatient(kind: str, folder: Path) -> Broker:
    if kind == "nats":
        return NatsServer(folder, options={"max_pending": 4_000_000, "write_deadline": "2s"})
    make = RedisCluster if kind == "redis-cluster" else RedisServer
    return make(folder, options=_LIMITS)


def _kicks(broker: Broker) -> int:
    """How many slow consumers the server cut off."""
    if isinstance(broker, NatsServer):
        return broker.logs().count("Slow Consumer Detected")
    return broker.logs().count("overcoming of output buffer limits")


@scenario("kicked", broker=_impatient, expect=Expected(noticed="maybe", told=True, rebuilds=3, recovered=15))
def kicked(lab: Lab) -> None:
    """Case 38: a node does not read, and the server cuts it off; afterwards it fetches what it missed."""
    lab.start(rate=300, setup={"size": LARGE})
    with lab.fault():
        lab.members[2].signal(signal.SIGSTOP)
        try:
            pause(12)
        finally:
            lab.members[2].signal(signal.SIGCONT)
    pause(10)
    if not (count := _kicks(lab.broker)):
        lab.noted.append("the server cut nobody off")
    elif count > 3:
        lab.noted.append(f"the server cut somebody off {count} times")


@scenario("no-descriptors", expect=Expected(noticed="some"))
def no_descriptors(lab: Lab) -> None:
    """Case 45: the broker restarts while one node can open nothing any more."""
    lab.start()
    pid = lab.members[2].pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with lab.fault():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            lab.broker.kill()
            lab.broker.restart()
            pause(6)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    pause(AFTER)


def _disk(folder: Path) -> Path:
    """A small disk of its own, in our mount namespace alone."""
    place = folder / "disk"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(place))
    return place


def _on_disk(kind: str, folder: Path) -> Broker:
    place = _disk(folder)
    if kind == "redis":
        words = ("--dir", place, "--appendonly", "yes", "--appendfsync", "always")
        return RedisServer(folder, options=words)
    from bus.testing.brokers.kafka import KafkaServer

    return KafkaServer(place)


@scenario("disk-full", broker=_on_disk)
def disk_full(lab: Lab) -> None:
    """Case 46: no byte can be written any more; then there is room again, and who gave up is started."""
    lab.start()
    filler = lab.folder / "disk" / "filler"
    with lab.fault():
        # It is to fail: that is how it ends.
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True, check=False)
        if isinstance(lab.broker, RedisServer):
            with suppress(OSError, ReplyError):
                lab.broker.ask("SET", "key", "x" * 100_000)
        pause(8)
        filler.unlink()
        lab.broker.restart()
    pause(AFTER)


@scenario("clock-jump", expect=Expected(noticed="never"))
def clock_jump(lab: Lab) -> None:
    """Case 69: the wall clock of one node jumps two days ahead, then two days back."""
    if not Path(_FAKETIME).exists():
        raise Unavailable("a clock that jumps needs the package faketime")
    clock = lab.folder / "clock"
    clock.write_text("+0")
    lab.start(
        meet=False,
        env={
            "c": {
                "LD_PRELOAD": _FAKETIME,
                "FAKETIME_TIMESTAMP_FILE": str(clock),
                # Seconds; else every look at a clock reads the file.
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        },
    )
    lab.crew.meet()
    lab.go()
    pause(2)
    with lab.fault():
        for jump in ("+2d", "-2d", "+0"):
            clock.write_text(jump)
            pause(4)
    pause(AFTER)


@scenario("long-stop", expect=Expected(told=True, noticed="maybe", recovered=20))
def long_stop(lab: Lab) -> None:
    """Case 70: for two minutes no clock of the node moves; the logs hold no more than that."""
    lab.start()
    with lab.fault():
        lab.members[2].signal(signal.SIGSTOP)
        try:
            pause(120)
        finally:
            lab.members[2].signal(signal.SIGCONT)
    pause(AFTER)


def _all_of_it(lab: Lab, histories: Sequence[History], found: Figures) -> Iterator[str]:
    if found.delivered < found.published:
        yield f"{found.delivered} of {found.published} events were delivered"


@scenario("leave-at-once", look=_all_of_it, expect=Expected(noticed="never"))
def leave_at_once(lab: Lab) -> None:
    """Case 80: a node closes in the middle of what it publishes; what it has published arrives."""
    lab.start()
    with lab.fault():
        lab.crew.dismiss(lab.members[2])
    pause(AFTER)
