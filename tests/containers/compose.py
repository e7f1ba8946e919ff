"""Docker Compose for an engine of ours: that of this machine, else one built from its Go module, cached.

Debian has only version 1, in Python, which knows neither `required: false` nor the rest of today's format. To
build the plugin takes about five minutes, once per machine and version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bus.testing.brokers import Unavailable

MODULE = "github.com/docker/compose/v2"
VERSION = "v2.40.3"
_BUILD = 1_200.0


def docker_config(folder: Path) -> Path:
    """A folder for DOCKER_CONFIG with which `docker compose` works; made in `folder`. Raises Unavailable."""
    if shutil.which("docker") is None:
        raise Unavailable("no docker command: apt-get install docker.io")
    if (given := os.environ.get("DOCKER_CONFIG")) and _works(Path(given)):
        return Path(given)
    made = folder / "docker"
    (made / "cli-plugins").mkdir(parents=True)
    if not _works(made):
        (made / "cli-plugins" / "docker-compose").symlink_to(plugin())
    if not _works(made):
        raise Unavailable(f"the compose plugin does not work with this docker: {plugin()}")
    return made


def plugin() -> Path:
    """The program; built if it is not in the user's cache. Raises Unavailable."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coordinator-bus"
    made = cache / f"docker-compose-{VERSION}"
    if not made.exists():
        go = _go()
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="compose-", dir=cache) as name:
            _build(go, Path(name))
            # Under its own name only when complete.
            (Path(name) / "docker-compose").rename(made)
    return made


def _works(config: Path) -> bool:
    environment = {**os.environ, "DOCKER_CONFIG": str(config)}
    done = subprocess.run(
        ["docker", "compose", "version", "--short"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    major, _, rest = done.stdout.strip().removeprefix("v").partition(".")
    minor = rest.partition(".")[0]
    # From this version on what the file says is understood.
    return major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= (2, 24)


def _go() -> str:
    places = [shutil.which("go"), "/usr/local/go/bin/go"]
    for place in places:
        if place and Path(place).exists():
            return place
    raise Unavailable(
        "no docker compose: install the plugin (docker-compose-plugin), or Go, and it is built once"
    )


def _build(go: str, folder: Path) -> None:
    (folder / "go.mod").write_text("module plugin\n\ngo 1.24\n")
    # A program that is somebody else's package: named as an import, so that its versions are ours to choose.
    (folder / "tools.go").write_text(f'//go:build tools\n\npackage tools\n\nimport _ "{MODULE}/cmd"\n')
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    flags = f"-s -w -X {MODULE}/internal.Version={VERSION}"
    for words in (
        ["get", f"{MODULE}/cmd@{VERSION}"],
        ["build", "-trimpath", "-ldflags", flags, "-o", "docker-compose", f"{MODULE}/cmd"],
    ):
        done = subprocess.run(
            [go, *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_BUILD,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"docker compose cannot be built: go {words[0]}: {done.stderr[-1000:]}")
