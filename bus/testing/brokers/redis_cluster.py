"""A Redis or Valkey cluster of six on this machine: three masters that share the slots, a replica of each.

    with RedisCluster() as cluster:
        killed = cluster.kill_master("bus.default")
        ...
        killed.restart()

The nodes start with the whole topology in their nodes.conf. (redis-cli does not come with every server, and a
cluster that is put together by CLUSTER MEET takes three times as long.)
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from bus.testing.brokers.local import LocalBroker
from bus.testing.brokers.process import StartError, free_port, until
from bus.testing.brokers.redis import Flavour, RedisServer
from bus.testing.brokers.resp import Address, Reply, ReplyError, ask, slot_of

if TYPE_CHECKING:
    from pathlib import Path

    from bus.testing.brokers.certificates import Identity

SLOTS = 16_384
MASTERS = 3
_SETTLE = 30.0


class RedisCluster(LocalBroker):
    """Six nodes; the processes are those of `nodes`, of which each can be killed and restarted by itself.

    `node_timeout`: milliseconds of silence after which a master counts as failed, and a replica of it is
    elected: about one second more. `options`: more words of each node's command line.

    A restart of the whole cluster keeps its roles. Raises Unavailable, StartError.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        flavour: Flavour = "redis",
        password: str | None = None,
        users: Mapping[str, str] | None = None,
        tls: Identity | None = None,
        node_timeout: int = 2000,
        options: Sequence[str | int | Path] = (),
    ) -> None:
        super().__init__("cluster", folder)
        self.nodes: list[RedisServer] = []
        self._password = password
        self._scheme = "redis+cluster" if tls is None else "rediss+cluster"
        # The usual ones are 10,000 higher: among the ports that the kernel gives to clients.
        buses = [free_port() for _ in range(2 * MASTERS)]
        try:
            for bus in buses:
                words = [
                    *("--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout)),
                    *("--cluster-port", str(bus), "--cluster-announce-ip", "127.0.0.1"),
                ]
                node = RedisServer(
                    self.folder,
                    flavour=flavour,
                    password=password,
                    users=users,
                    tls=tls,
                    options=[*words, *options],
                    start=False,
                )
                self.nodes.append(node)
                self.adopt(node)
            for node, known in zip(
                self.nodes, topology([one.port for one in self.nodes], buses), strict=True
            ):
                (node.folder / "nodes.conf").write_text(known)
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """With three of the six nodes."""
        login = "" if self._password is None else f":{quote(self._password, safe='')}@"
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:MASTERS])
        return f"{self._scheme}://{login}{hosts}"

    @property
    def urls(self) -> list[str]:
        """One URL for each node."""
        return [node.url for node in self.nodes]

    def master_of(self, slot: int | str) -> RedisServer:
        """The node that now serves a slot, or the slot of a key or channel.

        Raises StartError when no running node knows one.
        """
        wanted = slot_of(slot) if isinstance(slot, str) else slot
        for asked in self._running():
            try:
                shares = cast("list[list[list[Reply]]]", asked.ask("CLUSTER", "SLOTS"))
            except (OSError, ReplyError):
                continue
            for first, last, master, *_ in cast("list[tuple[int, int, list[Reply]]]", shares):
                if first <= wanted <= last:
                    return next(node for node in self.nodes if node.port == master[1])
        raise StartError(f"no node of the cluster serves slot {wanted}")

    def kill_master(self, slot: int | str = 0) -> RedisServer:
        """SIGKILL the master of a slot, key or channel; returns it. `settle` then waits for the failover."""
        master = self.master_of(slot)
        master.kill()
        return master

    def settle(self) -> None:
        """Wait until every running node says that the cluster serves all slots.

        A node that was killed is not missed: its replica has taken over. Raises StartError after 30 s.
        """
        until(
            self._is_settled, _SETTLE, lambda: f"the cluster is not ok after {_SETTLE:g} s:\n{self._states()}"
        )

    def _running(self) -> list[RedisServer]:
        return [node for node in self.nodes if node.processes[0].is_running]

    def _is_settled(self) -> bool:
        running = self._running()
        alive = {node.port for node in running}
        try:
            return all(sees_all_served(node.address, alive) for node in running)
        except (OSError, ReplyError):
            return False

    def _states(self) -> str:
        """What each running node says about the cluster; its error when it does not."""
        states: list[str] = []
        for node in self._running():
            try:
                states.append(f"{node.ask('CLUSTER', 'INFO')}\n{node.ask('CLUSTER', 'NODES')}")
            except (OSError, ReplyError) as error:
                states.append(repr(error))
        return "\n".join(states)


def topology(ports: Sequence[int], buses: Sequence[int]) -> list[str]:
    """For each node its nodes.conf: who all are, and who serves which slots. The masters come first."""
    ids = [secrets.token_hex(20) for _ in ports]
    share = SLOTS // MASTERS + 1
    lines: list[tuple[str, str]] = []
    for number, (name, port, bus) in enumerate(zip(ids, ports, buses, strict=True)):
        first, last = number * share, min((number + 1) * share, SLOTS) - 1
        # Different epochs: masters of the same one would first have to settle on others.
        state = f"0 0 {number % MASTERS + 1} connected"
        rest = f"slave {ids[number - MASTERS]} {state}"
        if number < MASTERS:
            rest = f"master - {state} {first}-{last}"
        lines.append((f"{name} 127.0.0.1:{port}@{bus}", rest))
    return [
        "".join(f"{where} {'myself,' if where.startswith(own) else ''}{rest}\n" for where, rest in lines)
        + f"vars currentEpoch {MASTERS} lastVoteEpoch 0\n"
        for own in ids
    ]


def sees_all_served(node: Address, alive: set[int]) -> bool:
    """Whether a node holds all slots for served, by masters at these ports; and, a replica, has its data.

    Raises OSError, ReplyError.
    """
    info = str(ask(node, "CLUSTER", "INFO"))
    shares = cast("list[list[Reply]]", ask(node, "CLUSTER", "SLOTS"))
    masters = {cast("list[int]", share[2])[1] for share in shares}
    replication = str(ask(node, "INFO", "replication"))
    # A master whose death nobody has noticed yet still serves, by the word of the others.
    is_served = "cluster_state:ok" in info and f"cluster_slots_ok:{SLOTS}" in info and masters <= alive
    return is_served and ("role:master" in replication or "master_link_status:up" in replication)
