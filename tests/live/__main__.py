"""The long tour: `python -m tests.live [--rounds 5]`. Exit code 1 when an event was lost, doubled or late."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bus.testing.brokers import start_own
from tests.live.rounds import TOUR, travel


def main() -> int:
    """Start the brokers and go."""
    parser = argparse.ArgumentParser(prog="python -m tests.live", description="A cluster moves under load.")
    parser.add_argument("--rounds", type=int, default=5, help="times through all systems (default 5)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bus-live-"))
    with ExitStack() as stack:
        brokers = {kind: start_own(kind) for kind in TOUR}
        for broker in brokers.values():
            stack.callback(broker.stop)
        began = time.monotonic()
        tour = travel(brokers, folder, options.rounds)
    out = sys.stdout.write
    for pair in tour.verdict.pairs:
        out(
            f"{pair.sender} -> {pair.receiver}: {pair.delivered} of {pair.published} delivered, "
            f"{pair.told + pair.resynced} told lost, {pair.twice} twice, {len(pair.disorder)} out of order\n"
        )
    moves = ", ".join(f"{seconds:.1f}" for seconds in tour.took)
    out(f"{options.rounds} rounds in {time.monotonic() - began:.0f} s; seconds of each move: {moves}\n")
    if tour.problems:
        out("\n    ".join(["FAILED", *tour.problems, f"see {folder}"]) + "\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
