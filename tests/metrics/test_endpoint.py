"""GET /metrics of the admin server: who may read it, and what it counts of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus import Bus
from bus.admin.tokens import METRICS, Tokens
from tests.admin.kit import Client, world
from tests.bus.cluster import cluster_name


async def test_a_node_tells_its_metrics_to_who_may_read_them(tmp_path: Path) -> None:
    async with (
        Bus.open("memory://", node="a", cluster=cluster_name()) as bus,
        world(tmp_path, node=bus) as here,
    ):
        client = here.client
        assert (await client.ask("GET", "/health/live")).status == 200
        assert (await client.update({"nonsense": 1}))["type"] == "invalidProperties"
        nobody = Client(here.admin, "inside", token=None)
        assert (await nobody.ask("GET", "/metrics")).status == 401
        reply = await client.ask("GET", "/metrics")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        text = reply.body.decode()
        assert 'bus_backend_up{type="Memory"}' in text
        assert 'bus_admin_requests_total{code="200",path="/health/live"} 1.0' in text
        assert "bus_admin_auth_failures_total 1.0" in text
        assert "bus_config_generation 0.0" in text


async def test_a_token_for_metrics_may_do_nothing_else(tmp_path: Path) -> None:
    async with (
        Bus.open("memory://", node="a", cluster=cluster_name()) as bus,
        world(tmp_path, node=bus) as here,
    ):
        tokens = Tokens(here.folder, None)
        tokens.open()
        text = tokens.create("prometheus", [METRICS])
        await here.admin.reload()
        scraper = Client(here.admin, "inside", token=text)
        assert (await scraper.ask("GET", "/metrics")).status == 200
        read = b'{"using":["urn:ietf:params:jmap:core"],"methodCalls":[["x:Coordinator/get",{},"c"]]}'
        assert (await scraper.post(read)).status == 403


async def test_a_node_that_is_not_ours_has_no_metrics(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert (await here.client.ask("GET", "/metrics")).status == 404


async def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        """No such module."""

    monkeypatch.setattr("bus.metrics.collector.find_spec", missing)
    async with (
        Bus.open("memory://", node="a", cluster=cluster_name()) as bus,
        world(tmp_path, node=bus) as here,
    ):
        reply = await here.client.ask("GET", "/metrics")
        assert reply.status == 501
        assert "coordinator-bus[metrics]" in reply.json()["detail"]
