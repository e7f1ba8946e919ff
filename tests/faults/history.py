"""What happened at each node, as a file of JSON lines, and the judge over all of them.

Times are seconds of the machine's monotonic clock, which all processes share. A run of consecutive numbers is
one line; nothing is left out, so that the judge, who runs afterwards and knows no bus, sees every event.

    verdict = judge(folder)
    verdict.unexplained        events that were neither delivered nor told, over all ordered pairs
    verdict.pairs[0].told      of one pair: how many were told lost by a Gap
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="what"):
    """One line; `at` is when it was noted."""

    at: float


class Opened(Entry, tag="open"):
    """The node runs as this epoch; the first line of a file."""

    node: str
    epoch: int


class Published(Entry, tag="publish"):
    """Its own events, from first to last."""

    first: int
    last: int


class Delivered(Entry, tag="deliver"):
    """Events of another epoch, by the numbers that their sender gave them."""

    epoch: int
    first: int
    last: int


class Gapped(Entry, tag="gap"):
    """A Gap was told."""

    epoch: int
    ranges: tuple[tuple[int, int], ...]
    reason: str


class Resynced(Entry, tag="resync"):
    """A Resync was told; no epoch: of everybody."""

    epoch: int | None
    after: int | None
    reason: str


class Overflown(Entry, tag="overflow"):
    """The node's own inbox dropped so many."""

    count: int


class State(Entry, tag="state"):
    """The node's link is in another state."""

    state: str
    error: str | None


class Met(Entry, tag="met"):
    """Another epoch is a peer from here on: what it published up to `baseline` is not for us."""

    node: str
    epoch: int
    baseline: int


class Changed(Entry, tag="change"):
    """Membership: Up, Down, Restarted or Duplicate."""

    change: str
    node: str


class Logged(Entry, tag="log"):
    """A line of the log at WARNING or above; `trace`: with a traceback."""

    level: str
    text: str
    trace: bool


class Sample(Entry, tag="sample"):
    """What the process uses: CPU seconds since its start, resident bytes, descriptors, tasks, threads."""

    cpu: float
    rss: int
    fds: int
    tasks: int
    threads: int


class Asked(Entry, tag="asked"):
    """`ready` was called with little patience, and said this; empty: it was ready."""

    answer: str


class Closed(Entry, tag="close"):
    """The last line of a node that ended by itself.

    Seconds that one `publish` took at most, by the thread's own clock and by the one on the wall, and what
    all but one of a thousand took; what the bus counted over all its peers; seconds that `aclose` took, and
    what was still there a second later.
    """

    longest_cpu: float
    longest_wall: float
    repaired: int
    duplicates: int
    usual_wall: float = 0.0
    close: float = 0.0
    left: tuple[str, ...] = ()


Line = (
    Opened
    | Published
    | Delivered
    | Gapped
    | Resynced
    | Overflown
    | State
    | Met
    | Changed
    | Logged
    | Sample
    | Asked
    | Closed
)
_DECODER = msgspec.json.Decoder(Line)


class History(NamedTuple):
    """One life of one node."""

    node: str
    epoch: int
    lines: Sequence[Line]

    def of(self, epoch: int) -> list[Delivered | Gapped | Resynced | Overflown]:
        """What was noted about another epoch, in order."""
        return [
            line
            for line in self.lines
            if (isinstance(line, Delivered | Gapped) and line.epoch == epoch)
            or (isinstance(line, Resynced) and line.epoch in (None, epoch))
            or isinstance(line, Overflown)
        ]

    @property
    def published(self) -> int:
        """How many events it published; it numbers them from 1."""
        return max((line.last for line in self.lines if isinstance(line, Published)), default=0)

    @property
    def baselines(self) -> dict[int, int]:
        """Of each peer epoch, the number up to which its events were not for this node."""
        return {line.epoch: line.baseline for line in self.lines if isinstance(line, Met)}

    def first_after(self, moment: float) -> int | None:
        """Its first event that was surely published after a moment: a line is written before its batch."""
        return next(
            (line.first for line in self.lines if isinstance(line, Published) and line.at >= moment), None
        )


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the events of one epoch at one other."""

    sender: str
    receiver: str
    published: int
    delivered: int
    # Covered by a Gap, and by nothing but a Resync.
    told: int
    resynced: int
    # Delivered more than once, or told lost and delivered.
    twice: int
    # (position, number that came): it is neither the next one nor behind a told loss.
    disorder: tuple[tuple[int, int], ...]

    @property
    def unexplained(self) -> int:
        """Neither delivered nor told."""
        return self.published - self.delivered - self.told - self.resynced


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """All ordered pairs, and every loss that was told, in words."""

    pairs: tuple[Pair, ...]
    losses: tuple[str, ...]
    overflown: int

    @property
    def unexplained(self) -> int:
        """Events that nobody explains; what a node's own inbox dropped is explained by its Overflow."""
        return sum(pair.unexplained for pair in self.pairs) - self.overflown

    @property
    def wrong(self) -> list[str]:
        """What breaks the promise whatever happened: order, repetition, silent loss."""
        return [
            f"{pair.sender} -> {pair.receiver}: {what}"
            for pair in self.pairs
            for what in (
                f"{pair.unexplained} unexplained" if pair.unexplained and self.unexplained else "",
                f"{pair.twice} twice" if pair.twice else "",
                f"out of order (position, number): {pair.disorder[:5]}" if pair.disorder else "",
            )
            if what
        ]

    @property
    def lost(self) -> list[str]:
        """What breaks "repaired, not merely told"."""
        return [*self.wrong, *self.losses]


