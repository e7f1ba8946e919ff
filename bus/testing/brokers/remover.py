"""The guard of a container: `python -m bus.testing.brokers.remover ID`.

Reads its standard input: a line means that the container is gone; the end of the input without one, that our
parent was killed, and the container is removed. Imported by nobody.
"""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Wait for the parent, and remove what it left."""
    if not sys.stdin.read():
        docker = importlib.import_module("docker")
        docker.from_env().containers.get(sys.argv[1]).remove(force=True, v=True)


if __name__ == "__main__":
    main()
