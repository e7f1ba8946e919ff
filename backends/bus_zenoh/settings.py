"""The configuration of a zenoh session: the user's JSON5 text, and safe values where it is silent.

With zenoh's defaults every zenoh process of the LAN joins (multicast), bursts are lost in shared
memory (T18), a frozen peer holds `close` for 10 s, and one message may have 1 GiB. A value that
the text gives is never changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bus.errors import ConfigError

if TYPE_CHECKING:
    import zenoh

_DROP = "transport/link/tx/queue/congestion_control/drop"
SAFE: Mapping[str, object] = {
    "adminspace/enabled": False,
    "scouting/multicast/enabled": False,
    "transport/shared_memory/enabled": False,
    "transport/link/tx/lease": 6000,
    "transport/link/rx/max_message_size": 16 << 20,
    # Microseconds that `put` may hold the event loop before it drops (T17); the second is for
    # frames of more than one batch. With less, a busy machine loses frames to healthy peers.
    f"{_DROP}/wait_before_drop": 3000,
    f"{_DROP}/max_wait_before_drop_fragments": 10_000,
    # Milliseconds that a frozen process can hold the `open` of a client, and `close`.
    "transport/unicast/open_timeout": 1500,
}
# `open` waits for no peer: one that is frozen would keep us from all others.
SAFE_PEER: Mapping[str, object] = {
    "connect/exit_on_failure": False,
    "connect/timeout_ms": -1,
    "connect/retry": {"period_init_ms": 50, "period_max_ms": 1000, "period_increase_factor": 2},
}
# Of each pair of neighbours the later one has the earlier one's socket: no gossip is needed.
SAFE_LOCAL: Mapping[str, object] = {
    "scouting/gossip/enabled": False,
    "scouting/delay": 100,
    "transport/unicast/open_timeout": 500,
}

_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}\[\]:,]|[^\s{}\[\]:,"'/]+""", re.S
)
_SYNTAX = re.compile(r"\s*--> (\d+):(\d+)\n.*\n\s*= (.*)", re.S)
_NAMES = re.compile(r"(unknown|duplicate|missing|invalid) \w+|Unable to connect")


def session_config(text: str, local: Mapping[str, object] | None = None) -> zenoh.Config:
    """The whole configuration; `local` are the endpoints of a local session. Raises ConfigError."""
    import zenoh

    named = named_keys(text)
    try:
        config = zenoh.Config.from_json5(text)
        safe = dict(SAFE)
        if mode(config) != "client":
            safe |= SAFE_PEER
        if local is not None:
            safe |= {**SAFE_LOCAL, **local}
        for key, value in safe.items():
            if not any(f"{name}/".startswith(f"{key}/") for name in named):
                config.insert_json5(key, json.dumps(value))  # pyright: ignore[reportUnknownMemberType]
    except zenoh.ZError as error:
        raise ConfigError(f"config of Zenoh: {said(error)}") from None
    if local is not None and (mode(config) != "peer" or named.intersection(local)):
        raise ConfigError(
            'config of Zenoh: with "local" the mode is "peer", and listen/endpoints and '
            'connect/endpoints are found by themselves: leave them out, or set "local" to false'
        )
    return config


def mode(config: zenoh.Config) -> str:
    """peer, client or router."""
    return str(json.loads(config.get_json("mode")) or "peer")


def named_keys(text: str) -> set[str]:
    """Every key in a JSON5 text, with its parents: "transport/link/tx/lease".

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
            parents = parents[:-1]
            word = ""
        elif token == ":":
            names.add("/".join([*filter(None, parents), word]))
        elif not token.startswith(("//", "/*", ",")):
            word = token.strip("\"'")
    return names


def said(error: Exception) -> str:
    """zenoh's words, without its source lines and the user's values: one may be a secret."""
    text = re.sub(r" at /\S+:\d+\.", "", str(error))
    if place := _SYNTAX.match(text):
        return f"line {place[1]}, column {place[2]}: {place[3]}"
    text = re.sub(r"^(invalid \w+): .*, (?=expected )", r"\1: ", text, flags=re.S)
    text = re.sub(r"[?#][^\s,\]]*\)", "#****)", text)
    return text if _NAMES.match(text) else text.partition(": ")[0]
