"""publish() numbers, never waits, and refuses what can never work with an error of its own."""

from __future__ import annotations

import datetime
import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec
import pytest

from bus import (
    Bus,
    BusError,
    Closed,
    Event,
    Forked,
    Limits,
    TooLarge,
    UnknownEventType,
    UsageError,
    WrongThread,
)
from bus.backend import Features
from bus.protocol import frame as wire
from bus.protocol.log import Log
from bus.testing.fake import FakeSystem, hangs
from tests.bus.cluster import (
    PATIENCE,
    Anything,
    Blob,
    Note,
    buses,
    cluster_name,
    notes,
    take,
    until,
)

pytestmark = pytest.mark.loops


class Here(msgspec.Struct):
    """One of two that nobody can tell apart on the wire."""

    number: int


class There(msgspec.Struct):
    """The other one."""

    text: str


def in_thread(call: Callable[[], object]) -> BaseException | None:
    """Run `call` in another thread while this one, the loop's, stands still; what it raised."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            raised.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the call never returned"
    return raised[0] if raised else None


async def test_publish_returns_the_sequence_number() -> None:
    async with buses("a") as (a,):
        assert [a.publish(note) for note in notes(1, 3)] == [1, 2, 3]
        status = a.status()
        assert (status.published, status.log_first, status.log_last) == (3, 1, 3)


async def test_every_other_node_gets_every_event_in_order() -> None:
    async with buses("a", "b", "c") as made:
        inboxes = [bus.subscribe(Note) for bus in made]
        for number in range(100):
            for index, bus in enumerate(made):
                bus.publish(Note(1_000 * index + number))
            if number % 10 == 0:
                await anyio.lowlevel.checkpoint()
        for index, inbox in enumerate(inboxes):
            items = [item.number for item in await take(inbox, 200) if isinstance(item, Note)]
            for sender in {0, 1, 2} - {index}:
                mine = [item for item in items if item // 1_000 == sender]
                assert mine == [1_000 * sender + number for number in range(100)]


async def test_publish_without_any_link_is_kept_and_sent_later() -> None:
    limits = Limits(connect=0.05)
    with FakeSystem() as system:
        async with Bus.open(system.coordinator, node="b") as b, b.subscribe(Note) as inbox:
            await b.ready(PATIENCE)
            system.plays(connect=[hangs, hangs])
            async with Bus.open(system.coordinator, node="a", limits=limits) as a:
                for note in notes(1, 10):
                    a.publish(note)
                assert await take(inbox, 10) == notes(1, 10)
                assert len(system.attempts) == 4, "one of b, two that hung, one that did not"


# -- from threads ----------------------------------------------------------------------------------


async def test_threads_publish_in_their_own_order() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:

        def publishes(start: int) -> None:
            for note in notes(start, start + 99):
                assert a.publish_from_thread(note) is None  # type: ignore[func-returns-value]  # the contract says None

        async with anyio.create_task_group() as group:
            for start in (1000, 2000, 3000):
                group.start_soon(anyio.to_thread.run_sync, publishes, start)
        items = [item.number for item in await take(inbox, 300) if isinstance(item, Note)]
        for start in (1000, 2000, 3000):
            mine = [number for number in items if start <= number < start + 100]
            assert mine == list(range(start, start + 100))


async def test_publish_from_the_threads_of_the_bus_and_others_share_one_numbering() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        a.publish(Note(1))
        await anyio.to_thread.run_sync(a.publish_from_thread, Note(2))
        await until(lambda: a.status().published == 2)
        assert a.publish(Note(3)) == 3
        assert await take(inbox, 3) == notes(1, 3)


async def test_publish_from_thread_raises_in_the_thread() -> None:
    async with buses("a") as (a,):
        error = in_thread(lambda: a.publish_from_thread(Anything(object())))
        assert type(error) is UsageError
        error = in_thread(lambda: a.publish_from_thread(Blob(bytes(2**20))))
        assert isinstance(error, TooLarge)
        assert a.status().published == 0


async def test_threads_that_outrun_the_loop_are_told() -> None:
    async with buses("a", limits=Limits(log_bytes=10_000)) as (a,):

        def publishes() -> None:
            for _ in range(20):
                a.publish_from_thread(Blob(bytes(1_000)))

        error = in_thread(publishes)
        assert type(error) is UsageError
        assert "at most 10000" in str(error)
        # The bus lives on, with what was taken before.
        await until(lambda: a.status().published > 9)
        assert in_thread(lambda: a.publish_from_thread(Blob(b""))) is None


# -- back-pressure ---------------------------------------------------------------------------------


async def test_room_returns_at_once_while_the_log_is_sent() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Blob) as inbox:
        with anyio.fail_after(PATIENCE):
            for _ in range(2_000):
                a.publish(Blob(bytes(1_000)))
                await a.room()
        assert len(await take(inbox, 2_000)) == 2_000


async def test_room_waits_until_less_than_half_of_the_log_is_unsent() -> None:
    limits = Limits(log_bytes=100_000, connect=0.1)
    with FakeSystem(connect=[hangs]) as system:
        async with Bus.open(system.coordinator, node="a", limits=limits) as a:
            for _ in range(60):
                a.publish(Blob(bytes(1_000)))
            with anyio.move_on_after(0.02) as scope:
                await a.room()
            assert scope.cancelled_caught, "more than half is unsent, and room() returned"
            with anyio.fail_after(PATIENCE):
                await a.room()
            assert len(system.attempts) == 2


async def test_room_counts_events_too() -> None:
    limits = Limits(log_events=100)
    with FakeSystem(connect=[hangs]) as system:
        async with Bus.open(system.coordinator, node="a", limits=limits) as a:
            for note in notes(1, 49):
                a.publish(note)
            with anyio.fail_after(PATIENCE):
                await a.room()
            a.publish(Note(50))
            with anyio.move_on_after(0.02) as scope:
                await a.room()
            assert scope.cancelled_caught


async def test_room_raises_closed_when_the_bus_closes_meanwhile() -> None:
    with FakeSystem(connect=[hangs]) as system:
        bus = Bus.open(system.coordinator, node="a", limits=Limits(log_events=10))
        async with bus, anyio.create_task_group() as group:
            for note in notes(1, 8):
                bus.publish(note)
            group.start_soon(bus.aclose)
            with pytest.raises(Closed), anyio.fail_after(PATIENCE):
                await bus.room()


# -- flush -----------------------------------------------------------------------------------------


async def test_flush_returns_when_everything_is_sent() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        for note in notes(1, 100):
            a.publish(note)
        await a.flush(PATIENCE)
        assert inbox.waiting == 100
        await a.flush(0)


async def test_flush_says_what_is_missing() -> None:
    with FakeSystem(connect=[hangs]) as system:
        async with Bus.open(system.coordinator, node="a") as a:
            for note in notes(1, 3):
                a.publish(note)
            with pytest.raises(TimeoutError) as caught:
                await a.flush(0.02)
            assert "3 of 3 events are unconfirmed" in str(caught.value)
            assert "CONNECTING" in str(caught.value)


async def test_flush_raises_closed_when_the_bus_closes_meanwhile() -> None:
    with FakeSystem(connect=[hangs]) as system:
        bus = Bus.open(system.coordinator, node="a")
        async with bus, anyio.create_task_group() as group:
            bus.publish(Note(1))
            group.start_soon(bus.aclose)
            with pytest.raises(Closed), anyio.fail_after(PATIENCE):
                await bus.flush(60)


# -- bad input -------------------------------------------------------------------------------------


async def test_an_event_that_cannot_be_encoded_is_refused_and_the_bus_lives_on() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    async with buses("a", "b") as (a, b), b.subscribe(Anything) as inbox:
        for bad, said in ((object(), "object"), (2**70, "2**64"), (nested, "recursion")):
            with pytest.raises(UsageError, match="Anything cannot be encoded") as caught:
                a.publish(Anything(bad))
            assert type(caught.value) is UsageError
            assert said in str(caught.value).lower()
        assert a.publish(Anything("good")) == 1
        assert await take(inbox, 1) == [Anything("good")]


class Meddling(datetime.tzinfo):
    """A time zone that does something else while an event is being encoded."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def utcoffset(self, when: datetime.datetime | None, /) -> datetime.timedelta:
        self.act()
        return datetime.timedelta(hours=1)

    def dst(self, when: datetime.datetime | None, /) -> None:
        return None

    def tzname(self, when: datetime.datetime | None, /) -> None:
        return None


