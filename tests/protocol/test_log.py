"""The log against a list: whatever is appended, taken, buried, split or old, frames hold what they say.

The model is a dict of all events ever appended. What the log no longer holds must have had a reason to go:
bytes, events or age. A frame over the limit of a link holds one event.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bus.protocol import frame as wire
from bus.protocol.frame import BODY_START
from bus.protocol.limits import Limits
from bus.protocol.log import TOMBSTONE, Entry, Log, Oversize
from tests.protocol.kit import event

EPOCH = 5
AGE = 20.0
# What is open comes on top of the bounds: a quarter of each, and one event of the largest that are used.
MOST_OPEN, MOST_OPEN_BYTES = 80 // 4, 60_000 // 4 + 920


def events_in(frame: bytes) -> list[bytes]:
    """The encoded events of a frame, read by another way than the log's own."""
    view = wire.events_of(frame, wire.parse(frame))
    return [bytes(one) for one in msgspec.msgpack.decode(view, type=list[msgspec.Raw])]


def filled(log: Log, count: int, size: int = 0) -> Log:
    """The log with so many more events."""
    for _ in range(count):
        log.append(event(EPOCH, log.last + 1, size))
    return log


def held(log: Log, limit: int = 1 << 20, now: float = 0.0) -> list[Entry]:
    """All entries, taken in order."""
    entries: list[Entry] = []
    at = log.first
    while (entry := log.take(at, limit, now)) is not None:
        entries.append(entry)
        at = entry.last + 1
    return entries


