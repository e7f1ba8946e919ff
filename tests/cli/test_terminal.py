"""`bus top` on a real terminal of 80 columns and 24 lines: tmux draws it, and says what stands there."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.testing.brokers import Broker
from bus.testing.brokers.process import own_path
from tests.cli.kit import BUS, Node, clean, until


class Terminal:
    """One pane of a tmux server of its own; `end` ends that server."""

    def __init__(self, folder: Path, words: list[str], width: int, height: int) -> None:
        # A socket path may have about a hundred bytes.
        self._tmux = ["tmux", "-f", "/dev/null", "-L", f"bus-{secrets.token_hex(4)}"]
        self._env = clean(own_path()) | {"TERM": "xterm-256color", "HOME": str(folder), "LANG": "C.UTF-8"}
        size = ["-x", str(width), "-y", str(height)]
        self.tell("new-session", "-d", *size, "sh")
        self.tell("respawn-pane", "-k", f'{shlex.join(words)}; echo "ended with $?"; exec sleep 60')

    def tell(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, text=True, timeout=10, env=self._env, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def screen(self) -> list[str]:
        return self.tell("capture-pane", "-p").splitlines()

    def end(self) -> None:
        self.tell("kill-server")


@pytest.fixture
def terminal(tmp_path: Path, nats_nodes: list[Node], nats_server: Broker) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        missing = "there is no tmux here: apt-get install tmux"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    words = [*BUS, "top", "--url", nats_server.url, "--cluster", "steady", "--interval", "0.3"]
    made = Terminal(tmp_path, words, 80, 24)
    try:
        yield made
    finally:
        made.end()


def test_top_fits_into_80_columns_and_24_lines_and_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    until(lambda: {"node-1", "node-2"} <= set(" ".join(terminal.screen()).split()), 15)
    for _ in range(3):
        shown = terminal.screen()
        # Each node once: nothing has scrolled, wrapped, or been left over from the draw before.
        assert [line.split()[0] for line in shown if "node-" in line] == ["node-1", "node-2"], shown
        assert max(map(len, shown)) <= 80
        assert len(shown) <= 24
    terminal.tell("send-keys", "C-c")
    until(lambda: any(line.startswith("ended with ") for line in terminal.screen()))
    shown = [line for line in terminal.screen() if line.strip()]
    assert "ended with 130" in shown
    assert "Traceback" not in "\n".join(shown)
    assert terminal.tell("display-message", "-p", "#{cursor_flag} #{alternate_on}").split() == ["1", "0"]
