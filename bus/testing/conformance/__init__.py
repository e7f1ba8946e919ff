"""The conformance suite: what every backend must prove, ours and yours. See docs/new-backend.md.

    from bus.testing.conformance import Conformance, Harness

    class TestFoo(Conformance):
        @pytest.fixture
        def harness(self, foo_server: FooServer) -> Harness:
            return Harness(coordinator=lambda: foo_server.url, restart=foo_server.restart)

It needs pytest and pytest-asyncio, in any mode. Each scenario's name says what it proves, and its docstring
how. Scenarios that the harness cannot serve are skipped with the reason (`pytest -rs`); those that it will
never serve, since there is no server that could fail, need not even be collected:

    class TestFoo(Conformance, without=("restart", "kill", "pause", "resume")):
"""

from __future__ import annotations

import inspect

import pytest

from bus.testing.conformance.buses import Buses
from bus.testing.conformance.closing import Closing
from bus.testing.conformance.faults import Faults
from bus.testing.conformance.frames import Frames
from bus.testing.conformance.harness import Harness
from bus.testing.conformance.links import Links

__all__ = ["Conformance", "Harness", "scenarios"]


# pytest runs the scenarios of the last base first: from the simplest to the hardest.
class Conformance(Faults, Closing, Buses, Links, Frames):
    """Inherit from it and give it a `harness` fixture."""

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    @pytest.fixture
    def harness(self) -> Harness:
        """The system under test."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `harness`")


def scenarios() -> dict[str, str]:
    """Name of each scenario -> what it proves, in the order of the suite."""
    return {
        name: inspect.cleandoc(scenario.__doc__ or "").partition("\n")[0]
        for theme in reversed(Conformance.__bases__)
        for name, scenario in vars(theme).items()
        if name.startswith("test_")
    }
