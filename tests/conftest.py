"""What every test gets: nothing may be left behind, seeds that can be chosen, both event loops.

* Autouse: a test fails when it leaves a thread, a child process, an asyncio task, or an error that
  only asyncio's log has seen (`bus.testing.leaks`).
* `@pytest.mark.loops`: the async test runs on asyncio and on uvloop. Trio tests are ordinary tests
  that call `anyio.run(..., backend="trio")`.
* `--seeds N` and the fixture `seeds`: how many simulation seeds to run.
* The fixture `nothing_blocks`: a call that blocks the event loop raises where it blocks.
* The brokers of `bus.testing.plugin`, as our users get them.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import hypothesis
import pytest
import uvloop
from blockbuster import BlockBuster, blockbuster_ctx
from pytest_asyncio import is_async_test

from bus.testing.leaks import no_leaks

pytest_plugins = ["bus.testing.plugin"]

# Before any test has left garbage behind: see bus/testing/conformance/links.py.
importlib.import_module("anyio._backends._trio")

# No deadline: a shared machine stalls now and then. In CI the same examples every time, so that a
# change is judged by what it changes; at home new ones, and failures are kept and replayed.
hypothesis.settings.register_profile("home", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "home")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, default=1000, help="simulation seeds to run (default 1000)")


def pytest_configure() -> None:
    # A shell lets what it starts in the background ignore SIGINT, and all that we start would inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("loops"):
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture(scope="session")
def seeds(request: pytest.FixtureRequest) -> range:
    """The seeds to run: 0 .. N - 1 of `--seeds N`."""
    count: int = request.config.option.seeds
    return range(count)


@pytest.fixture
def nothing_blocks() -> Iterator[BlockBuster]:
    """Blocking calls (sockets, files, sleep, locks) inside an event loop raise BlockingError."""
    with blockbuster_ctx() as detector:
        yield detector


@pytest.fixture(autouse=True)
def no_thread_or_process_left() -> Iterator[None]:
    with no_leaks():
        yield


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    async with no_leaks():
        yield


# Asks for the other one so that it is set up first and judges last, when the loop is closed.
@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, no_thread_or_process_left: None) -> None:
    if is_async_test(request.node):
        request.getfixturevalue("no_task_left")
