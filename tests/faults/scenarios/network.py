"""Cases 17-35: packets are lost, late, refused, cut in pieces; addresses are dead, silent, or move."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from bus.testing.brokers import Broker, free_port, start_own
from bus.testing.line import Line
from bus.testing.proxy import Toxics
from tests.faults.crew import pause
from tests.faults.figures import LINES_A_MINUTE, Figures
from tests.faults.history import Changed, History, Published
from tests.faults.lab import AFTER, RECOVER, Expected, Lab, announcing, scenario
from tests.faults.scenarios.process import PUBLISH_USUAL, ready_after
from tests.faults.wires import address, beside, names, run

# Longer than it takes to notice (3 s) and to make the link anew (6 s).
CUT = 12.0
DETECTED = 6.0
CONNECT = 5.0
SLOW = 32_000
SHARED = 30.0


@scenario("cut-idle", expect=Expected(detected=DETECTED))
def cut_idle(lab: Lab) -> None:
    """Case 17: both ways silent, and nobody publishes."""
    lab.start()
    lab.crew.quiet()
    pause(1)
    with lab.fault():
        lab.cables.drop("in", "out")
        lab.watch_idle(CUT)
        lab.cables.heal()
    lab.crew.go()
    pause(AFTER)


@scenario("cut", expect=Expected(detected=DETECTED))
def cut(lab: Lab) -> None:
    """Case 18."""
    lab.start()
    with lab.fault():
        lab.cables.drop("in", "out")
        pause(CUT)
        lab.cables.heal()
    pause(AFTER)


@scenario("cut-to-broker", expect=Expected(detected=DETECTED))
def cut_to_broker(lab: Lab) -> None:
    """Case 19: what the nodes send is lost."""
    lab.start()
    with lab.fault():
        lab.cables.drop("in")
        pause(CUT)
        lab.cables.heal()
    pause(AFTER)


def _only_one(lab: Lab, histories: Sequence[History], found: Figures) -> Iterator[str]:
    if lab.base and found.rebuilds == 0:
        yield "the node that was cut off made no new link"


@scenario("cut-from-broker", look=_only_one, expect=Expected(detected=DETECTED, noticed="some"))
def cut_from_broker(lab: Lab) -> None:
    """Case 20: one node hears nothing, and could still be heard; in the plain lab all of them."""
    lab.start()
    with lab.fault():
        if lab.base:
            lab.full.drop("out", node="c")
        else:
            lab.between.drop("out")
        pause(CUT)
        lab.cables.heal()
    pause(AFTER)


# Zenoh connects anew by itself, within a moment.
@scenario("reset", proxied=True, expect=Expected(recovered=2.0, noticed="maybe"))
def reset(lab: Lab) -> None:
    """Case 21."""
    lab.start()
    with lab.fault():
        lab.between.reset()
    pause(AFTER)


@scenario("refuse", expect=Expected(lines=LINES_A_MINUTE))
def refuse(lab: Lab) -> None:
    """Case 22: connections are reset and new ones refused."""
    lab.start()
    with lab.fault():
        lab.cables.reject()
        pause(5)
        lab.idle(13)
        pause(2)
        lab.cables.heal()
    pause(AFTER)


def _soon_ready(lab: Lab, histories: Sequence[History], found: Figures) -> Iterator[str]:
    for history in histories:
        after = ready_after(history)
        # The connection, and the proof of it.
        if after is None or after > CONNECT + 3:
            yield f"{history.node} was READY after {after} s, allowed are {CONNECT + 3:g}"


def _three(lab: Lab, *first: int) -> str:
    """The URL of the broker with two other addresses before it."""
    scheme, _, rest = lab.broker.url.partition("://")
    more = ",".join(f"127.0.0.1:{port}" for port in first)
    return f"{scheme}://{more},{rest.partition(',')[0]}"


@scenario("dead-address", look=_soon_ready, expect=Expected(noticed="maybe", recovered=30))
def dead_address(lab: Lab) -> None:
    """Case 23: the first of three addresses swallows what is sent to it, the second one refuses."""
    hole, refused = free_port(), free_port()
    lab.full.drop("in", port=hole)
    lab.start(coordinator=_three(lab, hole, refused), meet=False)
    with lab.fault():
        pass
    lab.crew.meet()
    lab.go()
    pause(AFTER)


@scenario("silent-address", look=_soon_ready, expect=Expected(noticed="maybe", recovered=30))
def silent_address(lab: Lab) -> None:
    """Case 24: at the first address somebody accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        lab.start(coordinator=_three(lab, silent.getsockname()[1], free_port()), meet=False)
        with lab.fault():
            pass
        lab.crew.meet()
        lab.go()
        pause(AFTER)


