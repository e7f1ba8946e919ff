"""One of three Zenoh nodes is frozen under load: the others never wait, and nothing is lost untold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import cast

import pytest

NODE = Path(__file__).with_name("steady_node.py")
ROOT = Path(__file__).parents[2]
NAMES = ("a", "b", "c")


class Node:
    """A node process and its lines."""

    def __init__(self, cluster: str, name: str) -> None:
        self.name = name
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'backends'}"}
        self.process = subprocess.Popen(
            [sys.executable, str(NODE), "zenoh://", cluster, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def answer(self) -> dict[str, object]:
        """The next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"node {self.name} ended with {self.process.wait(5)}"
        return dict(json.loads(line))

    def tell(self, line: str) -> None:
        """One command; its answer is read apart, so that all nodes work at once."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str) -> dict[str, object]:
        """One command and its answer."""
        self.tell(line)
        return self.answer()

    def end(self) -> None:
        """Close stdin, which ends it; else kill it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


def _pause(seconds: float) -> None:
    """Let real time pass: the length of the fault is what is tested."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        signal.sigtimedwait([], left)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seconds", [5, 30])
def test_after_a_freeze_every_event_is_delivered_in_order_or_told(seconds: int) -> None:
    cluster = f"frozen-{uuid.uuid4().hex[:8]}"
    nodes = [Node(cluster, name) for name in NAMES]
    try:
        for node in nodes:
            assert node.answer() == {"ready": node.name}
        for node in nodes:
            node.ask("go")
        _pause(2)
        frozen = nodes[2].process
        frozen.send_signal(signal.SIGSTOP)
        try:
            _pause(seconds)
        finally:
            frozen.send_signal(signal.SIGCONT)
        _pause(3)
        published = {node.name: node.ask("stop")["published"] for node in nodes}
        assert all(isinstance(count, int) and count > 1_500 for count in published.values()), published
        for node in nodes:
            node.tell(f"await {json.dumps({k: v for k, v in published.items() if k != node.name})}")
        answers = {node.name: node.answer() for node in nodes}
    finally:
        for node in nodes:
            node.end()
    for name, answer in answers.items():
        heard = cast("dict[str, dict[str, object]]", answer["heard"])
        for sender in NAMES:
            if sender != name:
                row = heard[sender]
                assert row["disorder"] == [], (name, sender, row)
                # All of it fits the log, and nobody was cut off from a living sender: nothing may be lost.
                assert row["lost"] == 0, (name, sender, row)
                assert row["delivered"] == published[sender], (name, sender, row, published)
        if name != "c":
            # CPU time, since the machine may be busy: `publish` itself never waits.
            assert cast("float", answer["longest_cpu"]) < 0.05, answer
