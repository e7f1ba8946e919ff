"""What the admin server counts for `/metrics`: its requests, and the changes of the Coordinator object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from bus.metrics.families import Family

if TYPE_CHECKING:
    from bus.admin.audit import Audit
    from bus.admin.store import Store


class Measures:
    """Plain counts; labels are of few values: paths as they are routed, never as they were asked for."""

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store = store
        self._audit = audit
        self._requests: Counter[tuple[str, int]] = Counter()

    def request(self, path: str, code: int) -> None:
        """One was answered."""
        self._requests[path, code] += 1

    def families(self) -> Iterator[Family]:
        """For one scrape."""
        yield Family(
            "counter", "bus_admin_requests", "Requests to the admin server",
            [({"path": path, "code": str(code)}, n) for (path, code), n in sorted(self._requests.items())],
        )  # fmt: skip
        failures = sum(n for (_, code), n in self._requests.items() if code == 401)
        yield Family("counter", "bus_admin_auth_failures", "Requests without a valid token", [({}, failures)])
        yield Family(
            "counter", "bus_config_changes", "Changes of the Coordinator object, by result",
            [({"result": result}, n) for result, n in sorted(self._audit.outcomes.items())],
        )  # fmt: skip
        current = self._store.current
        yield Family(
            "gauge", "bus_config_generation", "Counts up with each change that was stored",
            [({}, current.generation if current is not None else 0)],
        )  # fmt: skip
        at = current.updated_at if current is not None else ""
        yield Family(
            "gauge", "bus_config_last_change_timestamp_seconds", "When that was; nothing before the first",
            [({}, datetime.fromisoformat(at).timestamp())] if at else [],
        )  # fmt: skip