async def test_code_that_an_encoder_runs_cannot_publish_into_the_event_that_is_being_written() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Anything, Note) as inbox:
        refused: list[UsageError] = []

        def publish() -> None:
            try:
                a.publish(Note(99))
            except UsageError as error:
                refused.append(error)

        assert a.publish(Note(1)) == 1
        when = datetime.datetime(2026, 12, 1, tzinfo=Meddling(publish))
        assert a.publish(Anything(when)) == 2
        assert a.publish(Note(3)) == 3
        assert refused
        assert "publish() of Note was called while another event was being encoded or numb" in str(refused[0])
        first, second, third = await take(inbox, 3)
        assert (first, third) == (Note(1), Note(3))
        assert isinstance(second, Anything)
        assert second.value == when


async def test_an_interrupt_in_the_middle_of_an_event_leaves_nothing_of_it() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    async with buses("a", "b") as (a, b), b.subscribe(Anything, Note) as inbox:
        assert a.publish(Note(1)) == 1
        event = Anything(["x" * 1_000, datetime.datetime(2026, 12, 1, tzinfo=Meddling(interrupt))])
        with pytest.raises(KeyboardInterrupt):
            a.publish(event)
        assert a.publish(Note(2)) == 2
        assert await take(inbox, 2) == [Note(1), Note(2)]


