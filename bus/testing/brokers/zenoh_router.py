"""The program of a Zenoh router: `python -m bus.testing.brokers.zenoh_router CONFIG.json5`.

Runs until it is ended by a signal. Imported by nobody.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path


def main() -> None:
    """Route until SIGTERM or SIGINT."""
    import zenoh

    signals = {signal.SIGTERM, signal.SIGINT}
    # Before the library starts its threads, which take over what is blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with zenoh.open(zenoh.Config.from_json5(Path(sys.argv[1]).read_text())):
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
