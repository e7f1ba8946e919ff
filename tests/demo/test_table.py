"""What is shown fits where it is shown, and the last line is the verdict."""

from __future__ import annotations

import io

import pytest

from bus.demo.ledger import Ledger, Pair
from bus.demo.receipts import Counters
from bus.demo.table import View, ledger_lines, progress_on

BALANCED = Pair("node-1", "node-2", published=12_345, delivered=12_340, lost_told=5)
NODES = [
    View("node-1", True, 1, 1000, 4000, 1000, 0, 1200, 3, 1500),
    View("node-2", False, 0, 200, 0, 0, 2, 1000, 0, 0),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(pair: Pair, stale: int = 0, broken: tuple[str, ...] = ()) -> list[str]:
    ledger = Ledger("memory", 2, 12_345, (pair,), stale, broken)
    return list(ledger_lines(ledger, 2.0, Counters(reads=1000, hits=900, refused=7), 50))


def test_ledger_is_a_table_with_a_verdict() -> None:
    titles, row, totals, verdict = told(BALANCED)
    assert row.split() == ["node-1", "node-2", "12,345", "12,340", "5", "0"]
    assert len(titles) == len(row)
    assert totals == (
        "12,345 writes to 50 rows (6,172/s); 1,000 reads, 90 % from the cache, 7 fills refused, 0 stale"
    )
    assert verdict == "balanced: every event was delivered once, or its loss was told"


def test_verdict_says_what_is_wrong() -> None:
    missing = Pair("node-1", "node-2", published=10, delivered=9)
    assert told(missing)[-1].startswith("NOT balanced")
    assert told(BALANCED, stale=1)[-1] == "balanced, but stale values were read"
    assert told(BALANCED, broken=("node-1",))[-2:] == [
        "the journal of node-1 has holes",
        "NOT balanced: not every event is accounted for",
    ]
    twice = Pair("node-1", "node-2", published=1, delivered=1, twice=3)
    assert told(twice)[-2] == "3 events came twice"
    assert told(twice)[-1].startswith("NOT balanced")


def test_without_a_terminal_there_is_one_plain_line_per_second() -> None:
    out = io.StringIO()
    with progress_on(out) as progress:
        for tenth in range(31):
            progress.show(tenth / 10, NODES)
        progress.say("node-2 gets SIGKILL")
    lines = out.getvalue().splitlines()
    assert lines[0] == (
        "   1.0 s  up 1/2  written 1,200  delivered 2,200  told lost 3  read 4,000  cached 25 %  stale 2"
    )
    assert [line.split()[0] for line in lines] == ["1.0", "2.0", "3.0", "node-2"]
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_there_is_a_table_of_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    with progress_on(out) as progress:
        progress.say("[two] nodes")
        progress.show(1.23, NODES)
    shown = out.getvalue()
    for text in ("[two] nodes", "1.2 s", "node-1", "1,000", "25 %", "1.5", "node-2", "down"):
        assert text in shown
