"""subscribe(), batch() and on(): who gets what, in which order, and how slow readers are told."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from bus import (
    Bus,
    Closed,
    Event,
    Loss,
    Message,
    Overflow,
    Resync,
    UnknownEventType,
    UsageError,
)
from bus.testing.losses import inject
from tests.bus.cluster import Blob, Count, Note, Word, buses, notes, rest, take, until

pytestmark = pytest.mark.loops


async def test_only_the_types_that_were_asked_for_come() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as one, b.subscribe(Note, Word) as two:
        for event in (Word("x"), Note(1), Count(5), Word("y"), Note(2)):
            a.publish(event)
        assert await take(one, 2) == notes(1, 2)
        assert await take(two, 4) == [Word("x"), Note(1), Word("y"), Note(2)]
        assert (one.waiting, two.waiting) == (0, 0)


async def test_text_and_number_tags_in_one_frame_keep_their_order() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note, Count, Message) as inbox:
        events: list[Event] = []
        for number in range(20):
            events += [Note(number), Count(number), Message("x.y", bytes([number]))]
        for event in events:  # no await between them: they travel in one frame
            a.publish(event)
        assert await take(inbox, 60) == events


async def test_receiving_starts_with_subscribe_and_not_with_the_first_read() -> None:
    async with buses("a", "b") as (a, b):
        a.publish(Note(1))
        await a.flush()
        inbox = b.subscribe(Note)
        a.publish(Note(2))
        await until(lambda: inbox.waiting)
        async with inbox:
            assert await take(inbox, 1) == [Note(2)]


async def test_own_events_come_only_to_who_wants_echoes() -> None:
    async with (
        buses("a", "b") as (a, b),
        a.subscribe(Note) as plain,
        a.subscribe(Note, echo=True) as echo,
    ):
        a.publish(Note(1))
        a.publish(Word("not asked for"))
        await a.flush()
        b.publish(Note(2))
        assert await take(echo, 2) == notes(1, 2)
        assert await take(plain, 1) == [Note(2)]
        assert echo.waiting == 0


# -- topics ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "topics"),
    [
        ("mail.new", ["mail.new"]),
        ("mail.*", ["mail.new", "mail.old"]),
        ("*.new", ["mail.new", "task.new"]),
        ("mail.>", ["mail.new", "mail.old", "mail.a.b"]),
        ("mail.*.b", ["mail.a.b"]),
        (">", ["mail.new", "mail.old", "mail.a.b", "mail", "task.new"]),
    ],
)
async def test_a_topic_filters_messages(pattern: str, topics: list[str]) -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Message, topic=pattern) as inbox:
        for topic in ("mail.new", "mail.old", "mail.a.b", "mail", "task.new"):
            a.publish(Message(topic, b""))
        a.publish(Message(topics[0], b"last"))
        items = await take(inbox, len(topics) + 1)
        heard = [item.topic for item in items if isinstance(item, Message)]
        assert heard == [*topics, topics[0]]


async def test_a_topic_is_refused_for_typed_events() -> None:
    async with buses("a") as (a,):
        for call in (
            lambda: a.subscribe(Note, topic="x"),
            lambda: a.subscribe(Message, Note, topic="x"),
            lambda: a.on(Note, print, topic="x"),
        ):
            with pytest.raises(UsageError, match="only Message"):
                call()


async def test_a_callback_that_nobody_would_await_is_refused() -> None:
    async def never_runs(_: object) -> None:
        raise AssertionError("it would have to be awaited")

    async with buses("a") as (a,):
        for on_loss in (None, never_runs):
            with pytest.raises(UsageError, match="plain functions"):
                a.on(Note, never_runs, on_loss)


# -- slow readers ----------------------------------------------------------------------------------


async def test_the_oldest_go_and_the_overflow_stands_in_their_place() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note, capacity=3) as inbox:
        for note in notes(1, 10):
            a.publish(note)
        await a.flush()
        assert (inbox.waiting, inbox.dropped) == (3, 7)
        assert await take(inbox, 4) == [Overflow(7), *notes(8, 10)]


async def test_the_newest_go_and_the_overflow_stands_behind_the_kept() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note, capacity=3, drop="newest") as inbox:
        for note in notes(1, 10):
            a.publish(note)
        await a.flush()
        assert await take(inbox, 4) == [*notes(1, 3), Overflow(7)]
        a.publish(Note(11))
        assert await take(inbox, 1) == [Note(11)]


async def test_close_hands_out_the_queue_and_a_final_overflow_and_ends() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note, capacity=3, drop="close") as inbox:
        for note in notes(1, 4):
            a.publish(note)
        await a.flush()
        a.publish(Note(5))
        await a.flush()
        assert await rest(inbox) == [*notes(1, 3), Overflow(1, final=True)]
        with pytest.raises(Closed):
            await anext(inbox)


async def test_one_slow_reader_costs_the_others_nothing() -> None:
    async with (
        buses("a", "b") as (a, b),
        b.subscribe(Note, capacity=1) as slow,
        b.subscribe(Note) as quick,
    ):
        for note in notes(1, 100):
            a.publish(note)
        assert await take(quick, 100) == notes(1, 100)
        assert await take(slow, 2) == [Overflow(99), Note(100)]


async def test_bytes_are_bounded_too() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Blob, max_bytes=10_000) as inbox:
        for number in range(20):
            a.publish(Blob(bytes([number]) * 1_000))
            await a.flush()
        first, *kept = await inbox.batch()
        assert isinstance(first, Overflow)
        assert first.count + len(kept) == 20
        assert 8 <= len(kept) <= 9
        assert kept[-1] == Blob(bytes([19]) * 1_000)


async def test_the_default_capacity_is_that_of_the_limits() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        for note in notes(1, 70_000):
            a.publish(note)
            if note.number % 1_000 == 0:
                await anyio.lowlevel.checkpoint()
        await a.flush()
        await until(lambda: inbox.waiting + inbox.dropped == 70_000)
        assert (inbox.waiting, inbox.dropped) == (65_536, 70_000 - 65_536)


async def test_nonsense_is_refused_when_subscribing() -> None:
    async with buses("a") as (a,):
        with pytest.raises(UsageError, match=r"drop is 'random'.*\"oldest\", \"newest\" and \"close\""):
            a.subscribe(Note, drop="random")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # an untyped caller
        with pytest.raises(UsageError, match="at least 1"):
            a.subscribe(Note, capacity=0)
        with pytest.raises(UsageError, match="at least 1"):
            a.subscribe(Note, max_bytes=-1)
        with pytest.raises(UsageError, match="at least one event type"):
            a.subscribe()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # an untyped caller
        with pytest.raises(UnknownEventType, match="no event type"):
            a.subscribe(int)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # an untyped caller


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ("hunter2", r'found text: a topic stands beside its type, subscribe\(Message, topic="mail\.\*"\)'),
        (Note(1), r"found an event: write Note, not Note\(\.\.\.\)"),
        (None, "found None"),
        ([Note, Word], r"found a list: write them one after the other, subscribe\(A, B\)"),
        (Note | Word, r"found a UnionType: write them one after the other"),
        (7, "found something of type int"),
    ],
)
async def test_what_is_no_class_is_refused_with_what_to_write(found: Any, says: str) -> None:
    async with buses("a") as (a,):
        told: list[str] = []
        for call in (
            lambda: a.subscribe(found),
            lambda: a.subscribe(Note, found),
            lambda: a.subscribe(found, topic="x"),
            lambda: a.on(found, print),
        ):
            with pytest.raises(UnknownEventType, match=f"takes event types.*{says}") as caught:
                call()
            told.append(str(caught.value))
        assert "hunter2" not in "".join(told)
        assert [text.partition("(")[0] for text in told] == ["subscribe", "subscribe", "subscribe", "on"]


async def test_what_cannot_be_called_is_refused() -> None:
    untyped: Any = None
    async with buses("a") as (a,):
        with pytest.raises(UsageError, match="call is None"):
            a.on(Note, untyped)
        untyped = 7
        with pytest.raises(UsageError, match="on_loss is of type int"):
            a.on(Note, print, untyped)
        a.on(Note, print, None).close()


# -- batch -----------------------------------------------------------------------------------------


async def test_a_batch_is_everything_that_waits_losses_included() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        for note in notes(1, 3):
            a.publish(note)
        await a.flush()
        loss = Resync("a", 1, 3, "test")
        inject(b, loss)
        a.publish(Note(4))
        await a.flush()
        assert await inbox.batch() == [*notes(1, 3), loss, Note(4)]


async def test_a_batch_waits_for_its_first_item() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        with anyio.move_on_after(0.02) as scope:
            await inbox.batch()
        assert scope.cancelled_caught
        a.publish(Note(1))
        with anyio.fail_after(1):
            assert await inbox.batch() == [Note(1)]


async def test_a_batch_belongs_to_its_reader() -> None:
    async with (
        buses("a", "b") as (a, b),
        b.subscribe(Note) as one,
        b.subscribe(Note) as other,
    ):
        a.publish(Note(1))
        a.publish(Note(2))
        await a.flush()
        (await one.batch()).clear()
        assert await other.batch() == notes(1, 2)


async def test_a_cancelled_read_loses_nothing() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        for number in range(20):
            with anyio.move_on_after(0.001):
                await anext(inbox)
            a.publish(Note(number))
            assert await take(inbox, 1) == [Note(number)]


async def test_a_reader_of_a_long_queue_lets_others_run() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        for note in notes(1, 1_000):
            a.publish(note)
        await a.flush()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(others)
            await take(inbox, 1_000)
            group.cancel_scope.cancel()
        assert turns >= 10


async def test_two_readers_of_one_subscription_are_told() -> None:
    async with buses("a") as (a,), a.subscribe(Note) as inbox, anyio.create_task_group() as group:
        group.start_soon(anext, inbox)
        await anyio.wait_all_tasks_blocked()
        for read in (inbox.__anext__, inbox.batch):
            with pytest.raises(UsageError, match="two tasks read one subscription"):
                await read()
        group.cancel_scope.cancel()


# -- callbacks -------------------------------------------------------------------------------------


async def test_a_callback_gets_each_event_and_each_loss() -> None:
    seen: list[Note | Loss] = []
    async with buses("a", "b") as (a, b):
        b.on(Note, seen.append, on_loss=seen.append)
        a.publish(Note(1))
        await a.flush()
        loss = Resync(None, None, None, "test")
        inject(b, loss)
        a.publish(Note(2))
        await a.flush()
        assert seen == [Note(1), loss, Note(2)]


async def test_errors_of_a_callback_are_isolated_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Note] = []

    def breaks(note: Note | Loss) -> None:
        raise KeyError("user code")

    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        b.on(Note, breaks, on_loss=breaks)
        b.on(Note, heard.append)
        for note in notes(1, 5):
            a.publish(note)
        assert await take(inbox, 5) == notes(1, 5)
        inject(b, Resync(None, None, None, "test"))
        assert heard == notes(1, 5)
        assert list(b._router.callback_errors.values()) == [6]  # pyright: ignore[reportPrivateUsage]  # doctor's
        lines = [record.message for record in caplog.records if "breaks" in record.message]
        assert len(lines) == 1
        assert "KeyError" in lines[0]
        assert b.status().state == "READY"


async def test_a_loss_without_on_loss_is_never_silent(caplog: pytest.LogCaptureFixture) -> None:
    async with buses("a") as (a,):
        a.on(Note, print)
        with caplog.at_level(logging.WARNING, "bus"):
            inject(a, Resync("x", 7, None, "test"))
        assert "Resync(node='x', epoch=7" in caplog.text


async def test_a_closed_callback_is_called_no_more() -> None:
    seen: list[Note] = []
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        handle = b.on(Note, seen.append)
        a.publish(Note(1))
        await take(inbox, 1)
        handle.close()
        handle.close()
        a.publish(Note(2))
        await take(inbox, 1)
        assert seen == [Note(1)]


async def test_a_callback_may_publish_subscribe_and_close_itself() -> None:
    async with buses("a", "b") as (a, b), a.subscribe(Word) as answers:

        def answer(note: Note) -> None:
            b.publish(Word(str(note.number)))
            b.subscribe(Word).close()
            handle.close()

        handle = b.on(Note, answer)
        a.publish(Note(1))
        a.publish(Note(2))
        assert await take(answers, 1) == [Word("1")]


async def test_echoes_reach_callbacks_and_topics() -> None:
    seen: list[Message] = []
    async with buses("a") as (a,):
        a.on(Message, seen.append, topic="mail.>", echo=True)
        a.publish(Message("mail.new", b"1"))
        a.publish(Message("task.new", b"2"))
        assert seen == [Message("mail.new", b"1")]


# -- the end ---------------------------------------------------------------------------------------


async def test_leaving_ends_the_iteration_of_another_task_normally() -> None:
    async with buses("a") as (a,), anyio.create_task_group() as group:
        inbox = a.subscribe(Note)
        items: list[object] = []

        async def reads() -> None:
            items.append(await rest(inbox))

        group.start_soon(reads)
        await anyio.wait_all_tasks_blocked()
        inbox.close()
        inbox.close()
        await until(lambda: items)
        assert items == [[]]
        for read in (inbox.__anext__, inbox.batch):
            with pytest.raises(Closed, match="make a new one"):
                await read()


async def test_after_leaving_nothing_more_is_received() -> None:
    async with buses("a", "b") as (a, b):
        async with b.subscribe(Note) as inbox:
            a.publish(Note(1))
            await until(lambda: inbox.waiting)
        assert inbox.waiting == 0
        a.publish(Note(2))
        await a.flush()
        assert inbox.waiting == 0
        with pytest.raises(Closed):
            await inbox.batch()


async def test_closing_the_bus_hands_out_what_waits_and_ends_normally() -> None:
    async with buses("a", "b") as (a, b), b.subscribe(Note) as inbox:
        for note in notes(1, 3):
            a.publish(note)
        await a.flush()
        await b.aclose()
        assert await rest(inbox) == notes(1, 3)
        for read in (inbox.__anext__, inbox.batch):
            with pytest.raises(Closed):
                await read()


async def test_every_call_on_a_closed_bus_says_so() -> None:
    async with buses("a") as (a,):
        pass
    for call in (lambda: a.subscribe(Note), lambda: a.on(Note, print), a.membership):
        with pytest.raises(Closed, match="not open"):
            call()
    for wait in (a.ready, a.flush, a.room, lambda: a.confirm(1), lambda: a.reconfigure("memory://")):
        with pytest.raises(Closed, match="not open"):
            await wait()


async def test_a_bus_is_opened_once() -> None:
    async with buses("a") as (a,):
        with pytest.raises(UsageError, match="opened once"):
            await a.__aenter__()
    with pytest.raises(UsageError, match="opened once"):
        await a.__aenter__()


def test_a_bus_is_made_without_an_event_loop() -> None:
    assert isinstance(Bus.open("memory://"), Bus)
