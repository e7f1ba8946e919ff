"""The environment in which the peers run: made when it is first needed, kept in the user's cache.

It is not ours: their dependencies must not decide which versions of the client libraries we are measured
with. `python -m bus.bench --compare peers` makes it with the pip that this machine is set up for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REQUIREMENTS = (
    "faststream[nats,redis,kafka]>=0.7.8,<0.8",
    "broadcaster[redis]>=0.3.1,<0.4",
    # What our own worker needs.
    "msgspec>=0.22,<0.23",
    "anyio>=4.16,<5",
    "uvloop>=0.23,<0.24; sys_platform != 'win32'",
)
MAKING = 600.0


class NoPeers(Exception):
    """The environment cannot be made; the text says why and what to do."""


def cache() -> Path:
    """Where it is: one folder for each Python and each list of requirements."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    text = "\n".join((*REQUIREMENTS, sys.version, sys.executable))
    return Path(base, "coordinator-bus", f"peers-{hashlib.sha256(text.encode()).hexdigest()[:12]}")


def peers(progress: Callable[[str], None]) -> tuple[str, dict[str, str]]:
    """The Python of the peers, and the environment to start it with. Raises NoPeers."""
    place = cache()
    python = place / "bin" / "python"
    if not python.exists():
        progress(f"making an environment for FastStream and broadcaster in {place} (about a minute)")
        _make(place)
    # Only our own packages: all else must come from there.
    return str(python), {**os.environ, "PYTHONPATH": _ours(place)}


def _ours(place: Path) -> str:
    """A folder with our package and nothing else: where we are installed, there are other libraries, too."""
    import bus

    source, folder = Path(bus.__file__).parent, place / "ours"
    folder.mkdir(exist_ok=True)
    link = folder / "bus"
    if not link.is_symlink() or link.readlink() != source:
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    return str(folder)


def _make(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    # Aside, and moved when it is whole: whoever is interrupted must not leave half of one.
    half = Path(tempfile.mkdtemp(prefix="peers-", dir=place.parent))
    try:
        # Its scripts name the place where it was made: nobody runs them.
        _run([sys.executable, "-m", "venv", str(half)])
        _run([str(half / "bin" / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS])
        half.rename(place)
    except OSError as error:
        raise NoPeers(f"the environment of the peers cannot be made in {place}: {error}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=MAKING, check=False)
    if done.returncode:
        raise NoPeers(
            f"{' '.join(command[:4])} failed, so there are no peers to compare with:\n{done.stderr[-1500:]}"
        )
