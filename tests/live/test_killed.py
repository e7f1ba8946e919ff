"""A node is killed in the middle of a change, and started again: the cluster comes together, on one system.

The survivors lose nothing of each other meanwhile, and tell of the dead one what they cannot know.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from bus.testing.brokers import Broker
from tests.faults.history import Delivered, Gapped, History, judge
from tests.live.cluster import LiveCluster, patch_of, until

# Longer than it takes to start again, and to take somebody for dead (10 s).
SWITCH = 14.0


def check(runs: list[History]) -> None:
    """Nothing lost, doubled or out of order between those who live."""
    _, born, *survivors = runs
    assert [run.node for run in runs] == ["a", "a", "b", "c"]
    verdict = judge(survivors)
    assert verdict.wrong == []
    assert all(pair.delivered == pair.published > 500 for pair in verdict.pairs), verdict
    assert not [loss for loss in verdict.losses if "Gap" in loss]
    for sender in survivors:
        # It came later: the first that it has of them may be any, from there on all.
        spans = [line for line in born.of(sender.epoch) if isinstance(line, Delivered)]
        assert not [line for line in born.of(sender.epoch) if isinstance(line, Gapped)]
        assert [one.last + 1 for one in spans[:-1]] == [one.first for one in spans[1:]]
        assert spans[-1].last == sender.published


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("moment", "stays"), [("trial", True), ("store", False), ("switch", False), ("settle", False)]
)
def test_started_again_at_once_it_goes_where_the_others_are(
    moment: str, stays: bool, redis_server: Broker, nats_server: Broker, tmp_path: Path
) -> None:
    """Before it is stored, the change has not happened: the others go back. After that it is made up for."""
    redis, nats = patch_of(redis_server.url), patch_of(nats_server.url)
    with LiveCluster(redis, tmp_path, switch=SWITCH, a=moment) as cluster:
        cluster.go()
        answers: dict[str, Any] = {}
        others = threading.Thread(target=lambda: answers.update(cluster.move(nats, "bc")))
        others.start()
        with pytest.raises(ConnectionError):
            cluster["a"].update(nats)
        cluster["a"].wait_dead()
        born = cluster.restart("a")
        born.tell("go")
        born.answer()
        others.join()
        end = "Redis" if stays else "Nats"
        assert [answers[name].get("stage") for name in "bc"] == (["switch"] * 2 if stays else [None] * 2)
        until(lambda: all(node.links() == [end] for node in cluster.nodes), f"all on {end}")
        until(lambda: all(node.health()["status"] == "pass" for node in cluster.nodes), "all healthy")
        assert [node.object()["@type"] for node in cluster.nodes] == [end] * 3
        check(cluster.finish())


@pytest.mark.timeout(120)
def test_started_again_when_the_others_have_gone_it_follows(
    redis_server: Broker, nats_server: Broker, tmp_path: Path
) -> None:
    redis, nats = patch_of(redis_server.url), patch_of(nats_server.url)
    with LiveCluster(redis, tmp_path, switch=12.0, a="store") as cluster:
        cluster.go()
        answers: dict[str, Any] = {}
        others = threading.Thread(target=lambda: answers.update(cluster.move(nats, "bc")))
        others.start()
        with pytest.raises(ConnectionError):
            cluster["a"].update(nats)
        others.join()
        assert answers == {"b": {}, "c": {}}
        born = cluster.restart("a", peers=0)
        born.tell("go")
        born.answer()
        until(lambda: born.links() == ["Nats"], "it follows")
        check(cluster.finish())


@pytest.mark.timeout(120)
def test_alone_with_what_it_had_stored_it_goes_back_to_the_others(
    redis_server: Broker, nats_server: Broker, tmp_path: Path
) -> None:
    """Nobody else was changed: what is stored would leave it alone."""
    redis, nats = patch_of(redis_server.url), patch_of(nats_server.url)
    with LiveCluster(redis, tmp_path, switch=5.0, a="switch") as cluster:
        cluster.go()
        with pytest.raises(ConnectionError):
            cluster["a"].update(nats)
        file = tmp_path / "a.state" / "coordinator.json"
        assert json.loads(file.read_text())["object"]["@type"] == "Nats"
        born = cluster.restart("a")
        born.tell("go")
        born.answer()
        until(lambda: json.loads(file.read_text())["object"]["@type"] == "Redis", "it goes back")
        until(lambda: all(node.links() == ["Redis"] for node in cluster.nodes), "all on Redis")
        assert born.health()["status"] == "pass"
        check(cluster.finish())
