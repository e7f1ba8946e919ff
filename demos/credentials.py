"""Make the secrets of the demo, once per volume: files that only the user of nodes and servers can read.

    python -m demos.credentials FOLDER

No secret stands in the repository, in an environment or on a command line.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

NAMES = ("admin_token", "cluster_key", "nats_password", "redis_password", "grafana_password")


def make(folder: Path) -> list[str]:
    """Make what is missing; the names of what was made."""
    made: list[str] = []
    for name in NAMES:
        path = folder / name
        if path.exists():
            continue
        # Under its own name only when it is whole: a server may look at any time.
        new = folder / f".{name}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400)
        with open(descriptor, "w") as file:
            # Starts with a letter: some configuration files would take digits for a number.
            file.write(f"s{secrets.token_urlsafe(32)}")
        new.rename(path)
        made.append(name)
    return made


if __name__ == "__main__":
    print("made:", ", ".join(make(Path(sys.argv[1]))) or "nothing, all were there")
