"""A Zenoh router in a process of its own: there is no zenohd in packages, but the library can be one.

The program is `python -m bus.testing.brokers.zenoh_router`.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bus.testing.brokers.broker import Unavailable
from bus.testing.brokers.local import LocalBroker
from bus.testing.brokers.process import accepts, free_port, own_path

if TYPE_CHECKING:
    from pathlib import Path

# The message with which each side opens a session.
_INIT = 0x01


class ZenohRouter(LocalBroker):
    """One router at a port of 127.0.0.1 that stays the same over restarts; it looks for nobody.

    options    more of the session's configuration: {"transport": {"auth": ...}}
    start      False: it runs only from `start()` on

    Raises Unavailable without the package eclipse-zenoh, StartError when it does not start.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        options: Mapping[str, object] | None = None,
        start: bool = True,
    ) -> None:
        if importlib.util.find_spec("zenoh") is None:
            raise Unavailable("there is no Zenoh: pip install 'coordinator-bus[zenoh]'")
        super().__init__("zenoh", folder)
        self.port: int = port or free_port()
        config = self.folder / "zenoh.json5"
        config.write_text(json.dumps(router_config(f"127.0.0.1:{self.port}", options)))
        argv = [sys.executable, "-m", "bus.testing.brokers.zenoh_router", str(config)]
        self.add("zenoh", argv, lambda: accepts("127.0.0.1", self.port), env=own_path())
        if start:
            self.start()

    @property
    def url(self) -> str:
        """For a client of the router; `address` serves as an endpoint of a configuration of your own."""
        return f"zenoh://127.0.0.1:{self.port}?mode=client"

    @property
    def address(self) -> str:
        """The endpoint: tcp/127.0.0.1:port."""
        return f"tcp/127.0.0.1:{self.port}"


def router_config(listen: str, options: Mapping[str, object] | None = None) -> dict[str, object]:
    """The configuration of a router that only listens, at host:port."""
    return {
        "mode": "router",
        "listen": {"endpoints": [f"tcp/{listen}"]},
        "scouting": {"multicast": {"enabled": False}},
        **(options or {}),
    }


def shakes_hands(port: int) -> bool:
    """Whether a router there, that demands nothing, takes up a session: it acknowledges our INIT."""
    # Version 9 of the protocol; then, that we are a client whose id has one byte, and the id.
    init = bytes([_INIT, 9, 2, 1])
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as one:
            one.sendall(len(init).to_bytes(2, "little") + init)
            reply = one.recv(3)
    except OSError:
        return False
    return len(reply) == 3 and reply[2] & 0x1F == _INIT
