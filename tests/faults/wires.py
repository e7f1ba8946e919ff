"""A network of its own for one cell: the broker's namespace, one for each node, a bridge between them.

    with Wires("abc") as wires:                 # root, Linux, iproute2 and nftables; else Unavailable
        wires.inside                            # argv before the program that runs beside the broker
        beside(wires.base, "a")                 # argv before the program that is node a

Programs keep their addresses: what a node sends to 127.0.0.1 goes over its cable to the broker's 127.0.0.1,
so that servers may announce themselves as they always do. The faults are in `cables`, for who is inside. What
a killed run left is removed by the next one.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bus.testing.brokers import Unavailable

_PREFIX = "bus-faults"
_FOLDER = Path("/run/netns")
_numbers = itertools.count()
BRIDGE = "br0"
NETWORK = "10.77.0"
SERVER = f"{NETWORK}.1"
# So that tests of moved addresses have a second one.
SECOND = f"{NETWORK}.2"

_OF_THE_SERVER = f"""
table ip bus {{
    chain arrive {{
        type nat hook prerouting priority -100;
        iifname "{BRIDGE}" ip daddr {{ {SERVER}, {SECOND} }} tcp dport 1024-65535 dnat to 127.0.0.1
    }}
}}
"""
_OF_A_NODE = f"""
table ip bus {{
    chain leave {{
        type nat hook output priority -100;
        ip daddr 127.0.0.1 tcp dport 1024-65535 dnat to {SERVER}
        ip daddr 127.0.0.2 tcp dport 1024-65535 dnat to {SECOND}
    }}
    chain mask {{
        type nat hook postrouting priority 100;
        oifname "cable" masquerade
    }}
}}
"""
_SETTINGS = (
    "net.ipv4.conf.all.route_localnet=1",
    # After a cut the numbers of a connection are far apart.
    "net.netfilter.nf_conntrack_tcp_be_liberal=1",
)


def address(node: str) -> str:
    """Of a node, in the network of its cell."""
    return f"{NETWORK}.{10 + ord(node) - ord('a')}"


def beside(base: str, node: str) -> list[str]:
    """What stands before the command of a node; for `Wires.base`."""
    return ["ip", "netns", "exec", f"{base}-{node}"]


def names(base: str) -> Path:
    """The file of names that the nodes read as /etc/hosts."""
    return Path("/etc/netns") / f"{base}.hosts"


def missing() -> str:
    """What is missing here for networks of our own; empty when they can be had."""
    if os.geteuid() != 0:
        return "root"
    programs = [name for name in ("ip", "nft", "tc") if shutil.which(name) is None]
    return f"the programs {', '.join(programs)} (iproute2, nftables)" if programs else ""


def run(*argv: str, text: str | None = None) -> None:
    """One command. Raises RuntimeError with what it said."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


class Wires:
    """Works while it is entered. `nodes`: their names, one letter each."""

    def __init__(self, nodes: str) -> None:
        if lack := missing():
            raise Unavailable(f"a network of its own needs {lack}")
        self._nodes = nodes
        self.base = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}"

    @property
    def inside(self) -> list[str]:
        """What stands before the command of the cell: it and its broker live there."""
        return ["ip", "netns", "exec", self.base]

    def __enter__(self) -> Self:
        _sweep()
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _build(self) -> None:
        hosts = names(self.base)
        hosts.parent.mkdir(parents=True, exist_ok=True)
        hosts.write_text("127.0.0.1 localhost broker.test\n")
        run("ip", "netns", "add", self.base)
        self._in_server("ip", "link", "set", "lo", "up")
        self._in_server("ip", "link", "add", BRIDGE, "type", "bridge")
        for own in (SERVER, SECOND):
            self._in_server("ip", "addr", "add", f"{own}/24", "dev", BRIDGE)
        self._in_server("ip", "link", "set", BRIDGE, "up")
        self._in_server("nft", "-f", "-", text=_OF_THE_SERVER)
        self._in_server("sysctl", "-qw", *_SETTINGS)
        for node in self._nodes:
            self._connect(node)

    def _connect(self, node: str) -> None:
        name = f"{self.base}-{node}"
        run("ip", "netns", "add", name)
        # `ip netns exec` puts what is in this folder over what is in /etc.
        folder = Path("/etc/netns") / name
        folder.mkdir()
        os.link(names(self.base), folder / "hosts")
        port = f"port-{node}"
        inside = beside(self.base, node)
        run(*inside, "ip", "link", "set", "lo", "up")
        run(
            "ip",
            "-n",
            self.base,
            "link",
            "add",
            port,
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            name,
        )
        self._in_server("ip", "link", "set", port, "master", BRIDGE, "up")
        run(*inside, "ip", "addr", "add", f"{address(node)}/24", "dev", "cable")
        run(*inside, "ip", "link", "set", "cable", "up")
        run(*inside, "nft", "-f", "-", text=_OF_A_NODE)
        run(*inside, "sysctl", "-qw", *_SETTINGS)

    def _in_server(self, *argv: str, text: str | None = None) -> None:
        run(*self.inside, *argv, text=text)

    def _remove(self) -> None:
        _remove([self.base, *(f"{self.base}-{node}" for node in self._nodes)])


def _remove(names: Sequence[str]) -> None:
    for name in names:
        if (_FOLDER / name).exists():
            run("ip", "netns", "del", name)
        shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)
        (Path("/etc/netns") / f"{name}.hosts").unlink(missing_ok=True)
    with suppress(OSError):  # others are there
        Path("/etc/netns").rmdir()


def _sweep() -> None:
    """Remove the namespaces of runs that do not live any more."""
    dead = [
        path.name
        for path in _FOLDER.glob(f"{_PREFIX}-*")
        if not Path("/proc", path.name.removeprefix(f"{_PREFIX}-").partition("-")[0]).exists()
    ]
    _remove(dead)
