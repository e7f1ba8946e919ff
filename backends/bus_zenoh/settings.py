"""The configuration of one zenoh session: the user's JSON5 text, and safe values where it is silent.

With zenoh's own defaults every zenoh process of the LAN joins (multicast), a burst is lost in shared memory
(T18), a frozen peer holds `close` for 10 s, and a message may have 1 GiB. What the text names stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bus.errors import ConfigError

if TYPE_CHECKING:
    import zenoh

MAX_MESSAGE = 16 << 20

SAFE: Mapping[str, object] = {
    "adminspace/enabled": False,
    "scouting/multicast/enabled": False,
    "transport/shared_memory/enabled": False,
    "transport/link/tx/lease": 6000,
    "transport/link/rx/max_message_size": MAX_MESSAGE,
    # Microseconds that `put` may hold the loop before it drops (T17); fragments are of frames over one batch.
    "transport/link/tx/queue/congestion_control/drop/wait_before_drop": 1000,
    "transport/link/tx/queue/congestion_control/drop/max_wait_before_drop_fragments": 15_000,
    # Milliseconds that a frozen process can hold `open` (a client's) and `close`.
    "transport/unicast/open_timeout": 1500,
}
# `open` waits for no peer: one that is frozen would keep us from all others, and they come back by retries.
SAFE_PEER: Mapping[str, object] = {
    "connect/exit_on_failure": False,
    "connect/timeout_ms": -1,
    "connect/retry": {
        "period_init_ms": 50,
        "period_max_ms": 1000,
        "period_increase_factor": 2,
    },
}
# What `local` sets by itself; nothing listens on a network.
LOCAL = ("listen/endpoints", "connect/endpoints")

_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}\[\]:,]|[^\s{}\[\]:,"'/]+""", re.S
)
_SYNTAX = re.compile(r"\s*--> (\d+):(\d+)\n.*\n\s*= (.*)", re.S)
_NAMES = re.compile(r"(unknown|duplicate|missing|invalid) \w+")


def session_config(text: str, endpoints: tuple[str, list[str]] | None = None) -> zenoh.Config:
    """The whole configuration; `endpoints`: own and others' of a local session. Raises ConfigError."""
    import zenoh

    try:
        config = zenoh.Config.from_json5(text)
        safe = {**SAFE, **(SAFE_PEER if mode(config) != "client" else {})}
        if endpoints is not None:
            safe |= {LOCAL[0]: endpoints[:1], LOCAL[1]: endpoints[1]}
            safe |= {"scouting/gossip/enabled": False, "scouting/delay": 100}
        named = named_keys(text)
        for key, value in safe.items():
            if not any(f"{name}/".startswith(f"{key}/") for name in named):
                config.insert_json5(key, json.dumps(value))
    except zenoh.ZError as error:
        raise ConfigError(f"config of Zenoh: {said(error)}") from None
    if endpoints is not None and (mode(config) != "peer" or named.intersection(LOCAL)):
        raise ConfigError(
            'config of Zenoh: with "local" the mode must be "peer", and listen/endpoints and '
            'connect/endpoints are found by themselves: leave them out, or set "local" to false'
        )
    return config


def mode(config: zenoh.Config) -> str:
    """peer, client or router."""
    return str(json.loads(config.get_json("mode")) or "peer")


def named_keys(text: str) -> set[str]:
    """Every key in a JSON5 text that zenoh accepts, with its parents: "transport/link/tx/lease".

    zenoh itself does not tell a value that was given from one that is its default.
    """
    names: set[str] = set()
    parents: list[str] = []
    word = ""
    for token in _TOKEN.findall(text):
        if token in ("{", "["):
            parents.append(word)
            word = ""
        elif token in ("}", "]"):
            parents.pop()
            word = ""
        elif token == ":":
            names.add("/".join([*filter(None, parents), word]))
        elif not token.startswith(("//", "/*", ",")):
            word = token.strip("\"'")
    return names


def said(error: Exception) -> str:
    """zenoh's text without its own source lines, and without values of the user: one may be a secret."""
    text = re.sub(r" at /\S+:\d+\.", "", str(error))
    if place := _SYNTAX.match(text):
        return f"line {place[1]}, column {place[2]}: {place[3]}"
    text = re.sub(r"^(invalid \w+): .*, (?=expected )", r"\1: ", text, flags=re.S)
    return text if _NAMES.match(text) else text.partition(": ")[0]