@pytest.mark.parametrize("step", ["weigh", "_number", "_close", "_ripen", "_bind"])
async def test_what_interrupts_publish_cannot_overwrite_its_event(step: str) -> None:
    """The handler of a signal may run before any call that `publish` makes; here it does so at each."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        await interrupted_at(step, monkeypatch)


async def interrupted_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        original = getattr(Log, step)
        sent: list[int] = []

        def publish(number: int) -> None:
            with suppress(UsageError):
                assert a.publish(Note(number)) > 0
                sent.append(number)

        def interrupted(log: Log, *args: object) -> object:
            monkeypatch.setattr(Log, step, original)
            publish(1_000 + len(sent))
            return original(log, *args)

        for number in range(20):
            monkeypatch.setattr(Log, step, interrupted)
            publish(number)
            monkeypatch.setattr(Log, step, original)
            await anyio.lowlevel.checkpoint()
        assert set(range(20)) <= set(sent), "the interrupted ones are never lost"
        got = [item.number for item in await take(inbox, len(sent)) if isinstance(item, Note)]
        assert sorted(got) == sorted(sent)


async def test_a_full_frame_does_not_wait_for_the_confirm_of_the_last_one() -> None:
    """What follows a lone event waits for its confirm; `publish` itself says when that is enough."""
    with FakeSystem(features=Features(confirms=True)) as system:
        async with Bus.open(system.coordinator, cluster=cluster_name(), events=[Note, Blob]) as bus:
            await bus.ready(PATIENCE)
            bus.publish(Note(0))  # what its types are is told before
            await bus.flush(PATIENCE)
            (link,) = system.links
            system.is_silent = True

            async def data(turns: int) -> list[int]:
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                headers = [wire.parse(frame) for frame in link.sent]
                return [one.count for one in headers if one.kind == wire.DATA]

            bus.publish(Note(1))
            assert await data(5) == [1, 1]
            bus.publish(Note(2))
            assert await data(5) == [1, 1]
            bus.publish(Blob(bytes(70_000)))
            assert await data(5) == [1, 1, 1]


@pytest.mark.parametrize("most", [200, 5_000, 70_000])
async def test_events_of_any_size_with_refused_ones_between_them_arrive_in_order(
    most: int,
) -> None:
    """Small ones only change the open part; others fill a frame, do not fit into it, or come out again."""
    dice = random.Random(most)
    async with (
        buses("a", "b", limits=Limits(event=most)) as (a, b),
        b.subscribe(Anything) as inbox,
        a.subscribe(Anything, echo=True) as echoes,
    ):
        sent: list[Event] = []
        for number in range(600):
            size = dice.choice((0, 1, 100, 100, 100, 100, 1_000, 4_000, most - 16 - dice.randrange(40), most))
            event = Anything([number, bytes(size)])
            if len(msgspec.msgpack.encode(event)) > most:
                with pytest.raises(TooLarge):
                    a.publish(event)
            else:
                sent.append(event)
                assert a.publish(event) == len(sent)
            if dice.random() < 0.05:
                with pytest.raises(UsageError):
                    a.publish(Anything([bytes(size), object()]))
            if dice.random() < 0.2:
                await anyio.lowlevel.checkpoint()
        assert await take(inbox, len(sent)) == sent
        assert await take(echoes, len(sent)) == sent


async def test_an_event_over_the_limit_is_refused_with_its_size_and_the_limit() -> None:
    async with buses("a", "b", limits=Limits(event=1_000)) as (a, b), b.subscribe(Blob) as inbox:
        with pytest.raises(TooLarge) as caught:
            a.publish(Blob(bytes(1_000)))
        text = str(caught.value)
        assert "Blob takes 1014 bytes" in text
        assert "at most 1000" in text
        assert a.publish(Blob(bytes(986))) == 1
        assert await take(inbox, 1) == [Blob(bytes(986))]


async def test_what_is_no_event_is_refused() -> None:
    class Tagless(Event):
        number: int

    class Low(Event, tag=3):
        number: int

    class Child(Note):
        more: int = 0

    async with buses("a") as (a,):
        for bad in ({"number": 1}, "text", Tagless(1), Low(1), Child(1)):
            with pytest.raises(UnknownEventType) as caught:
                a.publish(bad)  # type: ignore[arg-type]  # an untyped caller
            assert "tag" in str(caught.value)
        assert a.publish(Note(1)) == 1


async def test_a_type_that_no_frame_can_be_read_into_is_refused_each_time_and_harms_nobody() -> None:
    class Either(Event, tag="test.either"):
        what: Here | There

    class Good(Event, tag="test.good"):
        number: int

    async with buses("a", "b") as (a, b):
        for _ in range(2):
            with pytest.raises(UnknownEventType, match="Either has a field that cannot be read"):
                a.publish(Either(Here(1)))
            with pytest.raises(UnknownEventType, match="Either has a field that cannot be read"):
                b.subscribe(Good, Either)
        async with b.subscribe(Good) as inbox:
            a.publish(Good(1))
            assert await inbox.batch() == [Good(1)]


async def test_a_tag_used_twice_names_both_classes() -> None:
    class Other(Event, tag="test.note"):
        number: int

    async with buses("a") as (a,):
        a.publish(Note(1))
        with pytest.raises(UnknownEventType) as caught:
            a.publish(Other(1))
        text = str(caught.value)
        assert "'test.note'" in text
        assert "tests.bus.cluster.Note" in text
        assert "Other" in text


async def test_an_inherited_tag_is_refused() -> None:
    class Child(Note):
        more: int = 0

    class Own(Note, tag="test.own"):
        more: int = 0

    async with buses("a") as (a,):
        with pytest.raises(UnknownEventType) as caught:
            a.publish(Child(1))
        assert "inherited the tag 'test.note' of Note" in str(caught.value)
        assert a.publish(Own(1)) == 1


async def test_publish_outside_of_the_open_bus_is_closed() -> None:
    bus = Bus.open("memory://", node="a", cluster=cluster_name())
    with pytest.raises(Closed, match="not open"):
        bus.publish(Note(1))
    async with bus:
        bus.publish(Note(1))
    for call in (bus.publish, bus.publish_from_thread):
        with pytest.raises(Closed):
            call(Note(2))


async def test_publish_in_another_thread_is_refused_and_says_what_to_use() -> None:
    async with buses("a") as (a,):
        error = in_thread(lambda: a.publish(Note(1)))
        assert isinstance(error, WrongThread)
        assert "publish_from_thread" in str(error)
        assert isinstance(in_thread(lambda: a.subscribe(Note)), WrongThread)
        assert a.status().published == 0


def forked(call: Callable[[], object]) -> str:
    """What `call` raises in a forked child: "<class>: <text>", or "nothing"."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "nothing"
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # a child must never leave this block
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    return said


async def test_a_bus_opened_before_fork_is_refused_in_the_child() -> None:
    async with buses("a") as (a,):
        for call in (
            lambda: a.publish(Note(1)),
            lambda: a.publish_from_thread(Note(1)),
            lambda: a.subscribe(Note),
        ):
            said = forked(call)
            assert said.startswith(Forked.__name__ + ": ")
            assert "open a new one in the child" in said
        assert a.publish(Note(1)) == 1, "the parent goes on"


def test_every_misuse_is_a_usage_error() -> None:
    for kind in (Closed, Forked, TooLarge, UnknownEventType, WrongThread):
        assert issubclass(kind, UsageError)
    assert issubclass(UsageError, BusError)
