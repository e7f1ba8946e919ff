"""A broker in a container, by testcontainers: where there is an engine and no server program.

The same interface as of processes: kill, pause and restart are those of the engine, and the port on this
machine stays. What runs in it is in `images`. A container whose maker is killed is removed by a guard of
ours, a child that notices (`remover`): testcontainers' own is one more image to pull, and wants the engine's
socket.
"""

from __future__ import annotations

import importlib
import importlib.util
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self, cast

from bus.testing.brokers.broker import Unavailable
from bus.testing.brokers.images import recipe
from bus.testing.brokers.process import StartError, own_path, until
from bus.testing.leaks import spared

_PING = 2.0
_START = 60.0


class _Container(Protocol):
    """What we use of the library docker, which has no types."""

    id: str
    status: str

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def unpause(self) -> None: ...
    def reload(self) -> None: ...
    def logs(self) -> bytes: ...
    def remove(self, *, force: bool, v: bool) -> None: ...


class _Client(Protocol):
    def ping(self) -> bool: ...
    def close(self) -> None: ...


class ContainerBroker:
    """One container, started; also a context manager that stops at its end.

    Raises Unavailable without an engine on this machine, without testcontainers, or when the image cannot be
    had; StartError when the broker in it does not start.
    """

    def __init__(self, kind: str) -> None:
        probe_engine()
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        self.kind = kind
        self._recipe = recipe(kind)
        self._faults = _faults()
        self._guard: subprocess.Popen[bytes] | None = None
        self._is_kept = False
        container = DockerContainer(self._recipe.image).with_command(list(self._recipe.command))
        container.with_envs(**self._recipe.environment)
        for inside, outside in self._recipe.ports.items():
            # Its own method for this publishes to the whole network.
            cast("dict[str, object]", container.ports)[str(inside)] = ("127.0.0.1", outside)
        has_no_reaper = testcontainers_config.ryuk_disabled
        testcontainers_config.ryuk_disabled = True
        try:
            container.start()
        except self._faults as error:
            with suppress(*self._faults):
                container.stop()
            raise Unavailable(f"no container of {self._recipe.image}: {error}") from None
        finally:
            testcontainers_config.ryuk_disabled = has_no_reaper
        self._close = container.get_docker_client().client.close
        self._container = cast("_Container", container.get_wrapped_container())
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "bus.testing.brokers.remover", self._container.id],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=own_path(), start_new_session=True,
        )  # fmt: skip
        self._wait()

    @property
    def url(self) -> str:
        """What `Bus.open` takes."""
        return self._recipe.url

    @property
    def image(self) -> str:
        """The image it was made of."""
        return self._recipe.image

    def serves(self) -> bool:
        """Whether it answers now."""
        return self._recipe.is_ready()

    def kill(self) -> None:
        """SIGKILL to all that runs in it; idempotent."""
        self._thaw()
        if self._status() == "running":
            self._container.kill()
            until(lambda: self._status() == "exited", _START, lambda: f"{self.kind} is not killed")

    def pause(self) -> None:
        """Freeze all that runs in it: connections stay open and nothing answers."""
        if self._status() == "running":
            self._container.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._thaw()

    def restart(self) -> None:
        """Kill it, if it runs, and start it at the same port."""
        self.kill()
        self.mend()

    def mend(self) -> None:
        """Whatever was done to it, it serves again."""
        self._thaw()
        if self._status() != "running":
            self._container.start()
        self._wait()

    def keep(self) -> None:
        """It is to outlive tests: `no_leaks` then says nothing about its guard."""
        if self._guard is not None:
            spared.add(self._guard.pid)

    def stop(self) -> None:
        """Remove the container, with its data; idempotent."""
        if self._guard is None:
            return
        with suppress(*self._faults):
            self._container.remove(force=True, v=True)
        self._close()
        # A word: it has nothing more to do.
        self._guard.communicate(b"\n")
        spared.discard(self._guard.pid)
        self._guard = None

    def logs(self) -> str:
        """What was printed in it."""
        return self._container.logs().decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _status(self) -> str:
        self._container.reload()
        return self._container.status

    def _thaw(self) -> None:
        # A frozen container can be neither killed nor started.
        if self._status() == "paused":
            self._container.unpause()

    def _wait(self) -> None:
        def is_ready() -> object:
            if self._status() != "running":
                raise StartError(f"the container of {self.kind} ended at its start:\n{self.logs()[-2000:]}")
            return self._recipe.is_ready()

        late = f"{self.kind} in its container is not ready after {_START:g} s"
        try:
            until(is_ready, _START, lambda: f"{late}:\n{self.logs()[-2000:]}")
        except BaseException:
            self.stop()
            raise


def start_container(kind: str) -> ContainerBroker:
    """A broker of this kind in a container. Raises Unavailable, StartError."""
    return ContainerBroker(kind)


def probe_engine() -> None:
    """Raises Unavailable when no container engine of this machine answers within two seconds."""
    for library in ("docker", "testcontainers"):
        if importlib.util.find_spec(library) is None:
            raise Unavailable("for containers: pip install 'coordinator-bus[testing]' (testcontainers)")
    from testcontainers.core.docker_client import get_docker_host

    url = get_docker_host() or "unix:///var/run/docker.sock"
    try:
        if url.startswith("unix://"):
            # The library forgets its socket where nobody listens.
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(_PING)
                one.connect(url.removeprefix("unix://"))
        connect = cast("Callable[..., _Client]", importlib.import_module("docker").DockerClient)
        client = connect(base_url=url, timeout=_PING)
        try:
            client.ping()
        finally:
            client.close()
    except _faults() as error:
        raise Unavailable(f"no container engine answers at {url} ({error})") from None


def _faults() -> tuple[type[Exception], ...]:
    """What the library raises; what the one below it raises is an OSError."""
    errors = importlib.import_module("docker.errors")
    return (cast("type[Exception]", errors.DockerException), OSError)
