"""Where the figures come from: cores, versions, and how busy the machine was with other things."""

from __future__ import annotations

import gc
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("coordinator-bus", "msgspec", "anyio", "eclipse-zenoh", "nats-py", "redis", "aiokafka", "uvloop")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, object]:
    """What does not change during a run."""
    return {
        "cores": cores(),
        "cpu": _model(),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: found for name in LIBRARIES if (found := _version(name)) is not None},
        "gc": list(gc.get_threshold()),
    }


def load() -> list[float]:
    """The load average of 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def ticks() -> tuple[int, int]:
    """CPU time of the whole machine so far: stolen by other guests, and all. Zeros where unknown."""
    try:
        fields = [int(text) for text in _read("/proc/stat").splitlines()[0].split()[1:9]]
    except (IndexError, ValueError):
        return 0, 0
    return fields[-1], sum(fields)


def stolen(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Percent of the time between two `ticks` that other guests of the host took."""
    took, total = after[0] - before[0], after[1] - before[1]
    return round(took / total * 100, 2) if total else 0.0


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