@scenario("delay", proxied=True, expect=Expected(noticed="never"))
def delay(lab: Lab) -> None:
    """Case 25: each way takes 100 to 200 ms; the load goes on as before."""
    lab.start()
    with lab.fault():
        late = Toxics(delay=0.1, jitter=0.1)
        lab.between.set(up=late, down=late)
        pause(12)
        lab.between.heal()
    pause(AFTER)


@scenario("slow", expect=Expected(noticed="maybe", told=True, rebuilds=0))
def slow(lab: Lab) -> None:
    """Case 26: each node gets 32 kB/s, less than the load; the log is too small for what waits."""
    # A Zenoh router drops heartbeats with the rest: with more it makes links anew.
    lab.start(rate=700 if lab.system == "zenoh" else 1_000, limits={"log_events": 3_000})
    with lab.fault():
        lab.full.limit(SLOW, "abc")
        pause(30)
        lab.cables.heal()
    pause(AFTER)


def _all_heard(lab: Lab, histories: Sequence[History], found: Figures) -> Iterator[str]:
    """Something was lost, but no heartbeat for so long that somebody was taken for dead."""
    # A Zenoh session takes everything at once: the log holds no more than is needed, and all comes, late.
    if not found.told and lab.system != "zenoh":
        yield "nothing was lost: the line carried the whole load"
    for history in histories:
        loaded = max(line.at for line in history.lines if isinstance(line, Published))
        for line in history.lines:
            # After the load they say goodbye.
            if isinstance(line, Changed) and line.change != "Up" and line.at <= loaded:
                yield f"{history.node} was told {line.change} of {line.node}"


# A PONG says nothing of what waits for the receivers (docs/servers.md): who publishes alone for a while fills
# the line of the others until no proof comes through in time.
@scenario(
    "slow-shared-nats",
    proxied=True,
    look=_all_heard,
    expect=Expected(noticed="maybe", told=True, rebuilds=2, usual=PUBLISH_USUAL),
)
@scenario(
    "slow-shared",
    proxied=True,
    look=_all_heard,
    expect=Expected(noticed="maybe", told=True, rebuilds=0, usual=PUBLISH_USUAL),
)
def slow_shared(lab: Lab) -> None:
    """Case 26, shared: one line carries what all nodes send, and one what they are sent, 32 kB/s each."""
    lab.start(rate=1_000, limits={"log_events": 3_000})
    with lab.fault():
        before = lab.between.carried
        lab.between.set(up=Toxics(rate=Line(SLOW)), down=Toxics(rate=Line(SLOW)))
        pause(SHARED)
        down = lab.between.carried[1] - before[1]
        lab.between.heal()
        # Read by the proxies, who hold a little of it.
        if not 0.8 < down / (SLOW * SHARED) < 1.2:
            lab.noted.append(f"{down} bytes came from the broker, the line carries {SLOW * SHARED:.0f}")
    pause(AFTER)


@scenario("lossy", expect=Expected(noticed="maybe"))
def lossy(lab: Lab) -> None:
    """Case 27: of the packets to the broker 30 of 100 are lost."""
    lab.start()
    with lab.fault():
        lab.full.drop("in", percent=30)
        pause(20)
        lab.cables.heal()
    pause(AFTER)


