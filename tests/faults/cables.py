"""Faults of the network, done from inside the broker's namespace (see `wires`).

Each fault replaces the one before; `heal` takes it back. `node`: only to and from that one; else all.
"""

from __future__ import annotations

from typing import Literal

from tests.faults.wires import BRIDGE, SERVER, address, run

# From where one looks: what the broker gets, and what it sends.
Way = Literal["in", "out"]

_HOOKS = {"in": ("input", "iifname"), "out": ("output", "oifname")}


class Cables:
    """All cables between the broker and the nodes."""

    _limited = ""

    def drop(self, *ways: Way, node: str | None = None, port: int | None = None, percent: int = 100) -> None:
        """Packets vanish: of both ways or of one, all or some of them, to a port of the broker or any."""
        chance = f"numgen random mod 100 < {percent} " if percent < 100 else ""
        self._rules({way: f"{self._of(way, node, port)} {chance}drop" for way in ways})

    def drop_address(self) -> None:
        """Nothing arrives any more that was sent to the first of the broker's two addresses."""
        own = f"iifname {BRIDGE} ct original ip daddr {SERVER} drop"
        self._rules({"in": own})

    def reject(self) -> None:
        """Connections are reset and new ones are refused."""
        self.heal()
        # Before the address is translated: a reset from 127.0.0.1 would not find its way back.
        rule = f"iifname {BRIDGE} meta l4proto tcp reject with tcp reset"
        self._load(f"chain arrive {{\n type filter hook prerouting priority -150;\n {rule}\n}}")

    def limit(self, rate: int, nodes: str) -> None:
        """So many bytes a second from the broker to each node; a queue holds 400 ms and drops the rest."""
        self.heal()
        shape = f"tbf rate {8 * rate}bit burst 4kb latency 400ms".split()
        for node in nodes:
            run("tc", "qdisc", "replace", "dev", f"port-{node}", "root", *shape)
        self._limited = nodes

    def down(self) -> None:
        """No link: the broker's network is not there."""
        self.heal()
        run("ip", "link", "set", BRIDGE, "down")

    def heal(self) -> None:
        """As it was."""
        run("nft", "add", "table", "inet", "faults")
        run("nft", "delete", "table", "inet", "faults")
        run("ip", "link", "set", BRIDGE, "up")
        for node in self._limited:
            run("tc", "qdisc", "del", "dev", f"port-{node}", "root")
        self._limited = ""

    def redirect(self, port: int, to: int) -> None:
        """New connections to a port of the broker go to another one: that of a proxy. `heal` leaves it."""
        rule = f"iifname {BRIDGE} tcp dport {port} dnat to 127.0.0.1:{to}"
        run("nft", "insert", "rule", "ip", "bus", "arrive", *rule.split())

    def _of(self, way: Way, node: str | None, port: int | None) -> str:
        _, interface = _HOOKS[way]
        end, side = ("saddr", "dport") if way == "in" else ("daddr", "sport")
        whose = "" if node is None else f" ip {end} {address(node)}"
        which = "" if port is None else f" tcp {side} {port}"
        return f"{interface} {BRIDGE}{whose}{which}"

    def _rules(self, rules: dict[Way, str]) -> None:
        self.heal()
        for way, rule in rules.items():
            hook, _ = _HOOKS[way]
            self._load(f"chain {hook} {{\n type filter hook {hook} priority 0;\n {rule}\n}}")

    def _load(self, chain: str) -> None:
        run("nft", "-f", "-", text=f"table inet faults {{\n{chain}\n}}")
