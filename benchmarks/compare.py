"""What did a change do? `python -m benchmarks.compare OLD.json NEW.json`, of `python -m bus.bench --json`.

Rates of two runs say nothing, so what is compared is the ratio to the raw client of the same run, with its
spread: "better" or "worse" only where the two spreads do not meet. Rows without an opponent are compared by
CPU per event. Exit code 1: something is worse.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bus.bench.figures import Result, way
from bus.bench.report import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

# A machine at rest repeats CPU per event within this.
CPU_NOISE = 1.10
HEADS = ("", "old", "new", "change", "")
Verdict = Literal["better", "worse", "same", "unsure"]


class Report(msgspec.Struct, frozen=True):
    """What `python -m bus.bench --json` prints."""

    version: int
    machine: dict[str, Any]
    results: list[Result]


class Change(msgspec.Struct, frozen=True):
    """One row of both reports. `old` and `new` are ratios, or CPU per event where `is_cpu`."""

    name: str
    old: float
    new: float
    verdict: Verdict
    is_cpu: bool


def read(path: Path) -> Report:
    """A report: a file of JSON, or the output of the command, whose last line it is.

    Raises SystemExit with what is wrong.
    """
    try:
        text = path.read_text().strip()
        return msgspec.json.decode(
            text if text.startswith("{") else text[text.rfind("\n") + 1 :], type=Report
        )
    except (OSError, msgspec.MsgspecError) as error:
        raise SystemExit(f"{path}: {error}; a result of `python -m bus.bench --json` is needed") from None


def name_of(result: Result) -> str:
    """What makes two rows the same measurement."""
    return f"{result.scenario} {result.backend} {result.loop} {way(result)}".strip()


def changes(old: Sequence[Result], new: Sequence[Result]) -> list[Change]:
    """The rows that both have."""
    before = {name_of(result): result for result in old}
    return [
        change
        for result in new
        if (earlier := before.get(name_of(result))) and (change := _change(earlier, result)) is not None
    ]


def _change(old: Result, new: Result) -> Change | None:
    is_delay = new.ours.p50_us is not None
    if old.ratio is not None and new.ratio is not None and old.spread and new.spread:
        (old_low, old_high), (new_low, new_high) = old.spread, new.spread
        verdict: Verdict = "same"
        if new_low > old_high:
            verdict = "worse" if is_delay else "better"
        elif new_high < old_low:
            verdict = "better" if is_delay else "worse"
        if verdict != "same" and not (old.stable and new.stable):
            verdict = "unsure"
        return Change(name_of(new), old.ratio, new.ratio, verdict, is_cpu=False)
    before, after = old.ours.cpu_us_pub, new.ours.cpu_us_pub
    if not before or not after:
        return None
    verdict = "worse" if after > before * CPU_NOISE else "better" if after * CPU_NOISE < before else "same"
    return Change(name_of(new), before, after, verdict, is_cpu=True)


def table(found: Sequence[Change]) -> list[str]:
    """For people."""
    rows = [
        (
            change.name,
            f"{change.old:.2f}{' us' if change.is_cpu else ' x'}",
            f"{change.new:.2f}{' us' if change.is_cpu else ' x'}",
            f"{change.new / change.old - 1:+.0%}",
            change.verdict,
        )
        for change in found
    ]
    return columns([HEADS, *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two files; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--all", action="store_true", help="also rows that are the same")
    asked = parser.parse_args(arguments)
    old, new = read(asked.old), read(asked.new)
    found = changes(old.results, new.results)
    if not found:
        print("the two have no row in common", file=sys.stderr)
        return 2
    shown = [change for change in found if asked.all or change.verdict != "same"]
    if shown:
        print("\n".join(table(shown)))
    same = sum(change.verdict == "same" for change in found)
    missing = len(old.results) + len(new.results) - 2 * len(found)
    print(f"{len(found)} rows in both, {same} of them the same; {missing} in one only")
    return int(any(change.verdict == "worse" for change in found))


if __name__ == "__main__":
    sys.exit(main())