class LogAgainstList(RuleBasedStateMachine):
    """Any order of appending, taking with any limit, burying, resizing and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(log_bytes=60_000, log_age=AGE, log_events=80)
        self.log = Log(EPOCH, self.limits, frame_size=4_000)
        self.now = 1.0
        self.events: dict[int, bytes] = {}
        self.born: dict[int, float] = {}
        self.taken: dict[int, float] = {}
        self.first = 1
        self.newest_us = 0
        self.buried = False
        self.marks: dict[int, str] = {}

    @rule(
        count=st.integers(1, 30),
        size=st.sampled_from([0, 0, 0, 20, 150, 900]),
        mark=st.sampled_from([0, 1, 3, 3, 3]),
    )
    def append(self, count: int, size: int, mark: int) -> None:
        for _ in range(count):
            seq = self.log.last + 1
            self.events[seq] = event(EPOCH, seq, size)
            self.born[seq] = self.now
            assert self.log.append(self.events[seq]) == seq
            if mark == seq % 3:
                self.marks[seq] = f"trace-{seq}"
                self.log.mark(self.marks[seq])
        self.gone(by_age=False)

    @rule(back=st.integers(-2, 80), limit=st.sampled_from([1, 60, 100, 200, 1_000, 20_000]))
    def take(self, back: int, limit: int) -> None:
        # As links do: again as often as they like, but nothing is passed over.
        seq = max(0, min(self.log.last - back, max(self.taken, default=0) + 1))
        entry = self.log.take(seq, limit, self.now)
        self.gone(by_age=False)
        if entry is None:
            assert seq > self.log.last or self.log.first > self.log.last
            return
        assert entry.first <= max(seq, self.log.first) <= entry.last
        assert entry.count == 1 or entry.size <= limit
        frame, header = entry.frame, wire.parse(entry.frame)
        wire.check(frame, header)
        assert entry.size == len(frame)
        assert (header.epoch, header.first_seq, header.count) == (EPOCH, entry.first, entry.count)
        numbers = range(entry.first, entry.last + 1)
        assert events_in(frame) == entry.events() == [self.events[one] for one in numbers]
        # Those of an entry that was split are gone; none is ever on another event.
        assert all(self.marks[entry.first + at] == text for at, text in wire.marks_of(frame, header))
        if self.log.newest_us != self.newest_us:  # made now
            assert header.sent_us == self.log.newest_us > self.newest_us
            self.newest_us = self.log.newest_us
        again = self.log.take(seq, limit, self.now + 1)
        assert again is not None
        assert again.frame is frame
        for one in numbers:
            self.taken.setdefault(one, self.now)

    @rule(back=st.integers(-2, 80))
    def bury(self, back: int) -> None:
        seq = self.log.last - back
        self.log.bury(seq)
        self.gone(by_age=False)
        if self.log.first <= seq <= self.log.last:
            self.events[seq] = TOMBSTONE
            self.buried = True

    @rule(frame_size=st.integers(60, 10_000))
    def resize(self, frame_size: int) -> None:
        self.log.resize(frame_size)

    @rule(step=st.sampled_from([0.05, 0.6, 1.0, 5.0, AGE]))
    def wait(self, step: float) -> None:
        self.now += step
        self.log.tick(self.now)
        self.newest_us = max(self.newest_us, self.log.newest_us)
        self.gone(by_age=True)
        taken = [at for seq, at in self.taken.items() if seq >= self.log.first]
        assert min(taken, default=self.now) >= self.now - AGE

    @precondition(lambda self: not self.buried)
    @rule(back=st.integers(-2, 80))
    def ask_how_much_is_unsent(self, back: int) -> None:
        cursor = max(1, self.log.last + 1 - back)
        exact = sum(len(self.events[seq]) for seq in range(max(cursor, self.log.first), self.log.last + 1))
        unsent = self.log.unsent(cursor)
        assert exact <= unsent <= exact + MOST_OPEN_BYTES
        assert (unsent == 0) == (exact == 0)

    def gone(self, *, by_age: bool) -> None:
        """What went since the last look had to go."""
        log, limits = self.log, self.limits
        assert self.first <= log.first <= log.last + 1
        went = range(self.first, log.first)
        self.first = log.first
        if went and by_age and all(self.born[seq] < self.now - AGE for seq in went):
            return
        if went:
            # Entries go whole, and what is open comes on top: so the bound is not sharp to the byte.
            events = log.last - went[0] + 1
            held = sum(len(self.events[seq]) for seq in range(went[0], log.last + 1))
            frames = (BODY_START + 24) * events  # a mark, too
            assert events > limits.log_events or held + frames > limits.log_bytes

    @invariant()
    def is_bounded(self) -> None:
        count = self.log.last - self.log.first + 1
        size = sum(len(self.events[seq]) for seq in range(self.log.first, self.log.last + 1))
        # What is open comes on top.
        assert count <= self.limits.log_events + MOST_OPEN
        assert size <= self.limits.log_bytes + MOST_OPEN_BYTES

    def teardown(self) -> None:
        """In the end everything grows old, and numbers go on."""
        for step in (2.0, 2.0, AGE, AGE):
            self.now += step
            self.log.tick(self.now)
        assert self.log.first == self.log.last + 1
        assert self.log.take(1, 100, self.now) is None
        assert self.log.unsent(1) == 0
        filled(self.log, 1)
        entry = self.log.take(1, 100, self.now)
        assert entry is not None
        assert (entry.first, entry.count) == (self.log.last, 1)


TestLogAgainstList = LogAgainstList.TestCase
TestLogAgainstList.settings = settings(
    max_examples=60, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
)


def test_what_waits_when_a_link_asks_is_one_frame_and_one_event_alone_is_one_at_once() -> None:
    log = filled(Log(EPOCH, Limits()), 1)
    assert [entry.count for entry in held(log)] == [1]
    filled(log, 7)
    assert [entry.count for entry in held(log)] == [1, 7]


@pytest.mark.parametrize("size", [0, 91, 900, 1_100, 3_000])
def test_frames_are_filled_to_their_size_and_not_over_it(size: int) -> None:
    log = Log(EPOCH, Limits(), frame_size=32_768)
    while log.appended < 400_000:
        filled(log, 1, size)
    frames = [entry.size for entry in held(log, 32_768)]
    assert max(frames) <= 32_768
    full = [one for one in frames if one > 32_768 - 2 * (size + 20)]
    # The last one is not full yet.
    assert full == frames[:-1]


def test_a_smaller_frame_size_holds_from_the_next_event_on() -> None:
    log = filled(Log(EPOCH, Limits()), 3, 2_000)
    log.resize(4_096)
    filled(log, 5, 2_000)
    assert [entry.count for entry in held(log)] == [3, 2, 2, 1]


def test_an_event_larger_than_a_frame_is_a_frame_of_its_own() -> None:
    log = Log(EPOCH, Limits(), frame_size=4_096)
    for size in (0, 5_000, 0, 0):
        filled(log, 1, size)
    assert [entry.count for entry in held(log, 4_096)] == [1, 1, 2]


@pytest.mark.parametrize("limit", [100, 1_024, 5_000])
def test_an_event_over_the_limit_is_refused_and_nothing_of_it_stays(limit: int) -> None:
    log = Log(EPOCH, Limits(event=limit), frame_size=4_096)
    log.append(bytes(limit))
    with pytest.raises(Oversize) as raised:
        log.append(bytes(limit + 1))
    assert raised.value.size == limit + 1
    assert (log.last, log.unsent(1)) == (1, limit)
    assert log.append(b"\x07") == 2


@pytest.mark.parametrize("frame_size", [65_536, 1 << 20, 1 << 24])
def test_a_frame_has_at_most_as_many_events_as_its_count_can_say(frame_size: int) -> None:
    log = Log(EPOCH, Limits(), frame_size)
    for _ in range(100_000):
        log.append(b"\x07")
    entries = held(log, 1 << 24)
    assert max(entry.count for entry in entries) <= wire.MAX_COUNT
    assert sum(entry.count for entry in entries) == log.unsent(1) == log.last == 100_000
    at = 1
    for entry in entries:
        header = wire.parse(entry.frame)
        wire.check(entry.frame, header)
        assert (header.first_seq, header.count) == (at, entry.count)
        assert log.unsent(at) == 100_001 - at
        at += entry.count


def test_memory_is_bounded_when_events_suddenly_grow() -> None:
    log = Log(EPOCH, Limits(log_bytes=1 << 20))
    sizes = [1] * 50_000 + [1_000] * 5_000 + [1] * 50_000 + [100_000] * 100
    for size in sizes:
        log.append(bytes(size))
        if log.last % 500 == 0:
            assert sum(sizes[log.first - 1 : log.last]) <= 1.5 * (1 << 20)


def test_a_full_log_drops_its_oldest_frames_and_as_few_as_it_can() -> None:
    one = len(event(EPOCH, 1, 100)) + BODY_START
    log = Log(EPOCH, Limits(log_bytes=10 * one))
    for expected in (1,) * 10 + (2, 3, 4):
        held(filled(log, 1, 100))
        assert log.first == expected
    assert [entry.first for entry in held(log)] == list(range(4, 14))


def test_the_bound_in_events_holds_and_the_newest_frame_always_stays() -> None:
    log = Log(EPOCH, Limits(log_events=10, log_bytes=300))
    for _ in range(30):
        held(filled(log, 1))
        assert log.last - log.first < 10
    filled(log, 1, 1_000)
    assert log.take(31, 1_000, 0.0) is not None
    assert [entry.first for entry in held(log)] == [31]


def test_ten_thousand_frames_that_went_leave_nothing_behind() -> None:
    log = Log(EPOCH, Limits(log_events=5))
    for _ in range(10_000):
        filled(log, 1)
        assert log.take(log.last, 1_000, 0.0) is not None
    assert log.first == 9_996
    assert [entry.first for entry in held(log)] == list(range(9_996, 10_001))
    # Not asked of the interface: rows that went would be memory for ever.
    assert len(vars(log)["_entries"]) < 1_100


@pytest.mark.parametrize("take", [False, True], ids=["open", "taken"])
def test_events_grow_old_whether_or_not_a_link_took_them(take: bool) -> None:
    log = filled(Log(EPOCH, Limits(log_age=10)), 3)
    if take:
        held(log)
    for now in range(9):
        log.tick(float(now))
        assert log.first == 1
    log.tick(12.0)
    assert (log.first, log.last) == (4, 3)
    assert log.take(1, 1_000, 12.0) is None
    assert log.take(4, 1_000, 12.0) is None


def test_a_link_that_comes_back_when_all_is_too_old_gets_what_is_new_and_only_that() -> None:
    """What is open then is the first that is held, although the cursor stands far below it."""
    log = filled(Log(EPOCH, Limits(log_age=10)), 3)
    for now in (0.0, 2.0, 13.0):
        log.tick(now)
    assert log.first == 4
    filled(log, 2)
    assert log.unsent(1) == log.unsent(4) == 2 * len(event(EPOCH, 4))
    entry = log.take(1, 1_000, 13.0)
    assert entry is not None
    assert (entry.first, entry.count) == (4, 2)
    assert events_in(entry.frame) == [event(EPOCH, 4), event(EPOCH, 5)]


def test_a_steady_trickle_does_not_keep_the_open_part_young() -> None:
    log = Log(EPOCH, Limits(log_age=10))
    for tenth in range(200):
        filled(log, 1)
        log.tick(tenth / 10)
    assert log.first > 50


def test_a_part_of_a_split_frame_that_no_link_takes_grows_old_too() -> None:
    log = filled(Log(EPOCH, Limits(log_age=10)), 10)
    assert (part := log.take(1, BODY_START + 30, 0.0)) is not None
    assert part.count < 10
    assert log.take(10, BODY_START + 30, 0.0) is not None
    log.tick(10.5)
    assert (log.first, log.last) == (11, 10)


def test_a_tombstone_takes_the_place_of_one_event_and_frees_its_bytes() -> None:
    log = Log(EPOCH, Limits(log_bytes=60_000))
    filled(log, 1)
    filled(log, 1, 40_000)
    filled(log, 1)
    before = [wire.parse(entry.frame).sent_us for entry in held(log)]
    log.bury(2)
    entries = held(log, now=1.0)
    assert [events_in(one.frame) for one in entries] == [[event(EPOCH, 1)], [TOMBSTONE], [event(EPOCH, 3)]]
    # Another frame under the same numbers must be newer (rule 8).
    assert wire.parse(entries[1].frame).sent_us > before[1]
    filled(log, 1, 40_000)
    assert [one.count for one in held(log)] == [1, 1, 1, 1]
    assert log.first == 1


@pytest.mark.parametrize("change", ["split", "bury"])
def test_the_bound_in_bytes_holds_after_frames_were_changed(change: str) -> None:
    """A thousand heads of frames, or a thousand tombstones, take part in the sum."""
    log = Log(EPOCH, Limits(log_bytes=100_000, log_events=100_000), frame_size=30_000)
    for _ in range(1_000):
        filled(log, 1)
        assert change == "split" or log.take(log.last, 30_000, 0.0) is not None
    assert change == "bury" or len(held(log, limit=1)) == 1_000
    for seq in range(1, 1_001) if change == "bury" else ():
        log.bury(seq)
    filled(log, 1, 40_000)
    entries = held(log)
    assert (len(entries), log.first) == (1_001, 1)
    filled(log, 1, 40_000)
    assert log.take(log.last, 30_000, 0.0) is not None
    sizes = [entry.size for entry in held(log)]
    assert 99_900 < sum(sizes) <= 100_000


def test_what_no_link_has_taken_yet_can_be_buried_as_well() -> None:
    log = filled(Log(EPOCH, Limits()), 3)
    log.bury(2)
    log.bury(3)
    (entry,) = held(log)
    assert events_in(entry.frame) == [event(EPOCH, 1), TOMBSTONE, TOMBSTONE]


@pytest.mark.parametrize("seq", [-1, 0, 4, 1 << 62])
def test_what_is_not_held_cannot_be_buried(seq: int) -> None:
    log = filled(Log(EPOCH, Limits()), 3)
    log.bury(seq)
    assert [events_in(entry.frame) for entry in held(log)] == [[event(EPOCH, n) for n in (1, 2, 3)]]


@pytest.mark.parametrize("size", [0, 1_000, 5_000])
def test_what_is_unsent_is_known_to_the_byte_while_no_link_has_taken_it(size: int) -> None:
    log = filled(Log(EPOCH, Limits()), 500, size)
    one = len(event(EPOCH, 1, size))
    assert log.unsent(0) == log.unsent(1) == sum(len(event(EPOCH, seq, size)) for seq in range(1, 501))
    assert 0 <= log.unsent(500) - one <= 65_536
    assert log.unsent(501) == log.unsent(1 << 40) == 0


def test_the_stamp_increases_when_time_does_not() -> None:
    log = Log(EPOCH, Limits())
    stamps = [log.stamp(now) for now in (5.0, 5.0, 4.0, 0.0, 5.000_010, 6.0)]
    assert stamps == [5_000_000, 5_000_001, 5_000_002, 5_000_003, 5_000_010, 6_000_000]


@pytest.mark.parametrize("name", Limits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_that_is_none_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"Limits\.{name} is .*must be greater than 0"):
        msgspec.structs.replace(Limits(), **{name: value})


def test_an_event_limit_that_no_system_carries_is_refused() -> None:
    assert Limits(event=960 * 1024).event == 983_040
    with pytest.raises(ValueError, match=r"Limits\.event is 983041; at most 983040"):
        Limits(event=983_041)


def test_marks_travel_in_the_trailer_of_the_frame() -> None:
    log = Log(EPOCH, Limits())
    for seq in range(1, 6):
        log.append(event(EPOCH, seq, 0))
        if seq in (2, 5):
            log.mark(f"trace-{seq}")
    entry = log.take(1, 60_000, 1.0)
    assert entry is not None
    header = wire.parse(entry.frame)
    wire.check(entry.frame, header)
    assert header.flags == wire.TRAILER
    assert wire.marks_of(entry.frame, header) == [(1, "trace-2"), (4, "trace-5")]
    assert events_in(entry.frame) == [event(EPOCH, seq, 0) for seq in range(1, 6)]


def test_the_event_that_fills_an_entry_can_be_marked_and_is_weighed_with_it() -> None:
    log = Log(EPOCH, Limits(), frame_size=2_000)
    log.append(event(EPOCH, 1, 2_000))
    log.mark("trace")
    entry = log.take(1, 60_000, 1.0)
    assert entry is not None
    assert wire.marks_of(entry.frame, wire.parse(entry.frame)) == [(entry.count - 1, "trace")]
    assert log.held_bytes() == entry.size == len(entry.frame)


def test_marked_entries_are_not_joined_and_lose_their_marks_when_split() -> None:
    log = Log(EPOCH, Limits())
    filled(log, 2)
    log.mark("trace")
    first = log.take(1, 60_000, 1.0)
    assert first is not None
    filled(log, 2)
    held(log)
    assert list(log.following(first, 60_000, 1.0)) == []
    part = log.take(1, BODY_START + 1, 1.0)
    assert part is not None
    assert part.count == 1
    assert wire.parse(part.frame).flags == 0


def test_what_is_counted_includes_what_is_open() -> None:
    log = filled(Log(EPOCH, Limits()), 3)
    size = sum(len(event(EPOCH, seq, 0)) for seq in (1, 2, 3))
    assert log.published_bytes() == log.held_bytes() == size
    held(log)
    assert log.published_bytes() == size
    assert log.held_bytes() == size + BODY_START


def test_a_trailer_that_is_none_has_no_marks() -> None:
    plain = wire.pack_events(EPOCH, 1, 1, [b"\x90"])
    assert wire.marks_of(plain, wire.parse(plain)) == []
    for trailer in (b"\xc1", b"\x91\x01", b""):
        body = plain[wire.HEADER_SIZE :] + trailer + len(trailer).to_bytes(4, "little")
        broken = wire.pack(wire.DATA, wire.TRAILER, EPOCH, 1, body, 1, 1)
        assert wire.marks_of(broken, wire.parse(broken)) == []


def test_a_watched_log_is_asked_for_every_event_and_an_unwatched_one_only_when_it_must() -> None:
    log = filled(Log(EPOCH, Limits()), 3)
    lane = log.lane
    assert lane.size < lane.bound
    log.watch(True)
    filled(log, 1)
    assert lane.is_watched
    assert lane.bound < 0
    log.watch(False)
    assert lane.size < lane.bound
    assert (log.last, lane.last - lane.base) == (4, 4)
