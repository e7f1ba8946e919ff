"""`bus doctor` among real nodes: who does not hear whom and in which direction, names, types, clocks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest

from bus import Event
from bus.cli import findings
from bus.cli.census import NodeView
from bus.cli.findings import Examined, Missing, judged, matrix
from bus.cli.observer import Told
from bus.cli.reach import Check
from bus.protocol.control import About, Heard, Queue
from bus.testing.brokers import Broker
from bus.testing.proxy import Proxy, Toxics
from tests.cli.conftest import Cli
from tests.cli.nodes import Nodes, running

QUICK = ["--cluster", "doctor", "--for", "1.2", "--json"]


class Price(Event, tag="doctor.price"):
    cents: int


class PriceText(Event, tag="doctor.price"):
    cents: str


def failed(told: Any) -> list[tuple[str, str, str]]:
    """(place, direction, what) of every check that failed."""
    return [
        (one["place"], one["direction"], one["detail"]) for one in told["checks"] if one["status"] == "fail"
    ]


@pytest.fixture(params=["nats_server", "zenoh_router", "redis_server"])
def behind(request: pytest.FixtureRequest) -> Iterator[tuple[Nodes, Proxy, str]]:
    """Three nodes on one server; the connection of the third can be tampered with."""
    broker: Broker = request.getfixturevalue(request.param)
    where = urlsplit(broker.url)
    server = f"{where.hostname}:{where.port}"
    with Proxy((str(where.hostname), int(where.port or 0))) as proxy:
        url = broker.url.replace(server, proxy.address)
        with running(("a", broker.url), ("b", broker.url), ("c", url)) as nodes:
            yield nodes, proxy, broker.url
            proxy.heal()
            proxy.reset()


@pytest.mark.parametrize("direction", ["out", "in"])
def test_a_node_that_is_deaf_in_one_direction_is_named_within_five_seconds_and_is_not_ready(
    direction: Literal["in", "out"], behind: tuple[Nodes, Proxy, str], cli: Cli
) -> None:
    nodes, proxy, url = behind
    assert nodes.is_ready(2)
    began = time.monotonic()
    if direction == "out":
        proxy.up = Toxics(hold=True)
    else:
        proxy.down = Toxics(hold=True)
    ran = cli("doctor", "--url", url, "--cluster", "doctor", "--json")
    took = time.monotonic() - began
    assert ran.code == 7, ran.out
    found = failed(ran.json())
    assert {place for place, _, _ in found} == {"c"}, found
    assert direction in {way for _, way, _ in found}, found
    # The promise is 5 s from the fault to the word; a busy machine starts a process late.
    assert took < 10
    assert not nodes.is_ready(2)
    assert nodes.status(2).state != "READY"
    assert nodes.is_ready(0)


def test_a_name_that_two_processes_share_is_found_and_neither_is_ready(nats_server: Broker, cli: Cli) -> None:
    with running(*[(name, nats_server.url) for name in ("twin", "twin", "other")]) as nodes:
        told = cli("doctor", "--url", nats_server.url, *QUICK).json()
        assert [place for place, _, what in failed(told) if "several live processes" in what] == [
            "twin",
            "twin",
        ]
        assert {place for place, _, _ in failed(told)} == {"twin"}
        assert not nodes.is_ready(0)
        assert nodes.is_ready(2)


def test_a_type_that_is_not_compatible_is_found_at_the_younger_node_which_is_not_ready(
    nats_server: Broker, cli: Cli
) -> None:
    places = [(name, nats_server.url) for name in ("old", "new")]
    with running(*places, events=[[Price], [PriceText]]) as nodes:
        ran = cli("doctor", "--url", nats_server.url, *QUICK)
        assert ran.code == 7
        ((place, _, what),) = failed(ran.json())
        assert place == "new"
        assert what == ("the event type 'doctor.price' is not compatible: cents is str at new and int at old")
        assert not nodes.is_ready(1)
        assert nodes.is_ready(0)
        prints = [one["types"]["doctor.price"] for one in ran.json()["nodes"] if one["state"] == "UP"]
        assert len(set(prints)) == 2


def test_the_doctor_draws_who_hears_whom_with_latencies(nats_server: Broker, cli: Cli) -> None:
    with running(("a", nats_server.url), ("b", nats_server.url)):
        words = ["doctor", "--url", nats_server.url, "--cluster", "doctor", "--for", "1.2"]
        ran = cli(*words)
        assert ran.code == 0, ran.out
        lines = ran.out.splitlines()
        at = lines.index("rows hear columns, milliseconds one way; -- does not hear, ? not known")
        assert [line.split()[0] for line in lines[at + 2 : at + 4]] == ["a", "b"]
        assert lines[-1] == "healthy"
        told = cli(*words, "--json").json()
        one = next(node for node in told["nodes"] if node["node"] == "a")
        assert one["answered"]
        assert 0 <= one["hearing"][0]["latencyMs"] < 1_000
        assert 0 < one["roundTripMs"] < 1_000
        assert abs(one["clockAheadMs"]) < 1_000


# -- judgement -------------------------------------------------------------------------------------


def view(
    name: str, epoch: int, hears: dict[int, float | None], deaf_to: list[str] | None, **more: Any
) -> NodeView:
    names = {1: "a", 2: "b", 3: "c"}
    return NodeView(
        name, epoch, "UP", 100.0 - epoch, 0, 0, hears, [names[one] for one in hears if one != epoch],
        deaf_to, more.get("lost", 0), 0, more.get("is_told", True),
    )  # fmt: skip


def examined(*views: NodeView, **more: Any) -> Examined:
    return Examined("bus.default", list(views), {}, [], {}, [], [], False, {})._replace(**more)


def bad(found: Examined) -> list[tuple[str, str, str]]:
    return [(one.place, one.direction, one.detail) for one in judged(found) if one.status == "fail"]


def test_who_hears_nobody_is_blamed_and_not_those_whom_it_does_not_hear() -> None:
    found = examined(
        view("a", 1, {2: 0.1, 3: 0.2}, []), view("b", 2, {}, ["a", "c"]), view("c", 3, {1: 1.0, 2: None}, [])
    )
    assert bad(found) == [("b", "in", "hears nobody: it can send, and does not receive")]
    assert matrix(found) == [
        ["", "a", "b", "c"], ["a", ".", "0.1", "0.2"], ["b", "--", ".", "--"], ["c", "1.0", "yes", "."],
    ]  # fmt: skip


def test_whom_nobody_hears_is_blamed_and_not_those_who_do_not_hear_it() -> None:
    found = examined(
        view("a", 1, {2: 0.1}, ["c"]), view("b", 2, {1: 0.1}, ["c"]), view("c", 3, {1: 1.0, 2: 1.0}, [])
    )
    assert bad(found) == [("c", "out", "none of the others hears it: what it sends does not get there")]


def test_one_pair_in_one_direction_is_named_as_such() -> None:
    found = examined(
        view("a", 1, {2: 0.1}, ["c"]), view("b", 2, {1: 0.1, 3: 0.1}, []), view("c", 3, {1: 1.0, 2: 1.0}, [])
    )
    assert bad(found) == [("a", "in", "does not hear c")]


def test_a_node_that_others_know_and_nobody_hears_cannot_send_or_is_dead() -> None:
    lost = Missing(9, "gone", 12.3, [])
    there = Missing(8, "there", 0.5, ["a", "b"])
    found = examined(view("a", 1, {}, []), missing=[lost, there])
    assert bad(found) == [
        ("gone", "out", "nobody has heard it for 12 s, nor a goodbye: it cannot send, or it is dead"),
        ("there", "out", "is heard by a, b, and not on this machine"),
    ]


def told(about: About | None = None, ahead: float | None = None, heard: tuple[Heard, ...] = ()) -> Told:
    return Told(about, {one.epoch: one for one in heard}, {}, 0.001, ahead)


def texts(found: Examined, status: str) -> list[str]:
    return [one.detail for one in judged(found) if one.status == status]


def test_what_a_node_says_of_itself_is_judged() -> None:
    about = About(
        release="1", state="DEGRADED", refused={"crc": 3, "own": 9}, problems=["it rains"],
        queues=[Queue("Note", 10, 0, 7), Queue("Word", 10, 0, 0)],
    )  # fmt: skip
    found = examined(view("a", 1, {}, [], lost=4), told={1: told(about, ahead=-7.0)})
    assert texts(found, "fail") == ["its link is DEGRADED", "is not ready: it rains"]
    assert texts(found, "warn") == [
        "its clock is 7.0 s behind that of this machine",
        "7 events were dropped at the queue of Note",
        "has refused foreign or damaged frames: crc 3",
        "has lost 4 events of the others, and was told so",
    ]
    healthy = About(release="1", state="READY")
    assert texts(examined(view("a", 1, {}, []), told={1: told(healthy, ahead=0.1)}), "warn") == []


def test_versions_and_releases_that_differ_are_named() -> None:
    found = examined(
        view("a", 1, {2: 1.0}, []), view("b", 2, {1: 1.0}, []), foreign=["future"],
        told={1: told(About(release="1")), 2: told(About(release="2"))},
    )  # fmt: skip
    assert bad(found) == [("future", "", "it speaks no version of the protocol that this release speaks")]
    assert texts(found, "warn") == ["several releases: 1 on 1, 2 on 1"]


def test_an_echo_leak_a_silent_type_and_a_topic_without_time_are_named() -> None:
    found = examined(view("a", 1, {1: 0.1}, []), untold=["a"], is_timeless=True)
    assert "an echo leak" in bad(found)[0][2]
    assert texts(found, "warn") == [
        "it puts no time of its own on messages: old news cannot be told",
        "it does not say what its events look like: others refuse them",
    ]


def test_a_missing_cluster_key_is_named() -> None:
    assert bad(examined(view("a", 1, {}, []), refused={"sealed": 3, "own": 5})) == [
        ("observer", "", "3 frames are sealed, and no cluster key was given")
    ]
    assert texts(examined(view("a", 1, {}, []), refused={"unsealed": 1, "key": 2, "forged": 3}), "warn") == [
        "1 frames came without the cluster key: a node that has none, or a stranger",
        "2 frames are sealed with a key that this machine does not have",
        "3 frames are damaged or forged",
    ]


def test_a_description_that_cannot_be_read_is_a_finding_and_no_crash() -> None:
    found = examined(
        view("a", 1, {2: 1.0}, []), view("b", 2, {1: 1.0}, []), types={1: {"t": b"\x90"}, 2: {"t": b"\xc1"}}
    )
    assert bad(found) == [
        ("b", "", "the event type 't' is not compatible: what b or a says of it cannot be read")
    ]


def test_hundreds_of_names_stay_on_one_line() -> None:
    names = [f"n{number}" for number in range(300)]
    (check, *_) = findings.judged(examined(view("a", 1, {2: 1.0}, names), view("b", 2, {1: 1.0}, [])))
    assert isinstance(check, Check)
    assert check.detail.endswith("n7 and 292 more")


def test_a_large_cluster_that_does_not_answer_is_not_judged_by_what_its_heartbeats_leave_out() -> None:
    found = examined(
        view("a", 1, {2: None}, None, is_told=False), view("b", 2, {1: None}, None, is_told=False)
    )
    assert bad(found) == []
    assert texts(found, "skip") == ["named 1 that it hears, and answers no questions"] * 2
    assert matrix(found)[1:] == [["a", ".", "yes"], ["b", "yes", "."]]
