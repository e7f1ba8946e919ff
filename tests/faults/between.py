"""Proxies in front of a broker: in the lab one for each of its ports, else one by its URL.

They do what only a proxy can: delay, slices, resets in the middle of a frame, silence. `hold` stands for lost
packets: TCP sends these again until they come through, so that a cut that ends loses nothing either.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bus.testing.proxy import Proxy, Toxics
from tests.faults.cables import Cables, Way

_LOWEST = 1024


class Between:
    """Several proxies as one."""

    def __init__(self, proxies: Sequence[Proxy]) -> None:
        self.proxies = proxies

    def set(self, *, up: Toxics | None = None, down: Toxics | None = None) -> None:
        """What happens from the nodes to the broker, and back; None: nothing."""
        for proxy in self.proxies:
            proxy.up, proxy.down = up or Toxics(), down or Toxics()

    def drop(self, *ways: Way) -> None:
        """What goes these ways does not arrive until `heal`."""
        hold = Toxics(hold=True)
        self.set(up=hold if "in" in ways else None, down=hold if "out" in ways else None)

    def reset(self) -> None:
        """RST on every open connection."""
        self._all(Proxy.reset)

    def reject(self) -> None:
        """Connections are reset and new ones are refused."""
        self._all(Proxy.refuse)
        self._all(Proxy.reset)

    def heal(self) -> None:
        """As it was."""
        self._all(Proxy.heal)

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes that came from the nodes so far, and from the broker."""
        return sum(one.bytes_up for one in self.proxies), sum(one.bytes_down for one in self.proxies)

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return sum(proxy.open_connections for proxy in self.proxies)

    def _all(self, call: Callable[[Proxy], None]) -> None:
        for proxy in self.proxies:
            call(proxy)


def redirected(cables: Cables, stack: ExitStack) -> Between:
    """One in front of each port that listens here; what nodes connect to from now on goes through it."""
    proxies: list[Proxy] = []
    for port in listening():
        proxy = stack.enter_context(Proxy(("127.0.0.1", port)))
        cables.redirect(port, proxy.port)
        proxies.append(proxy)
    return Between(proxies)


def listening() -> set[int]:
    """The TCP ports of this namespace at which somebody listens."""
    out = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    ports = {int(line.split()[3].rpartition(":")[2]) for line in out.splitlines()}
    return {port for port in ports if port >= _LOWEST}
