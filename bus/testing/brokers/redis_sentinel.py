"""A Redis or Valkey master with two replicas, and three sentinels that agree by two on who is the master.

with RedisSentinel() as sentinel:
    killed = sentinel.kill_master()     # noticed after a second, replaced in about two more
    killed.restart()                    # comes back as a replica
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from bus.testing.brokers.local import LocalBroker
from bus.testing.brokers.process import StartError, free_port, until
from bus.testing.brokers.redis import (
    Flavour,
    RedisServer,
    Setting,
    client_context,
    listens,
    redis_program,
    write_settings,
)
from bus.testing.brokers.resp import Address, ReplyError, answers, ask

if TYPE_CHECKING:
    from pathlib import Path

    from bus.testing.brokers.certificates import Identity

SENTINELS = 3
_SETTLE = 30.0


class RedisSentinel(LocalBroker):
    """Six processes: those of `nodes` (each can be killed and restarted by itself), and the sentinels.

    name               of the master, as the sentinels know it
    password           of the servers; sentinel_password: of the sentinels
    down_after         milliseconds of silence after which a sentinel holds a master for dead
    failover_timeout   milliseconds that a failover may take; after twice of it a failed one is tried again
    options            more words of the servers' command lines

    Raises Unavailable, StartError.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        flavour: Flavour = "redis",
        name: str = "mymaster",
        password: str | None = None,
        users: Mapping[str, str] | None = None,
        sentinel_password: str | None = None,
        tls: Identity | None = None,
        down_after: int = 1000,
        failover_timeout: int = 2000,
        options: Sequence[str | int | Path] = (),
    ) -> None:
        super().__init__("sentinel", folder)
        self.name = name
        self.nodes: list[RedisServer] = []
        self.sentinels: list[Address] = []
        self._password = password
        self._scheme = "redis+sentinel" if tls is None else "rediss+sentinel"
        try:
            for _ in range(3):
                node = RedisServer(
                    self.folder,
                    flavour=flavour,
                    password=password,
                    users=users,
                    tls=tls,
                    replica_of=self.nodes[0] if self.nodes else None,
                    options=options,
                    start=False,
                )
                self.nodes.append(node)
                self.adopt(node)
            watch: list[Setting] = [
                ("sentinel", "monitor", name, "127.0.0.1", self.nodes[0].port, SENTINELS // 2 + 1),
                ("sentinel", "down-after-milliseconds", name, down_after),
                ("sentinel", "failover-timeout", name, failover_timeout),
            ]
            if password is not None:
                watch.append(("sentinel", "auth-pass", name, password))
            if sentinel_password is not None:
                watch.append(("requirepass", sentinel_password))
            for number in range(SENTINELS):
                self._add_sentinel(number, flavour, watch, sentinel_password, tls)
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The sentinels, the servers' password, the name of the master; `sentinel_password` is not in it."""
        login = "" if self._password is None else f":{quote(self._password, safe='')}@"
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"{self._scheme}://{login}{hosts}/{self.name}"

    @property
    def urls(self) -> list[str]:
        """One URL for each sentinel."""
        scheme = self._scheme.partition("+")[0]
        return [f"{scheme}://127.0.0.1:{one.port}" for one in self.sentinels]

    @property
    def master(self) -> RedisServer:
        """Whom most of the running sentinels name. Raises StartError while they do not agree."""
        named = [port for port in map(self._named_by, self.sentinels) if port is not None]
        for node in self.nodes:
            if named.count(node.port) > SENTINELS // 2:
                return node
        raise StartError(f"the sentinels do not agree on a master: {named}")

    def kill_master(self) -> RedisServer:
        """SIGKILL the master; returns it. `settle` then waits for the failover."""
        master = self.master
        master.kill()
        return master

    def failover(self) -> None:
        """Have a replica made master although the master lives, and wait until all agree on it."""
        before = self.master
        ask(self.sentinels[0], "SENTINEL", "FAILOVER", self.name)

        def is_over() -> bool:
            try:
                return self.master is not before and self._is_settled()
            except StartError:
                return False

        until(is_over, _SETTLE, lambda: f"no failover after {_SETTLE:g} s:\n{self.logs()}")

    def settle(self) -> None:
        """Wait until the sentinels name a live master, and know each other and a live replica.

        Raises StartError after 30 s.
        """
        until(self._is_settled, _SETTLE, lambda: f"no agreed master after {_SETTLE:g} s:\n{self.logs()}")

    def _add_sentinel(
        self,
        number: int,
        flavour: Flavour,
        watch: Sequence[Setting],
        password: str | None,
        tls: Identity | None,
    ) -> None:
        port = free_port()
        address = Address(port, password=password, tls=client_context(tls))
        listen = listens(port, tls, client_certificates=False)
        file = self.folder / f"sentinel-{number}.conf"
        write_settings(file, [("bind", "127.0.0.1"), ("protected-mode", "no"), *listen, *watch])
        argv = (redis_program(flavour, tls), file, "--sentinel")
        self.add(f"sentinel-{number}", argv, lambda: answers(address))
        self.sentinels.append(address)

    def _named_by(self, sentinel: Address) -> int | None:
        """The port of the master, by the word of one sentinel."""
        try:
            reply = ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        except (OSError, ReplyError):
            return None
        return int(str(reply[1])) if isinstance(reply, list) else None

    def _is_settled(self) -> bool:
        try:
            master = self.master
            if master.role != "master":
                return False
            if not all(agrees(sentinel, self.name) for sentinel in self.sentinels):
                return False
            return "state=online" in str(master.ask("INFO", "replication"))
        except (OSError, ReplyError, StartError):
            return False


def agrees(sentinel: Address, name: str) -> bool:
    """Whether a sentinel holds the master for alive, and knows a replica and the other sentinels.

    Raises OSError, ReplyError.
    """
    fields = cast("list[str]", ask(sentinel, "SENTINEL", "MASTER", name))
    seen = dict(zip(fields[::2], fields[1::2], strict=True))
    # The flags say what it thinks now: "master", or "master,s_down".
    others = int(seen["num-other-sentinels"])
    return seen["flags"] == "master" and others == SENTINELS - 1 and int(seen["num-slaves"]) > 0
