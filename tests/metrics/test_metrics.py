"""Metrics: what a scrape says, that Prometheus likes it, and that dashboard and alerts name what exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from bus import Bus, Event
from bus.metrics import BusCollector, families, scrape
from bus.signals import Histogram, LinkStatus, PeerStatus, QueueStatus, Status

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/grafana/bus.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
DOCUMENT = ROOT / "docs/metrics.md"
# What the functions of a histogram, and of a counter, add to its name.
SUFFIX = re.compile(r"_(bucket|count|sum|total)$")


class Word(Event, tag="word"):
    text: str


def link(kind: str = "Nats", state: str = "READY", **more: object) -> LinkStatus:
    return LinkStatus(kind, "bus.x", cast("Any", state), 1.0, None, **cast("Any", more))


def peer(node: str, epoch: int = 1, state: str = "UP", **counts: int) -> PeerStatus:
    known: Any = {"delivered": 0, "repaired": 0, "lost": 0, "duplicates": 0} | counts
    return PeerStatus(
        node=node, epoch=epoch, state=cast("Any", state), baseline=1, position=0, latency_ms=1.5, **known
    )  # fmt: skip


def status(**parts: object) -> Status:
    given: dict[str, object] = {
        "node": "a", "epoch": 1, "state": "READY", "alone": False, "links": (), "peers": (),
        "published": 0, "log_first": 1, "log_last": 0,
    }  # fmt: skip
    return Status(**cast("Any", given | parts))


def samples(found: Status) -> dict[tuple[str, str], float]:
    """(name, labels as text) -> value."""
    return {
        (one.name, ",".join(f"{key}={value}" for key, value in sorted(labels.items()))): float(value)
        for one in families.families(found)
        if isinstance(one, families.Family)
        for labels, value in one.samples
    }


def test_two_links_of_one_type_are_one_sample() -> None:
    found = samples(
        status(links=(
            link(connects=2, faults={"auth": 1}, away=1.5),
            link(state="BACKOFF", connects=1, faults={"tls": 2}),
        ))
    )  # fmt: skip
    assert found["bus_backend_connects", "type=Nats"] == 3
    assert found["bus_backend_up", "type=Nats"] == 1
    assert found["bus_backend_faults", "cause=auth,type=Nats"] == 1
    assert found["bus_backend_faults", "cause=tls,type=Nats"] == 2
    assert found["bus_backend_disconnected_seconds", "type=Nats"] == 1.5
    assert found["bus_backend_state", "state=backoff,type=Nats"] == 1
    assert found["bus_backend_state", "state=fatal,type=Nats"] == 0


def test_epochs_of_one_node_add_up_and_many_nodes_share_a_label() -> None:
    twice = (peer("b", 1, "ENDED", delivered=5), peer("b", 2, delivered=7, lost=1))
    found = samples(status(peers=twice))
    assert found["bus_delivered_events", "peer=b"] == 12
    assert found["bus_lost_events", "peer=b"] == 1
    crowd = tuple(peer(f"n{at}", at + 1, delivered=1) for at in range(100))
    crowded = samples(status(peers=crowd))
    labels = [labels for name, labels in crowded if name == "bus_delivered_events"]
    assert len(labels) == families.MOST_PEERS + 1
    assert crowded["bus_delivered_events", f"peer={families.OTHER}"] == 100 - families.MOST_PEERS
    assert ("bus_peer_latency_seconds", f"peer={families.OTHER}") not in crowded


def test_queues_are_summed_and_the_fullest_is_told() -> None:
    queues = (QueueStatus("Word", 100, 80, 3), QueueStatus("on Word", 0, 0, 0, 2))
    found = samples(status(queues=queues))
    assert found["bus_queue_fill_ratio", ""] == 0.8
    assert found["bus_dropped_events", ""] == 3
    assert found["bus_handler_errors", ""] == 2


def test_a_histogram_counts_up() -> None:
    found = families.distribution("x", "", Histogram((0.1, 1.0), (3, 2, 1), 4.5))
    assert found.buckets == [("0.1", 3.0), ("1", 5.0), ("+Inf", 6.0)]
    assert found.total == 4.5


@pytest.fixture
async def text() -> str:
    """A scrape of a node that has heard another one."""
    async with (
        Bus.open("memory://", node="a", events=[Word]) as a,
        Bus.open("memory://", node='b"\n\\', events=[Word]) as b,
    ):
        await a.ready(peers=1)
        await b.ready(peers=1)
        async with a.subscribe(Word):
            b.publish(Word("x"))
            with anyio.fail_after(5):
                while a.status().balance().delivered < 1:
                    await anyio.sleep(0.01)
            return scrape(BusCollector(a)).decode()


def test_a_scrape_has_the_numbers_and_escapes_names(text: str) -> None:
    assert 'bus_delivered_events_total{peer="b\\"\\n\\\\"} 1.0' in text
    assert "bus_queue_events 1.0" in text
    assert 'bus_backend_up{type="Memory"} 1.0' in text
    assert 'bus_event_loop_lag_seconds_bucket{le="+Inf"}' in text
    assert "_created" not in text


def test_prometheus_likes_the_scrape_and_the_rules(text: str) -> None:
    promtool = shutil.which("promtool") or ""
    if not promtool:
        reason = "promtool is missing: install the Debian package prometheus"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, text=True, capture_output=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    rules = subprocess.run(
        [promtool, "check", "rules", ALERTS], text=True, capture_output=True, timeout=30, check=False
    )
    assert rules.returncode == 0, rules.stderr


def names(text: str) -> set[str]:
    """The metrics that exist: those of a scrape, and the admin server's own (docs/metrics.md has both)."""
    return {SUFFIX.sub("", line.split()[2]) for line in text.splitlines() if line.startswith("# TYPE")}


def expressions() -> Iterator[str]:
    """What dashboard and alerts ask for."""
    yield from re.findall(r"^\s*expr: (.+)$", ALERTS.read_text(), re.MULTILINE)
    yield from re.findall(r'"(?:expr|query|definition)": "((?:[^"\\]|\\.)*)"', DASHBOARD.read_text())


def test_dashboard_and_alerts_name_metrics_that_are_documented() -> None:
    documented = {SUFFIX.sub("", name) for name in re.findall(r"`(bus_\w+)", DOCUMENT.read_text())}
    asked = {SUFFIX.sub("", name) for text in expressions() for name in re.findall(r"\bbus_\w+", text)}
    assert len(asked) > 12
    assert asked <= documented
    json.loads(DASHBOARD.read_text())


def test_every_metric_is_documented_and_every_documented_one_exists(text: str) -> None:
    documented = {SUFFIX.sub("", name) for name in re.findall(r"^\| `(bus_\w+)", DOCUMENT.read_text(), re.M)}
    of_admin = {name for name in documented if name.startswith(("bus_admin_", "bus_config_"))}
    assert documented - of_admin == names(text)
    assert len(of_admin) == 5
