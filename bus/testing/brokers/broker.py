"""What every broker fixture can do, and the broker that the environment names.

`Broker` is the interface; the fixtures of this package are `LocalBroker`s (processes of this machine),
containers, or a `GivenBroker`: a server that somebody else runs, of which only the URL is known.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn, Protocol, TypedDict, runtime_checkable


class Unavailable(RuntimeError):
    """There is no such broker here; the text says what was looked for and how to get one."""


@runtime_checkable
class Broker(Protocol):
    """One messaging system for tests: a process, a group of processes, or a container.

    Calls are synchronous and return when their effect is there: `restart` when the server answers again.
    A broker from an URL of the environment cannot be killed, frozen or restarted: these raise Unavailable.
    """

    @property
    def url(self) -> str:
        """What `Bus.open` takes."""
        ...

    def kill(self) -> None:
        """SIGKILL; idempotent."""
        ...

    def pause(self) -> None:
        """SIGSTOP: its connections stay open and nothing answers."""
        ...

    def resume(self) -> None:
        """SIGCONT."""
        ...

    def restart(self) -> None:
        """Start it at the same address; kill it first if it runs."""
        ...

    def mend(self) -> None:
        """Whatever was done to it, it serves again: what is frozen goes on, what was killed is started."""
        ...

    def stop(self) -> None:
        """End it politely and remove what it left behind; idempotent."""
        ...

    def logs(self) -> str:
        """What it printed."""
        ...


class GivenBroker:
    """A broker of which only the URL is known; it cannot be killed, frozen or restarted."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    def kill(self) -> None:
        """Raises Unavailable."""
        self._refuse("killed")

    def pause(self) -> None:
        """Raises Unavailable."""
        self._refuse("frozen")

    def resume(self) -> None:
        """Raises Unavailable."""
        self._refuse("thawed")

    def restart(self) -> None:
        """Raises Unavailable."""
        self._refuse("restarted")

    def mend(self) -> None:
        """Nothing can have been done to it."""

    def stop(self) -> None:
        """It goes on: others started it."""

    def logs(self) -> str:
        """Raises Unavailable."""
        self._refuse("asked for its logs")

    def _refuse(self, done: str) -> NoReturn:
        name = variable(self.kind)
        raise Unavailable(
            f"the {self.kind} server of {name} cannot be {done}: unset {name} to have one of our own"
        )


class Steps(TypedDict):
    """What a conformance `Harness` takes to do things to a server."""

    kill: Callable[[], Awaitable[None]]
    pause: Callable[[], Awaitable[None]]
    resume: Callable[[], Awaitable[None]]
    restart: Callable[[], Awaitable[None]]


def steps(broker: Broker) -> Steps:
    """`Harness(coordinator=lambda: broker.url, **steps(broker))`: the calls, each in a thread."""
    return {
        "kill": partial(asyncio.to_thread, broker.kill),
        "pause": partial(asyncio.to_thread, broker.pause),
        "resume": partial(asyncio.to_thread, broker.resume),
        "restart": partial(asyncio.to_thread, broker.restart),
    }


def variable(kind: str) -> str:
    """The environment variable that names a broker of this kind."""
    return f"BUS_TEST_{kind.upper().replace('-', '_')}_URL"


def url_from_environment(kind: str) -> str | None:
    """`BUS_TEST_<KIND>_URL`: a server that somebody else runs, used as it is."""
    return os.environ.get(variable(kind)) or None
