"""One scrape as text, for `/metrics`: a registry of our own, without what the process tells anyhow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bus.metrics.collector import BusCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def scrape(collector: BusCollector) -> bytes:
    """The text format of Prometheus."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
