"""What is wrong among the nodes of a bus: judged from what an observer heard and what they answered.

Directions are told apart: a node that hears nobody cannot receive, one that nobody hears cannot send. What is
known of a node by others alone (it reaches nobody, or is dead) is judged, too.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from bus import schema
from bus.cli.census import FRESH, NodeView, census
from bus.cli.reach import Check
from bus.schema import Sides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bus.cli.observer import Observer, Told

# Seconds that two clocks on the wall may be apart before it is said.
SKEW = 2.0
# Reasons to refuse a frame that mean no harm.
HARMLESS = {"own", "unknown", "stale", "stranger"}
MOST_NAMED = 8


class Missing(NamedTuple):
    """An epoch that others know and the observer does not hear."""

    epoch: int
    node: str
    # Seconds since somebody heard it, and who hears it now.
    silent: float
    heard_by: list[str]


class Examined(NamedTuple):
    """Everything that is known of the nodes."""

    channel: str
    views: list[NodeView]
    told: dict[int, Told]
    missing: list[Missing]
    # Epoch -> tag -> description; nodes that have said nothing of their types are not in it.
    types: dict[int, dict[int | str, bytes]]
    # Names of nodes that speak no version of ours.
    foreign: list[str]
    # Nodes whose heartbeats name types that they have not described.
    untold: list[str]
    # Our own link gives no timestamps of the broker although its backend could (rule 14).
    is_timeless: bool
    # Reason -> frames that this observer itself has refused.
    refused: dict[str, int]

    @property
    def up(self) -> list[NodeView]:
        """Those that are here."""
        return [view for view in self.views if view.state == "UP"]


def examine(node: Observer) -> Examined:
    """Everything that this observer has heard by now."""
    views = census(node)
    peers = node.engine.peers
    up = {view.epoch for view in views if view.state == "UP"}
    types = {epoch: dict(found) for epoch in up if (found := peers[epoch].types) is not None}
    links = node.links.items()
    return Examined(
        node.channel, views, {epoch: told for epoch, told in node.told.items() if epoch in up},
        _missing(node, up, views), types, sorted(node.engine.foreign.values()),
        sorted(peers[epoch].node for epoch in up if peers[epoch].digest and epoch not in types),
        any(
            connection.backend.features.broker_time and link.outlet.echo_stamp < 0
            for link, connection in links
        ),
        dict(node.engine.refused),
    )  # fmt: skip


def _missing(node: Observer, up: set[int], views: list[NodeView]) -> list[Missing]:
    names = {view.epoch: view.node for view in views}
    here = {names[epoch] for epoch in up}
    found: dict[int, Missing] = {}
    for reporter in up & node.told.keys():
        for one in node.told[reporter].heard.values():
            # A name that is here again is a restart; who is over said goodbye or was told lost.
            if one.epoch in up or one.is_over or one.name in here:
                continue
            silent = one.silent_us / 1e6
            known = found.get(one.epoch, Missing(one.epoch, one.name, silent, []))
            heard_by = [*known.heard_by, names[reporter]] if silent < FRESH else known.heard_by
            found[one.epoch] = Missing(one.epoch, one.name, min(silent, known.silent), sorted(heard_by))
    return sorted(found.values(), key=lambda one: (one.node, one.epoch))


# -- findings --------------------------------------------------------------------------------------


def judged(examined: Examined) -> Iterator[Check]:
    """One after the other; each node has at least one."""
    up = examined.up
    if not up:
        fix = "is the cluster the same there?" if not examined.missing else ""
        yield Check("nodes", "observer", "warn", f"nobody else is on {examined.channel}", fix)
    if examined.is_timeless:
        yield Check(
            "broker", "topic", "warn", "it puts no time of its own on messages: old news cannot be told",
            "set message.timestamp.type=LogAppendTime for the topic",
        )  # fmt: skip
    yield from _seals(examined.refused)
    for name in examined.foreign:
        yield Check(
            "version", name, "fail", "it speaks no version of the protocol that this release speaks",
            "run releases side by side that follow each other",
        )  # fmt: skip
    yield from _unheard(examined)
    types = list(_types(examined))
    for view in up:
        found = [
            *_hearing(view, examined),
            *_name(view, up),
            *(one for one in types if one.place == view.node),
        ]
        is_bad = any(one.status == "fail" for one in found)
        yield from found
        if view.epoch in examined.told:
            yield from _told(view, examined.told[view.epoch], is_bad)
        if view.lost:
            yield Check(
                "events", view.node, "warn", f"has lost {view.lost} events of the others, and was told so"
            )
    yield from _releases(examined)


def _seals(refused: dict[str, int]) -> Iterator[Check]:
    """Who has the cluster key, and who has not: judged by what came here while we listened."""
    if count := refused.get("sealed"):
        yield Check(
            "seal", "observer", "fail", f"{count} frames are sealed, and no cluster key was given",
            "give the key of the cluster: keyFile, BUS_KEY_FILE, --key-file",
        )  # fmt: skip
    for reason, said in (
        ("unsealed", "came without the cluster key: a node that has none, or a stranger"),
        ("key", "are sealed with a key that this machine does not have"),
        ("forged", "are damaged or forged"),
    ):
        if count := refused.get(reason):
            yield Check("seal", "observer", "warn", f"{count} frames {said}", "docs/security.md")


def _unheard(examined: Examined) -> Iterator[Check]:
    """Who is known to others, and is not heard here."""
    for one in examined.missing:
        if one.heard_by:
            yield Check(
                "nodes", one.node, "fail", f"is heard by {_list(one.heard_by)}, and not on this machine",
                "run bus doctor on its machine as well; are both on one system?", "out",
            )  # fmt: skip
        else:
            yield Check(
                "nodes", one.node, "fail",
                f"nobody has heard it for {one.silent:.0f} s, nor a goodbye: it cannot send, or it is dead",
                "run bus doctor on its machine; is the process there, and may it publish?", "out",
            )  # fmt: skip


def _hearing(view: NodeView, examined: Examined) -> Iterator[Check]:
    """Both directions of one node that is heard here."""
    others = [other for other in examined.up if other.epoch != view.epoch]
    place = view.node
    if view.epoch in view.hearing:
        yield Check(
            "nodes", place, "fail", "hears its own events as if they came from another node: an echo leak",
            "it runs another implementation, or an altered one: own frames are known by the epoch",
        )  # fmt: skip
    if view.deaf_to is None:
        yield Check(
            "nodes", place, "skip", f"named {len(view.hears)} that it hears, and answers no questions"
        )
    elif others and not view.hears:
        said = "hears nobody" if view.is_told else "hears nobody, and does not answer"
        yield Check(
            "nodes", place, "fail", f"{said}: it can send, and does not receive",
            "run bus doctor on its machine; may it subscribe, and does a firewall drop what comes in?", "in",
        )  # fmt: skip
    elif view.deaf_to and (blamed := _without_mute(view, examined)):
        yield Check(
            "nodes", place, "fail", f"does not hear {_list(blamed)}",
            "run bus doctor on its machine; are both on one system, and may both publish?", "in",
        )  # fmt: skip
    else:
        yield Check("nodes", place, "ok", f"hears {_list(view.hears) or 'nobody: it is alone'}")
        if not view.is_told:
            said = "has not answered: it does not hear this machine, or speaks less of the protocol"
            yield Check("nodes", place, "warn", said, "look again; run bus doctor on its machine", "in")
    if len(others) > 1 and _is_mute(view, examined):
        yield Check(
            "nodes", place, "fail", "none of the others hears it: what it sends does not get there",
            "run bus doctor on its machine; may it publish?", "out",
        )  # fmt: skip


def _is_mute(view: NodeView, examined: Examined) -> bool:
    """None of those who hear anybody hears it."""
    judges = [one for one in examined.up if one.epoch != view.epoch and one.deaf_to is not None and one.hears]
    return bool(judges) and all(view.epoch not in one.hearing for one in judges)


def _without_mute(view: NodeView, examined: Examined) -> list[str]:
    """Whom it does not hear, without those that nobody hears: they are to blame themselves."""
    is_many = len(examined.up) > 2
    mute = {one.node for one in examined.up if is_many and _is_mute(one, examined)}
    return [name for name in view.deaf_to or () if name not in mute]


def _name(view: NodeView, up: list[NodeView]) -> Iterator[Check]:
    if sum(one.node == view.node for one in up) > 1:
        yield Check(
            "names", view.node, "fail", f"several live processes have this name (one: epoch {view.epoch})",
            "give each a name of its own: node, BUS_NODE, --node",
        )  # fmt: skip


def _types(examined: Examined) -> Iterator[Check]:
    """Types that mean something else than at the oldest node that has them."""
    fix = "append fields only, with a default; or take another tag: bus schema check compares two releases"
    eldest: dict[int | str, NodeView] = {}
    for view in sorted(examined.up, key=lambda one: (-one.uptime, one.epoch)):
        for tag, description in sorted(examined.types.get(view.epoch, {}).items(), key=str):
            first = eldest.setdefault(tag, view)
            known = examined.types[first.epoch][tag]
            if (trouble := _difference(view.node, description, first.node, known)) is not None:
                yield Check(
                    "types", view.node, "fail", f"the event type {tag!r} is not compatible: {trouble}", fix
                )
    for name in examined.untold:
        yield Check("types", name, "warn", "it does not say what its events look like: others refuse them")


def _difference(mine: str, description: bytes, other: str, known: bytes) -> str | None:
    if description == known:
        return None
    try:
        ours, theirs = schema.decoded(description), schema.decoded(known)
        return schema.difference(ours, theirs, Sides(f"at {mine}", f"at {other}"))
    except (ValueError, RecursionError):
        return f"what {mine} or {other} says of it cannot be read"


def _told(view: NodeView, told: Told, is_bad: bool) -> Iterator[Check]:
    """What it says of itself."""
    about, place = told.about, view.node
    if about is None:
        return
    if about.state not in ("", "READY"):
        yield Check("nodes", place, "fail", f"its link is {about.state}", "run bus doctor on its machine")
    if not is_bad:
        for problem in about.problems:
            yield Check("nodes", place, "fail", f"is not ready: {problem}")
    if told.ahead is not None and abs(told.ahead) > SKEW:
        side = "ahead of" if told.ahead > 0 else "behind"
        yield Check(
            "clock", place, "warn", f"its clock is {abs(told.ahead):.1f} s {side} that of this machine",
            "does it run NTP? The bus needs no clock; certificates, tokens and your logs do",
        )  # fmt: skip
    for queue in about.queues:
        if queue.dropped:
            yield Check(
                "queues", place, "warn", f"{queue.dropped} events were dropped at the queue of {queue.name}",
                f"its reader is too slow: take batches, or more than capacity={queue.capacity}",
            )  # fmt: skip
    refused = {reason: count for reason, count in about.refused.items() if reason not in HARMLESS}
    if refused:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items()))
        yield Check(
            "frames", place, "warn", f"has refused foreign or damaged frames: {counts}",
            "what each word means: docs/security.md, docs/wire.md",
        )  # fmt: skip


def _releases(examined: Examined) -> Iterator[Check]:
    abouts = [told.about for told in examined.told.values() if told.about is not None]
    releases = Counter(about.release for about in abouts if about.release)
    if len(releases) > 1:
        counts = ", ".join(f"{release} on {count}" for release, count in sorted(releases.items()))
        yield Check("version", "nodes", "warn", f"several releases: {counts}", "finish the update")


def _list(names: list[str]) -> str:
    """Names on one line, also when there are hundreds."""
    unique = list(dict.fromkeys(names))
    rest = len(unique) - MOST_NAMED
    return ", ".join(unique[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


# -- the matrix ------------------------------------------------------------------------------------


def matrix(examined: Examined) -> list[list[str]]:
    """Rows hear columns: milliseconds one way, "yes" without them, "--" for deaf, "?" where nobody says."""
    up = examined.up
    rows = [["", *(view.node for view in up)]]
    for view in up:
        cells = [_cell(view, other) for other in up]
        rows.append([view.node, *cells])
    return rows


def _cell(view: NodeView, other: NodeView) -> str:
    if view.epoch == other.epoch:
        return "."
    if other.epoch in view.hearing:
        found = view.hearing[other.epoch]
        return "yes" if found is None else f"{found:.1f}"
    return "--" if view.deaf_to is not None else "?"


def as_json(examined: Examined) -> list[dict[str, object]]:
    """The nodes, for programs."""
    told = examined.told
    return [
        view.as_json()
        | {
            "answered": view.is_told,
            "hearing": [
                {"epoch": epoch, "latencyMs": _rounded(ms)} for epoch, ms in sorted(view.hearing.items())
            ],
            "roundTripMs": _rounded(told[view.epoch].trip * 1e3) if view.epoch in told else None,
            "clockAheadMs": _ahead(told.get(view.epoch)),
            "types": {str(tag): schema.fingerprint(one) for tag, one in examined.types[view.epoch].items()}
            if view.epoch in examined.types
            else None,
        }
        for view in examined.views
    ]


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)


def _ahead(told: Told | None) -> float | None:
    return None if told is None or told.ahead is None else round(told.ahead * 1e3, 1)
