"""Stand-ins for the images of `bus.testing.brokers.images`, under their names, where none can be pulled.

A base of Debian packages (fetched and unpacked by debootstrap, cached as one tar file), and upon it for each
image the server program of this machine, started as the real image starts its own; for Python, Debian's.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Protocol, cast

from bus.testing.brokers import Unavailable
from bus.testing.brokers.images import IMAGES
from bus.testing.brokers.kafka_home import kafka_home
from bus.testing.brokers.local import program
from bus.testing.brokers.redis import redis_program

# For the servers that are not one static file.
PACKAGES = (
    *("redis-server", "python3", "default-jre-headless"),
    # What the health checks of docker-compose.yml call, and what the image of the node is built upon.
    *("wget", "netcat-openbsd", "python3-venv"),
)
BASE = "bus-stand-in:base"
# What the Dockerfile of the node is built upon.
PYTHON = "python:3.11.14-slim-bookworm"
# As docker-compose.yml names it.
PROMETHEUS = "prom/prometheus:v3.7.3"
# A Dockerfile after FROM, and the files that it copies: their paths, or their text.
Recipe = tuple[str, Mapping[str, Path | str]]

_ZENOHD = '''#!/usr/bin/python3
"""As `zenohd --listen ENDPOINT --no-multicast-scouting`."""
import json, signal, sys, zenoh
listen = sys.argv[sys.argv.index("--listen") + 1]
quiet = {"multicast": {"enabled": "--no-multicast-scouting" not in sys.argv}}
config = {"mode": "router", "listen": {"endpoints": [listen]}, "scouting": quiet}
session = zenoh.open(zenoh.Config.from_json5(json.dumps(config)))
signal.pause()
'''
_KAFKA = """#!/bin/sh
# As the real one: KAFKA_SOME_NAME=value is some.name=value of its configuration.
python3 - >/tmp/server.properties <<'END'
import os
for name, value in os.environ.items():
    if name.startswith("KAFKA_"):
        print(f"{name[6:].lower().replace('_', '.')}={value}")
END
java="/usr/lib/jvm/default-java/bin/java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp /opt/libs/*"
set -f
cd /tmp
[ -d kafka-logs ] || $java kafka.tools.StorageTool format -t 5L6g3nShT-eMCtK--X86sw -c server.properties
exec $java kafka.Kafka server.properties
"""


class _Images(Protocol):
    def build(self, *, fileobj: IO[bytes], custom_context: bool, tag: str, rm: bool) -> object: ...


class _Api(Protocol):
    def import_image_from_file(self, path: str, *, repository: str, tag: str) -> str: ...


class _Client(Protocol):
    api: _Api
    images: _Images

    def close(self) -> None: ...


def build(names: Iterable[str] | None = None) -> None:
    """Make these, or all of them, in the engine that DOCKER_HOST names. Raises Unavailable."""
    # The library has no types.
    client = cast("Callable[..., _Client]", importlib.import_module("docker").from_env)(timeout=120)
    try:
        repository, _, tag = BASE.partition(":")
        client.api.import_image_from_file(str(base()), repository=repository, tag=tag)
        makers = _makers()
        for name in makers if names is None else names:
            dockerfile, files = makers[name]()
            context = _context(dockerfile, files)
            client.images.build(fileobj=context, custom_context=True, tag=name, rm=True)
    finally:
        client.close()


def base() -> Path:
    """The tar file of the base; made if it is not in the user's cache (half a minute, and 120 MB to fetch).

    Raises Unavailable.
    """
    release, mirror = _release()
    mark = hashlib.sha256(" ".join((release, *PACKAGES)).encode()).hexdigest()[:8]
    cache = _cache()
    made = cache / f"stand-in-{release}-{mark}.tar"
    if not made.exists():
        with tempfile.TemporaryDirectory(prefix="stand-in-", dir=cache) as name:
            _bootstrap(Path(name), release, mirror)
            # Under its own name only when complete.
            (Path(name) / "base.tar").rename(made)
    return made


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coordinator-bus"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _bootstrap(scratch: Path, release: str, mirror: str) -> None:
    """Packages, only unpacked: what their scripts would set up is not needed by one server in a container."""
    root = scratch / "root"
    words = ("--foreign", "--variant=minbase", f"--include={','.join(PACKAGES)}")
    done = subprocess.run(
        ["debootstrap", *words, release, str(root), mirror], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unavailable(f"debootstrap could not fetch the stand-in's packages: {done.stdout[-500:]}")
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacked:
            words = ("--keep-directory-symlink", "-xf", "-")
            subprocess.run(["tar", "-C", root, *words], stdin=unpacked.stdout, check=True)
    for folder in ("var/cache/apt", "var/lib/apt", "debootstrap", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(root / folder, ignore_errors=True)
    # debootstrap may leave a link to our own.
    if (root / "proc").is_symlink():
        (root / "proc").unlink()
        (root / "proc").mkdir()
    subprocess.run(["tar", "-C", root, "--one-file-system", "-cf", scratch / "base.tar", "."], check=True)


def _release() -> tuple[str, str]:
    """The code name of this machine's Debian, and from where it takes its packages."""
    if shutil.which("debootstrap") is None:
        raise Unavailable("stand-ins for images need debootstrap: apt-get install debootstrap")
    lines = Path("/etc/os-release").read_text().splitlines()
    release = next(line.partition("=")[2] for line in lines if line.startswith("VERSION_CODENAME="))
    words = ["--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {release}"]
    done = subprocess.run(["apt-get", "indextargets", *words], capture_output=True, text=True, check=True)
    return release, done.stdout.split()[0]