@scenario("slices", proxied=True, expect=Expected(noticed="maybe"))
def slices(lab: Lab) -> None:
    """Case 28: every byte comes alone."""
    lab.start(rate=50)
    with lab.fault():
        alone = Toxics(slice=1)
        lab.between.set(up=alone, down=alone)
        pause(8)
        lab.between.heal()
    pause(AFTER)


@scenario("torn", proxied=True)
def torn(lab: Lab) -> None:
    """Case 29: each connection is cut after so many bytes, in the middle of whatever it is."""
    lab.start()
    with lab.fault():
        for limit in (1, 13, 47, 101, 333, 1_009, 4_099, 9_973):
            for way in ("up", "down"):
                lab.between.set(**{way: Toxics(limit=limit)})
                pause(0.5)
        lab.between.heal()
    pause(AFTER)


@scenario("bridge", expect=Expected(noticed="never", told=True))
def bridge(lab: Lab) -> None:
    """Case 30: three peers without a router; a and c both hear b, and for a while c does not hear a."""
    port = free_port()
    listens = {name: f"tcp/{address(name)}:{port}" for name in "abc"}
    setups = {
        name: {
            "@type": "Zenoh",
            "config": f'{{mode: "peer", listen: {{endpoints: ["{own}"]}}, '
            f"connect: {{endpoints: {[at for other, at in listens.items() if other < name]}}}}}",
        }
        for name, own in listens.items()
    }
    lab.start_apart(setups)
    inside = beside(lab.namespaces, "c")
    with lab.fault():
        rule = f"chain input {{\n type filter hook input priority 0;\n ip saddr {address('a')} drop\n}}"
        run(*inside, "nft", "-f", "-", text=f"table inet faults {{\n{rule}\n}}")
        pause(15)
        run(*inside, "nft", "delete", "table", "inet", "faults")
    pause(AFTER)


def _by_name(kind: str, folder: Path) -> Broker:
    if kind != "kafka":
        return start_own(kind, folder)
    port = free_port()
    return announcing(f"broker.test:{port}", folder, port)


# Until the old address is given up, and then to find the new one.
@scenario("moved", broker=_by_name, expect=Expected(recovered=2 * RECOVER))
def moved(lab: Lab) -> None:
    """Case 31: the name of the broker gets another address, and the old one is dead."""
    ports = getattr(lab.broker, "ports", {})
    port = ports["LAB"] if ports else int(lab.broker.url.rpartition(":")[2].partition("?")[0])
    hosts = names(lab.namespaces)
    lab.start(coordinator=f"{lab.broker.url.partition('://')[0]}://broker.test:{port}")
    with lab.fault():
        lab.full.drop_address()
        # In place: it is mounted over another file.
        with hosts.open("r+") as file:
            file.write("127.0.0.1 localhost\n127.0.0.2 broker.test\n")
            file.truncate()
    pause(14)


@scenario("link-down", expect=Expected(lines=LINES_A_MINUTE))
def link_down(lab: Lab) -> None:
    """Case 33: the network is not there for 90 s; most of the time nobody publishes."""
    lab.start()
    with lab.fault():
        lab.full.down()
        pause(10)
        lab.idle(75)
        pause(5)
        lab.cables.heal()
    pause(AFTER)


@scenario("etimedout")
def etimedout(lab: Lab) -> None:
    """Case 34: the kernel gives the connection up (ETIMEDOUT) before anybody else notices."""
    for name in "abc":
        run(*beside(lab.namespaces, name), "sysctl", "-qw", "net.ipv4.tcp_retries2=2")
    lab.start()
    with lab.fault():
        lab.full.drop("in", "out")
        pause(CUT)
        lab.cables.heal()
    pause(AFTER)


@scenario("late-pong", expect=Expected(noticed="maybe", rebuilds=1))
def late_pong(lab: Lab) -> None:
    """Case 35: the answer to a probe comes after it was given up; others are heard all the same."""
    lab.start()
    with lab.fault():
        lab.broker.pause()
        try:
            pause(4)
        finally:
            lab.broker.resume()
    pause(AFTER)
