"""What users may rely on: exactly these names, from exactly these modules, each explained."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType

import pytest

import bus

PUBLIC_MODULES = ["bus", "bus.backend", "bus.config", "bus.testing"]

NAMES = [
    "Balance",
    "Bus",
    "Event",
    "Message",
    "Subscription",
    "Limits",
    "Loss",
    "Gap",
    "Overflow",
    "Resync",
    "Change",
    "Up",
    "Down",
    "Restarted",
    "Duplicate",
    "Confirmed",
    "Status",
    "LinkStatus",
    "PeerStatus",
    "QueueStatus",
    "BusError",
    "ConfigError",
    "AuthError",
    "TlsError",
    "LinkError",
    "UsageError",
    "Closed",
    "TooLarge",
    "UnknownEventType",
    "WrongThread",
    "Forked",
]

ERRORS = {
    "BusError": "Exception",
    "ConfigError": "BusError",
    "AuthError": "ConfigError",
    "TlsError": "ConfigError",
    "LinkError": "BusError",
    "UsageError": "BusError",
    "Closed": "UsageError",
    "TooLarge": "UsageError",
    "UnknownEventType": "UsageError",
    "WrongThread": "UsageError",
    "Forked": "UsageError",
}

METHODS = (FunctionType, classmethod, staticmethod, property)


def exported(module: str) -> list[str]:
    names: list[str] = importlib.import_module(module).__all__
    return names


def unexplained(name: str, value: object) -> Iterator[str]:
    """The value and the public methods that its class body defines, where without docstring.

    A class needs its own; a method that overrides one may leave the explaining to its base.
    """
    if inspect.isclass(value):
        # Dataclasses and named tuples get their signature as docstring: that explains nothing.
        text = vars(value).get("__doc__") or ""
        if not text or text.startswith(f"{value.__name__}("):
            yield name
        for key, member in vars(value).items():
            if key.startswith("_") or not isinstance(member, METHODS):
                continue
            if not any(vars(base)[key].__doc__ for base in value.__mro__ if key in vars(base)):
                yield f"{name}.{key}"
    elif inspect.isroutine(value) and not inspect.getdoc(value):
        yield name


def test_bus_exports_exactly_the_public_names() -> None:
    assert sorted(bus.__all__) == sorted(NAMES)


def test_bus_has_no_other_name_that_looks_public() -> None:
    def is_module(name: str) -> bool:
        return inspect.ismodule(getattr(bus, name))

    looks_public = {name for name in vars(bus) if not name.startswith("_") and not is_module(name)}
    # A name is there once it was asked for; that all are, the other tests say.
    assert looks_public - {"annotations"} <= set(NAMES)


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_everything_exported_can_be_imported(module: str) -> None:
    names = exported(module)
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(importlib.import_module(module), name)] == []


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_everything_exported_has_a_docstring(module: str) -> None:
    found = importlib.import_module(module)
    assert found.__doc__
    assert [text for name in exported(module) for text in unexplained(name, getattr(found, name))] == []


def test_a_missing_docstring_is_found() -> None:
    class Explained:
        """Has one."""

        def told(self) -> None:
            """Has one, too."""

        def quiet(self) -> None: ...

        @property
        def silent(self) -> int:
            return 0

        @classmethod
        def still(cls) -> None: ...

    class Inherits(Explained):
        def told(self) -> None: ...

    @dataclass
    class Generated:
        field: int

    assert list(unexplained("E", Explained)) == ["E.quiet", "E.silent", "E.still"]
    assert list(unexplained("I", Inherits)) == ["I"]
    assert list(unexplained("G", Generated)) == ["G"]
    assert list(unexplained("f", lambda: 0)) == ["f"]


@pytest.mark.parametrize(("name", "parent"), ERRORS.items())
def test_errors_are_the_documented_tree(name: str, parent: str) -> None:
    assert getattr(bus, name).__base__.__name__ == parent


@pytest.mark.parametrize("loss", ["Gap", "Overflow", "Resync"])
def test_every_loss_is_a_loss(loss: str) -> None:
    assert issubclass(getattr(bus, loss), bus.Loss)
    assert not issubclass(bus.Loss, BaseException)


@pytest.mark.parametrize("change", ["Up", "Down", "Restarted", "Duplicate"])
def test_every_change_is_a_change(change: str) -> None:
    assert issubclass(getattr(bus, change), bus.Change)


def test_importing_the_bus_loads_no_backend_client_or_test_tool() -> None:
    unwanted = "zenoh nats redis aiokafka yaml rich uvloop trio pytest bus.testing bus.cli bus.bench"
    script = (
        "import sys, bus, bus.config, bus.backend\n"
        f"print(*[m for m in sys.modules if m.startswith('bus_') or m in {unwanted.split()}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == []
