"""`--wait`: for another change that is under way, and until a node runs on what is stored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar, cast

from bus.cli.failure import TIMEOUT, UNREACHABLE, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.cli.client import Client, Json

T = TypeVar("T")

AGAIN = 0.5


def patiently(do: Callable[[], T], deadline: float) -> T:
    """Do it, again while the server is busy with somebody else's change. Raises Failure."""
    while True:
        try:
            return do()
        except Failure as error:
            if error.kind != "serverUnavailable" or time.monotonic() >= deadline:
                raise
        time.sleep(AGAIN)


def until_ready(client: Client, deadline: float) -> None:
    """Return when its link is proven and is the one that is stored. Raises Failure."""
    told = "it says nothing"
    while True:
        try:
            health = client.health()
        except Failure as error:
            # It may be starting anew.
            if error.code not in (UNREACHABLE, TIMEOUT):
                raise
            told = error.message
        else:
            if health["status"] == "pass":
                return
            told = _failing(health)
        if time.monotonic() >= deadline:
            raise Failure(
                TIMEOUT,
                "timeout",
                f"{client.target.url} does not run on what is stored yet: {told}",
                "it goes on trying; bus doctor says more, bus rollback goes back",
            )
        time.sleep(AGAIN)


def _failing(health: Json) -> str:
    checks = cast("dict[str, Json]", health.get("checks") or {})
    found = [str(one.get("output")) for one in checks.values() if one.get("status") == "fail"]
    return "; ".join(found) or "it is not ready"
