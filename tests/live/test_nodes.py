"""`bus update --nodes` under load: a dry run on all, then all at once; who missed it follows later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bus.testing.brokers import Broker
from tests.cli.kit import Ran, in_process
from tests.faults.history import judge
from tests.live.cluster import LiveCluster, patch_of, until


def update(cluster: LiveCluster, folder: Path, patch: dict[str, Any], *words: str) -> Ran:
    """All three nodes, by one command."""
    urls = ",".join(node.url for node in cluster.nodes)
    return in_process(
        "update", "--nodes", urls, "--stdin", "--json", *words,
        stdin=json.dumps(patch), env={"BUS_TOKEN_FILE": str(folder / "token")}, seconds=60,
    )  # fmt: skip


def outcomes(ran: Ran) -> list[str]:
    return [node["outcome"] for node in ran.json()["nodes"]]


def audited(folder: Path, name: str) -> list[str]:
    lines = (folder / f"{name}.state" / "audit.jsonl").read_text().splitlines()
    return [json.loads(line)["outcome"] for line in lines]


@pytest.mark.timeout(120)
def test_all_nodes_or_none_and_nothing_is_lost(
    redis_server: Broker, nats_server: Broker, tmp_path: Path
) -> None:
    redis, nats = patch_of(redis_server.url), patch_of(nats_server.url)
    with LiveCluster(redis, tmp_path) as cluster:
        cluster.go()
        ran = update(cluster, tmp_path, nats)
        assert (ran.code, outcomes(ran)) == (0, ["changed"] * 3), ran.err
        assert [node.links() for node in cluster.nodes] == [["Nats"]] * 3
        assert [audited(tmp_path, name) for name in "abc"] == [["dry_run", "applied"]] * 3
        # The second one refuses its dry run: what the first may read is no business of its own.
        secret = tmp_path / "a.state" / "secrets" / "password"
        secret.parent.mkdir(exist_ok=True)
        secret.write_text("pw1234")
        ran = update(cluster, tmp_path, {"authSecret": {"@type": "File", "filePath": str(secret)}})
        assert (ran.code, outcomes(ran)) == (4, ["good", "failed", "open"])
        assert [node.object() == cluster["c"].object() for node in cluster.nodes] == [True] * 3
        assert [node.links() for node in cluster.nodes] == [["Nats"]] * 3
        verdict = judge(cluster.finish())
    assert verdict.wrong == []
    assert verdict.lost == []
    assert all(pair.delivered == pair.published > 200 for pair in verdict.pairs), verdict


@pytest.mark.timeout(120)
def test_a_node_that_is_down_stops_the_change_or_follows_it(
    redis_server: Broker, nats_server: Broker, tmp_path: Path
) -> None:
    redis, nats = patch_of(redis_server.url), patch_of(nats_server.url)
    with LiveCluster(redis, tmp_path) as cluster:
        cluster.go()
        cluster["c"].end()
        ran = update(cluster, tmp_path, nats)
        assert (ran.code, outcomes(ran)) == (3, ["good", "good", "failed"])
        assert list(tmp_path.glob("*.state/coordinator.json")) == []
        assert [cluster[name].links() for name in "ab"] == [["Redis"]] * 2
        # The others go without it; and it, started again, goes after them.
        assert cluster.move(nats, "ab") == {"a": {}, "b": {}}
        born = cluster.restart("c", peers=0)
        born.tell("go")
        born.answer()
        assert born.links() == ["Redis"]
        ran = update(cluster, tmp_path, nats, "--wait")
        assert (ran.code, outcomes(ran)) == (0, ["unchanged", "unchanged", "changed"]), ran.err
        until(lambda: [node.links() for node in cluster.nodes] == [["Nats"]] * 3, "all on NATS")
        assert [node.health()["status"] for node in cluster.nodes] == ["pass"] * 3
        runs = cluster.finish()
    verdict = judge([run for run in runs if run.node in "ab"])
    assert verdict.wrong == []
    assert all(pair.delivered == pair.published > 500 for pair in verdict.pairs), verdict
