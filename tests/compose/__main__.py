"""Play the compose demo where no image can be pulled: `python -m tests.compose nats redis=steady,kill`.

An engine in a network namespace of its own, stand-ins for the images under their tags (Debian packages and
servers of this machine), the real Dockerfile and docker-compose.yml, and `demos.verify` as anybody plays it.
Needs root, dockerd and debootstrap.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bus.testing.brokers import StartError, Unavailable
from demos.verify import ACTS, BACKENDS, OTHER
from tests.compose.stage import images_of, lay
from tests.containers import stand_ins
from tests.containers.compose import docker_config
from tests.containers.engine import engine

ALL = ",".join(ACTS)


def main() -> int:
    """The exit code: 0 when every play has passed, 1 when not, 2 when one could not begin."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.compose", description="Play the compose demo offline."
    )
    parser.add_argument("plays", nargs="*", default=["nats"], metavar="BACKEND[=ACTS]")
    plays = [play.partition("=") for play in parser.parse_args().plays]
    if unknown := {name for name, _, _ in plays} - set(BACKENDS):
        parser.error(f"no such backend: {', '.join(sorted(unknown))}; there are {', '.join(BACKENDS)}")
    # Everything is taken down, as at the end.
    signal.signal(signal.SIGTERM, _end)
    start = time.monotonic()
    try:
        # Short: the engine's socket is below it.
        with tempfile.TemporaryDirectory(prefix="bus-compose-", ignore_cleanup_errors=True) as name:
            code = _play_all(Path(name), {backend: acts or ALL for backend, _, acts in plays})
    except (Unavailable, StartError) as error:
        print(f"the demo cannot be played here: {error}", file=sys.stderr)
        return 2
    print(f"== all: {time.monotonic() - start:.0f} s", flush=True)
    return code


def _end(_number: int, _frame: object) -> None:
    sys.exit(143)


def _play_all(folder: Path, plays: Mapping[str, str]) -> int:
    config = docker_config(folder)
    stage = lay(folder / "stage")
    with engine(folder / "engine", apart=True) as url:
        os.environ["DOCKER_HOST"] = url
        backends = {*plays, *(OTHER.get(backend, "nats") for backend in plays if "switch" in plays[backend])}
        names = images_of(stage, backends)
        if any("observe" in acts for acts in plays.values()):
            names.add(stand_ins.PROMETHEUS)
        stand_ins.build(names)
        print(f"stand-ins for {', '.join(sorted(names))}", flush=True)
        environment = {
            **os.environ, "DOCKER_CONFIG": str(config), "PIP_NO_INDEX": "1", "BUILD_NETWORK": "none",
            # The builder inside of the engine: no further plugin.
            "COMPOSE_BAKE": "false",
        }  # fmt: skip
        # All of the file, also what is not played.
        words = ["docker", "compose", "--profile", "*", "config", "--quiet"]
        subprocess.run(words, cwd=stage, env=environment, check=True)
        codes: list[int] = []
        for backend, acts in plays.items():
            words = ["--backend", backend, "--acts", acts, "--project-directory", str(stage)]
            start = time.monotonic()
            codes.append(
                subprocess.run(
                    [sys.executable, "-m", "demos.verify", *words], env=environment, check=False
                ).returncode
            )
            print(f"== {backend}: {time.monotonic() - start:.0f} s", flush=True)
        return max(codes)


if __name__ == "__main__":
    sys.exit(main())
