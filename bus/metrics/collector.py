"""`BusCollector`: the families in the classes of prometheus_client, made at each scrape."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bus.errors import ConfigError
from bus.metrics.families import Distribution, Family, families
from bus.release import VERSION

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from bus.bus import Bus

Found = Family | Distribution


class BusCollector:
    """Register it with a registry of prometheus_client. Raises ConfigError when that is not installed.

    `extra` gives more families of the same form, at each scrape. Scrapes have to run in the thread of the
    bus, as those of the admin server do; another thread may read numbers of two moments.
    """

    def __init__(self, bus: Bus, extra: Callable[[], Iterable[Found]] = tuple) -> None:
        if find_spec("prometheus_client") is None:
            raise ConfigError("metrics need prometheus_client: pip install 'coordinator-bus[metrics]'")
        self._bus = bus
        self._extra = extra

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        yield from map(_metric, (_info(), *families(self._bus.status()), *self._extra()))


def _info() -> Family:
    about = {"version": VERSION, "python": platform.python_version()}
    return Family("gauge", "bus_build_info", "What runs here", [(about, 1)])


def _metric(found: Found) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if isinstance(found, Distribution):
        return HistogramMetricFamily(found.name, found.help, found.buckets, found.total)
    is_counter = found.kind == "counter"
    family = (CounterMetricFamily if is_counter else GaugeMetricFamily)(found.name, found.help)
    for labels, value in found.samples:
        family.add_sample(f"{found.name}_total" if is_counter else found.name, dict(labels), float(value))
    return family
