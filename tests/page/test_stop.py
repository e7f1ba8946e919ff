"""A node that is told to end while pages look at it: at once, and without a word about it."""

from __future__ import annotations

import http.client
import signal
import time
from pathlib import Path

from tests.cli.kit import Node, until

# Seconds from the signal to the end of the process, on a machine that has a moment.
SOON = 0.5


def stopped(folder: Path, name: str) -> tuple[float, str]:
    """How long the end took with three streams open, and what the node said meanwhile."""
    node = Node(folder, name, ["--url", "memory://"])
    streams: list[http.client.HTTPConnection] = []
    try:
        headers = {"Authorization": f"Bearer {node.token.read_text().strip()}"}
        for path in ("/events", "/events", "/jmap/eventsource?types=*&closeafter=no&ping=0"):
            stream = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
            stream.request("GET", path, headers=headers)
            reply = stream.getresponse()
            assert reply.status == 200
            reply.readline()
            streams.append(stream)
        before = node.process.logs()
        began = time.monotonic()
        node.process.signal(signal.SIGTERM)
        until(lambda: not node.process.is_running, pause=0.005)
        took = time.monotonic() - began
        return took, node.process.logs()[len(before) :]
    finally:
        for stream in streams:
            stream.close()
        node.process.stop()


def test_a_node_with_open_streams_ends_within_half_a_second_and_quietly(tmp_path: Path) -> None:
    took: list[float] = []
    # A busy machine makes it slower, nothing makes it faster.
    while not took or (min(took) >= SOON and len(took) < 6):
        seconds, said = stopped(tmp_path, f"n{len(took)}")
        took.append(seconds)
        assert "Traceback" not in said
        assert not [line for line in said.splitlines() if '"level":"error"' in line.lower()], said
    assert min(took) < SOON, took
