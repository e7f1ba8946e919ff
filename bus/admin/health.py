"""Is the process alive, and is the node any use? For probes, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bus.admin.cutover import Cutover
    from bus.admin.jmap.ijson import JsonObject


def live() -> JsonObject:
    """The event loop runs, or this would not be said."""
    return {"status": "pass"}


def ready(cutover: Cutover, *, with_details: bool) -> tuple[bool, JsonObject]:
    """A link is proven (or none is wanted), and what runs is what is stored."""
    status = cutover.node.status()
    is_linked = status.state in ("READY", "DISABLED")
    checks: JsonObject = {
        "store": _check(not cutover.broken, cutover.broken),
        "coordinator": _check(not cutover.pending, cutover.pending),
        "cluster": _check(not status.problems, "; ".join(status.problems)),
        "backend": {
            **_check(is_linked, "" if is_linked else f"the node is {status.state}"),
            "links": [
                {"type": link.type, "state": link.state, "since": round(link.since, 1), "error": link.error}
                for link in status.links
            ],
            "peers": sum(peer.state == "UP" for peer in status.peers),
        },
    }
    is_ready = status.ready and not cutover.broken and not cutover.pending
    found: JsonObject = {"status": "pass" if is_ready else "fail"}
    return is_ready, {**found, "checks": checks} if with_details else found


def _check(is_good: bool, text: str) -> JsonObject:
    return {"status": "pass"} if is_good else {"status": "fail", "output": text}
