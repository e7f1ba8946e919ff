"""How far the benchmark is, on stderr: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time

WIDTH = 24
CLEAR = "\r\x1b[K"


class Progress:
    """Counts rows of the report; `say` is what happens inside a row."""

    def __init__(self, rows: int) -> None:
        self._rows = max(1, rows)
        self._done = 0
        self._began = time.monotonic()
        self._is_terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Something that is worth a line, if there is no bar."""
        if self._is_terminal:
            self._draw(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def tell(self, text: str) -> None:
        """Something that stays to be read."""
        print(f"{CLEAR if self._is_terminal else ''}{text}", file=sys.stderr, flush=True)

    def row(self, text: str) -> None:
        """A row is done."""
        self._done += 1
        self.tell(text)
        if self._is_terminal:
            self._draw("")

    def end(self) -> None:
        """Nothing more is to come."""
        if self._is_terminal:
            print(CLEAR, end="", file=sys.stderr, flush=True)

    def _draw(self, text: str) -> None:
        full = WIDTH * min(self._done, self._rows) // self._rows
        bar = "█" * full + "░" * (WIDTH - full)
        columns = shutil.get_terminal_size().columns - 1
        line = f"{bar} {self._done}/{self._rows} {self._left()} {text.strip()}"
        print(f"{CLEAR}{line[:columns]}", end="", file=sys.stderr, flush=True)

    def _left(self) -> str:
        if not self._done:
            return ""
        seconds = (time.monotonic() - self._began) / self._done * (self._rows - self._done)
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"
