"""What is shown, and how: data on stdout, all else on stderr; tables, colour, JSON.

Colour only on a terminal, and never as the only sign: NO_COLOR, FORCE_COLOR, TERM=dumb, `--color`. Where the
encoding is not UTF-8, only ASCII is written. The width is that of the terminal, or COLUMNS; what is no
terminal gets whole lines.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from bus.cli.failure import Failure

_STYLES = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}
_ASCII = str.maketrans({"…": "~", "·": "-", "—": "-", "→": ">", "✓": "+", "✗": "x"})
WIDEST_TEXT = 60


def configure(parser: argparse.ArgumentParser, *, json_takes: str = "") -> None:
    """The arguments of every command; `json_takes`: what may follow after --json."""
    group = parser.add_argument_group("output")
    if json_takes:
        group.add_argument(
            "--json", nargs="?", const=True, default=False, metavar="OBJECT",
            help=f"for programs: JSON, errors too; OBJECT: {json_takes}",
        )  # fmt: skip
    else:
        group.add_argument("--json", action="store_true", help="for programs: JSON, errors too")
    group.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="default: on a terminal"
    )
    loud = group.add_mutually_exclusive_group()
    loud.add_argument("-q", "--quiet", action="store_true", help="no notes on stderr, only errors")
    loud.add_argument("-v", "--verbose", action="store_true", help="log to stderr what is done")
    loud.add_argument(
        "--debug", action="store_true", help="... and all that is sent and received, secrets masked"
    )


class Output:
    """Where a command writes."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.is_json: bool = bool(getattr(arguments, "json", False))
        self._is_quiet = bool(getattr(arguments, "quiet", False))
        self._color: str = getattr(arguments, "color", "auto")
        self.is_terminal: bool = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    # -- data --------------------------------------------------------------------------------------

    def line(self, text: str = "") -> None:
        """One line of data."""
        _write(sys.stdout, text)

    def json(self, value: object, *, indent: int | None = 2) -> None:
        """One document; without an indent on one line, to be read as it comes."""
        self.line(json.dumps(value, indent=indent, ensure_ascii=not _is_utf8(sys.stdout)))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns, as wide as they must be; on a terminal the last one is cut to fit."""
        for line in table_lines(head, rows, self.width):
            self.line(line)

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None: there is none, nothing is cut."""
        if not self.is_terminal and "COLUMNS" not in os.environ:
            return None
        return max(20, shutil.get_terminal_size((80, 24)).columns)

    # -- the rest ----------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Progress, or what else is good to know."""
        if not self._is_quiet:
            _write(sys.stderr, text)

    def warn(self, text: str) -> None:
        """What may be wrong."""
        if not self._is_quiet:
            _write(sys.stderr, f"{self.paint('warning:', 'warn', sys.stderr)} {text}")

    def paint(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """The text in a colour, where there are colours; the words must do without."""
        if not is_coloured(stream or sys.stdout, self._color):
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    def failed(self, failure: Failure) -> None:
        """The last words."""
        if self.is_json:
            _write(sys.stderr, json.dumps({"error": failure.as_json()}))
        else:
            _write(sys.stderr, f"{self.paint('error:', 'bad', sys.stderr)} {failure.as_text()}")


def is_coloured(stream: TextIO, wish: str) -> bool:
    """`--color`, then NO_COLOR, FORCE_COLOR, TERM; then whether it is a terminal."""
    if wish != "auto":
        return wish == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Aligned columns, two blanks between them."""
    cells = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)) for row in cells]
    lines = [line.rstrip() for line in lines]
    if width is None:
        return lines
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]


def shown(value: object, *, is_duration: bool = False) -> str:
    """A JSON value on one line, for people; `is_duration`: a number in it is milliseconds."""
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case str():
            return "".join(char if char.isprintable() else "?" for char in value)
        case list() | dict():
            return json.dumps(value, ensure_ascii=False)
        case int() if is_duration and value > 0:
            from bus.config.duration import Duration

            return str(Duration(value))
        case _:
            return str(value)


def fields(value: Mapping[str, object], durations: Mapping[str, object] | None = None) -> dict[str, str]:
    """Each field as text; `durations` names those that are milliseconds."""
    named = durations or {}
    return {name: shown(one, is_duration=name in named) for name, one in value.items()}


def _is_utf8(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def _write(stream: TextIO, text: str) -> None:
    if not _is_utf8(stream):
        text = (
            text.translate(_ASCII)
            .encode(stream.encoding or "ascii", "replace")
            .decode(stream.encoding or "ascii")
        )
    print(text, file=stream, flush=True)