def read(path: Path) -> History:
    """One file. A line that a killed process did not finish is left out."""
    text = path.read_bytes()
    lines = [_DECODER.decode(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    opened = lines[0]
    assert isinstance(opened, Opened), f"{path} does not begin with an open line"
    return History(opened.node, opened.epoch, lines)


def histories(folder: Path) -> list[History]:
    """All of a run."""
    return [read(path) for path in sorted(folder.glob("*.jsonl"))]


def judge(runs: Iterable[History], gone: frozenset[int] = frozenset()) -> Verdict:
    """The verdict over the histories of all nodes of one run.

    `gone`: epochs that ended before the others settled; what they did not hear any more is not missing.
    """
    runs = list(runs)
    names = {run.epoch: run.node for run in runs}
    pairs = [
        _pair(sender, receiver, receiver.epoch in gone)
        for receiver in runs
        for sender in runs
        if sender is not receiver
        # Who ended, and who came after that, need not have met.
        and (not {sender.epoch, receiver.epoch} & gone or sender.epoch in receiver.baselines)
    ]
    losses = [
        f"{run.node} was told {_loss(line, names)}"
        for run in runs
        for line in run.lines
        if _loss(line, names)
    ]
    overflown = sum(line.count for run in runs for line in run.lines if isinstance(line, Overflown))
    return Verdict(pairs=tuple(pairs), losses=tuple(losses), overflown=overflown)


def recovered(runs: Iterable[History], moment: float, gone: frozenset[int] = frozenset()) -> float | None:
    """Seconds from a moment until every node had an event of every other that was published after it.

    None: some pair never had one.
    """
    runs = list(runs)
    latest = moment
    for sender in runs:
        fresh = sender.first_after(moment)
        for receiver in runs:
            if receiver is sender or {sender.epoch, receiver.epoch} & gone:
                continue
            times = [
                line.at
                for line in receiver.of(sender.epoch)
                if isinstance(line, Delivered) and fresh is not None and line.last >= fresh
            ]
            if not times:
                return None
            latest = max(latest, times[0])
    return latest - moment


# Marks of one number of a sender.
_DELIVERED, _TOLD, _RESYNCED = 1, 2, 4


class _Account:
    """What one receiver had of one sender: a mark for each number."""

    def __init__(self, published: int, baseline: int) -> None:
        self.marks = bytearray(published + 1)
        self.twice = 0
        self.disorder: list[tuple[int, int]] = []
        self.position = baseline
        # After a Resync, and where an inbox dropped, the next number may be any higher one.
        self._may_jump = False

    def span(self, first: int, last: int, mark: int) -> None:
        """Numbers that were delivered or told."""
        if first != self.position + 1 and not (self._may_jump and first > self.position):
            self.disorder.append((self.position, first))
        if last >= len(self.marks):  # its sender never gave that number
            self.disorder.append((len(self.marks) - 1, last))
        for number in range(first, min(last + 1, len(self.marks))):
            self.twice += bool(self.marks[number] & (_DELIVERED | _TOLD))
            self.marks[number] |= mark
        self.position = last
        self._may_jump = False

    def resync(self, after: int | None) -> None:
        """Whatever is missing above `after` is explained."""
        for number in range((self.position if after is None else after) + 1, len(self.marks)):
            self.marks[number] |= _RESYNCED
        self._may_jump = True

    def overflow(self) -> None:
        """Some are missing here, of this sender or another: the verdict counts them."""
        self._may_jump = True


def _pair(sender: History, receiver: History, is_gone: bool) -> Pair:
    # Two that never met: whatever was published is missing.
    baseline = receiver.baselines.get(sender.epoch, 0)
    account = _Account(sender.published, baseline)
    for line in receiver.of(sender.epoch):
        match line:
            case Delivered():
                account.span(line.first, line.last, _DELIVERED)
            case Gapped():
                for first, last in line.ranges:
                    account.span(first, last, _TOLD)
            case Resynced():
                account.resync(line.after)
            case Overflown():
                account.overflow()
    end = account.position if is_gone else sender.published
    marks = account.marks[baseline + 1 : end + 1]
    return Pair(
        sender=sender.node,
        receiver=receiver.node,
        published=len(marks),
        delivered=sum(bool(mark & _DELIVERED) for mark in marks),
        told=sum(mark & (_DELIVERED | _TOLD) == _TOLD for mark in marks),
        resynced=sum(mark == _RESYNCED for mark in marks),
        twice=account.twice,
        disorder=tuple(account.disorder),
    )


def _loss(line: Line, names: dict[int, str]) -> str:
    match line:
        case Gapped():
            ranges = ", ".join(f"{first}-{last}" for first, last in line.ranges)
            return f"Gap({line.reason}) {ranges} of {names.get(line.epoch, line.epoch)}"
        case Resynced():
            who = "everybody" if line.epoch is None else names.get(line.epoch, line.epoch)
            return f"Resync({line.reason}) after {line.after} of {who}"
        case Overflown():
            return f"Overflow of {line.count}"
        case _:
            return ""
