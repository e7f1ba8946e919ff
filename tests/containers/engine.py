"""A Docker engine for the tests of one run, where none runs: `dockerd` with a folder and a bridge of its own.

    python -m tests.containers.engine FOLDER [apart]

prints the engine's URL when it answers, and ends with its standard input: it then removes all containers, the
engine, the bridge and the folder, however its parent ended. Needs root. The engine leaves the machine's
firewall and routing alone: clients come through its proxies on 127.0.0.1, and containers reach nothing.

`apart`: in a network namespace of its own, where it makes networks and rules as Docker does. Nothing gets in
or out but through its socket, ports that it publishes are those of the namespace, and all of it goes with it.
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, cast

from bus.testing.brokers import StartError, Unavailable
from bus.testing.brokers.process import own_path, until

_START = 30.0
_END = 15.0
# Files before their folders.
_LEFT_BY_DOCKERD = ("/etc/docker/key.json", "/etc/docker", "/run/containerd/s", "/run/containerd")


class _Container(Protocol):
    def remove(self, *, force: bool, v: bool) -> None: ...


class _Containers(Protocol):
    def list(self, *, all: bool) -> list[_Container]: ...


class _Client(Protocol):
    containers: _Containers

    def ping(self) -> bool: ...
    def close(self) -> None: ...


@contextmanager
def engine(folder: Path, *, apart: bool = False) -> Generator[str]:
    """The URL of an engine in a process of its own. Raises Unavailable, StartError."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise Unavailable("no container engine answers, and to start one needs root and dockerd (docker.io)")
    words = [sys.executable, "-m", "tests.containers.engine", str(folder)]
    child = subprocess.Popen(
        ["unshare", "--net", *words, "apart"] if apart else words,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own_path(), start_new_session=True,
    )  # fmt: skip
    with child:
        assert child.stdin is not None and child.stdout is not None
        url = child.stdout.readline().strip()
        if not url:
            raise StartError("dockerd did not start; its log stands in the captured output")
        yield url
        child.stdin.close()
        child.wait(_END * 3)


def main() -> None:
    """Run one until the standard input ends."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    is_apart = sys.argv[2:] == ["apart"]
    bridge = "" if is_apart else f"bus{random.randrange(16**6):06x}"
    engine: subprocess.Popen[bytes] | None = None
    new = [place for place in _LEFT_BY_DOCKERD if not Path(place).exists()]
    try:
        if is_apart:
            _run("ip", "link", "set", "lo", "up")
        else:
            _make(bridge)
        engine = _start(folder, _networks_of_its_own() if is_apart else _networks_of_the_machine(bridge))
        url = f"unix://{folder}/docker.sock"
        with _client(url) as client:
            until(lambda: _answers(client), _START, lambda: (folder / "log").read_text(errors="replace"))
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        sys.stdin.read()
        with _client(url) as client:
            for container in client.containers.list(all=True):
                container.remove(force=True, v=True)
    finally:
        _end(engine)
        if bridge:
            with suppress(OSError, subprocess.CalledProcessError):
                _run("ip", "link", "delete", bridge)
        _remove(folder)
        for place in map(Path, new):
            # Another engine may use it by now: then it is not empty.
            with suppress(OSError):
                place.rmdir() if place.is_dir() else place.unlink()


def _make(bridge: str) -> None:
    # Of a network that is reserved for documentation: nobody's neighbours have such addresses.
    address = f"198.51.100.{random.randrange(16) * 16 + 1}/28"
    _run("ip", "link", "add", bridge, "type", "bridge")
    _run("ip", "address", "add", address, "dev", bridge)
    _run("ip", "link", "set", bridge, "up")


def _networks_of_the_machine(bridge: str) -> list[str]:
    return [
        f"--bridge={bridge}",
        *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
    ]


def _networks_of_its_own() -> list[str]:
    # Reserved for documentation as well; nobody is beside it here, but an address may be seen in a log.
    return ["--bip=203.0.113.1/28", "--default-address-pool=base=198.51.100.0/24,size=27"]


def _start(folder: Path, networks: list[str]) -> subprocess.Popen[bytes]:
    words = [
        f"--data-root={folder}/data",
        f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid",
        f"--host=unix://{folder}/docker.sock",
        *networks,
    ]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(["dockerd", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _end(engine: subprocess.Popen[bytes] | None) -> None:
    if engine is None:
        return
    engine.send_signal(signal.SIGTERM)
    try:
        engine.wait(_END)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


def _remove(folder: Path) -> None:
    """What was mounted below it keeps it from being removed, for a moment or until it is unmounted."""
    deadline = time.monotonic() + _END
    while folder.exists() and time.monotonic() < deadline:
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((one for one in mounted if one.startswith(f"{folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


@contextmanager
def _client(url: str) -> Generator[_Client]:
    # The library has no types; its constructor asks the engine for nothing when it is told the version.
    make = cast("Callable[..., _Client]", importlib.import_module("docker").DockerClient)
    client = make(base_url=url, version="1.41", timeout=10)
    try:
        yield client
    finally:
        client.close()


def _answers(client: _Client) -> bool:
    try:
        return client.ping()
    except Exception:  # noqa: BLE001  # until its socket is there the library raises one of several
        return False


if __name__ == "__main__":
    main()
