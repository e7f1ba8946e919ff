"""What a backend author gives to the suite: how to reach the system under test, and what can be done to it.

A `Harness` is data. What it does not have is not guessed: the scenarios that need it are reported as
skipped, with the name of the missing field. What a system cannot have at all, because it has no server, its
class says once and for all: `class TestFoo(Conformance, without=("kill", ...))`. Those scenarios are not
collected, so that a skip always means something that somebody could still give.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from bus import config, registry

if TYPE_CHECKING:
    from bus.backend import Backend, Context

Coordinator = object
Step = Callable[[], Awaitable[object]]
Scenario = TypeVar("Scenario", bound=Callable[..., object])

_MEANING = {
    "restart": "a coroutine function that (re)starts the server at the same address",
    "kill": "a coroutine function that ends the server at once and leaves it dead",
    "pause": "a coroutine function that freezes the server (SIGSTOP)",
    "resume": "a coroutine function that lets the frozen server go on (SIGCONT)",
    "unreachable": "a configuration of an address where nobody answers",
    "wrong_credentials": "a configuration that the server refuses",
    "invalid": "configurations that Bus.open must refuse",
}
_NEEDS = "__bus_harness_needs__"


def needs(*fields: str) -> Callable[[Scenario], Scenario]:
    """Mark a scenario with the fields of the harness that it is skipped without."""

    def mark(scenario: Scenario) -> Scenario:
        setattr(scenario, _NEEDS, frozenset(fields))
        return scenario

    return mark


def needs_of(scenario: object) -> frozenset[str]:
    """What it was marked with."""
    found: frozenset[str] = getattr(scenario, _NEEDS, frozenset())
    return found


class Selective:
    """Base of the themes: their scenarios may be left out of a class by what its harness will never have."""

    def __init_subclass__(cls, *, without: Iterable[str] = ()) -> None:
        super().__init_subclass__()
        absent = frozenset(without)
        if unknown := sorted(absent - _MEANING.keys()):
            raise TypeError(f"without={unknown}: a harness may lack {', '.join(_MEANING)}")
        for name in dir(cls):
            if name.startswith("test_") and absent & needs_of(getattr(cls, name)):
                # pytest looks at the class before its bases, and what cannot be called is no test.
                setattr(cls, name, None)


@dataclass(frozen=True, kw_only=True)
class Harness:
    """One messaging system, as the suite uses it. All but `coordinator` is optional.

    `coordinator()` gives the configuration of one more node (a URL, a dict, a variant); all nodes that
    it is called for must meet. The suite keeps its scenarios apart by their channel, so that one server
    can serve them all. Times are seconds.
    """

    coordinator: Callable[[], Coordinator] = field(repr=False)
    # A configuration of an address where nobody answers; may contain one of `secrets`.
    unreachable: Coordinator | None = field(default=None, repr=False)
    # A configuration that the running server refuses.
    wrong_credentials: Coordinator | None = field(default=None, repr=False)
    # Configurations that are nonsense by themselves: refused before any I/O.
    invalid: tuple[Coordinator, ...] = field(default=(), repr=False)
    # Texts of the configurations above that must never be shown.
    secrets: tuple[str, ...] = field(default=(), repr=False)
    # `restart` also starts a server that was killed.
    restart: Step | None = None
    kill: Step | None = None
    pause: Step | None = None
    resume: Step | None = None
    # How long to wait for what must come on a healthy system; for the first contact of two nodes.
    patience: float = 5.0
    open_timeout: float = 10.0

    def step(self, name: Literal["restart", "kill", "pause", "resume"]) -> Step:
        """One of the things that can be done to the server, or the scenario is skipped."""
        step: Step | None = getattr(self, name)
        return step if step is not None else self._skip(name)

    def configuration(self, name: Literal["unreachable", "wrong_credentials"]) -> Coordinator:
        """One of the special configurations, or the scenario is skipped."""
        found: Coordinator | None = getattr(self, name)
        return found if found is not None else self._skip(name)

    def nonsense(self) -> tuple[Coordinator, ...]:
        """The configurations that must be refused, or the scenario is skipped."""
        return self.invalid or self._skip("invalid")

    def backend(self, context: Context, coordinator: Coordinator | None = None) -> Backend:
        """The backend that `Bus.open` would build from the configuration."""
        source = self.coordinator() if coordinator is None else coordinator
        variants = (*config.VARIANTS, *registry.third_party_variants())
        decoded = config.decode(source, variants=variants)
        return registry.load(config.type_of(decoded))(decoded, context)

    def _skip(self, name: str) -> Any:
        pytest.skip(f"the harness has no `{name}`: {_MEANING[name]}")