def _makers() -> dict[str, Callable[[], Recipe]]:
    """Name -> what it is made of. Only what is wanted must be there."""
    return {
        PYTHON: lambda: ("RUN mkdir -p /usr/local/bin && ln -s /usr/bin/python3 /usr/local/bin/python", {}),
        IMAGES["nats"]: lambda: (
            "COPY nats-server /usr/bin/",
            {"nats-server": program("nats-server", "")},
        ),
        IMAGES["redis"]: lambda: ("WORKDIR /data", {}),
        IMAGES["valkey"]: lambda: (
            "WORKDIR /data\nCOPY valkey-server /usr/bin/",
            {"valkey-server": redis_program("valkey", None)},
        ),
        IMAGES["zenoh"]: _zenoh,
        PROMETHEUS: lambda: (
            'COPY prometheus /bin/\nENTRYPOINT ["/bin/prometheus"]',
            {"prometheus": _of_debian("prometheus", "usr/bin/prometheus")},
        ),
        IMAGES["kafka"]: lambda: (
            'COPY libs /opt/libs\nCOPY kafka /\nCMD ["/kafka"]',
            {"libs": kafka_home().folder / "libs", "kafka": _KAFKA},
        ),
    }


def _of_debian(package: str, program: str) -> Path:
    """A program of a Debian package that is not installed; kept in the user's cache. Raises Unavailable."""
    made = _cache() / f"debian-{package}"
    if not made.exists():
        with tempfile.TemporaryDirectory(prefix=f"{package}-", dir=_cache()) as name:
            words = ["apt-get", "download", "--quiet", package]
            done = subprocess.run(words, cwd=name, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unavailable(f"{package} cannot be fetched: {done.stderr[-500:]}")
            (archive,) = Path(name).glob("*.deb")
            subprocess.run(["dpkg-deb", "--extract", archive, f"{name}/root"], check=True)
            (Path(name) / "root" / program).rename(made)
    return made


def _zenoh() -> Recipe:
    zenoh = importlib.util.find_spec("zenoh")
    if zenoh is None or zenoh.origin is None:
        raise Unavailable("no Zenoh: pip install 'coordinator-bus[zenoh]'")
    return (
        'COPY zenoh /usr/lib/python3/dist-packages/zenoh\nCOPY zenohd /\nENTRYPOINT ["/zenohd"]',
        {"zenoh": Path(zenoh.origin).parent, "zenohd": _ZENOHD},
    )


def _context(dockerfile: str, files: Mapping[str, Path | str]) -> IO[bytes]:
    """What the engine is sent to build one image."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, content in {"Dockerfile": f"FROM {BASE}\n{dockerfile}\n", **files}.items():
            if isinstance(content, Path):
                tar.add(content.resolve(), arcname=name)
                continue
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content.encode()), 0o755
            tar.addfile(entry, io.BytesIO(content.encode()))
    context.seek(0)
    return context
