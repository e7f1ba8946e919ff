"""Metrics of a bus for Prometheus (extra `metrics`): names in docs/metrics.md, values from `Bus.status()`.

    from bus.metrics import BusCollector
    registry.register(BusCollector(bus))        # the application's own registry

The hot path counts plain ints; everything else happens when somebody scrapes.
"""

from bus.metrics.collector import BusCollector
from bus.metrics.text import CONTENT_TYPE, scrape

__all__ = ["CONTENT_TYPE", "BusCollector", "scrape"]
