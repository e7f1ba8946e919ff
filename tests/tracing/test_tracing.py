"""Traces across two buses: what is sent, what is linked, and what is left alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from bus import Bus, Event
from bus.errors import ConfigError
from bus.tracing import MOST_REMEMBERED, Tracing
from tests.bus.cluster import cluster_name


class Word(Event, tag="word"):
    text: str


class Pair(NamedTuple):
    sender: Bus
    receiver: Bus
    provider: TracerProvider
    exporter: InMemorySpanExporter

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(name)]


@asynccontextmanager
async def pair() -> AsyncGenerator[Pair]:
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    cluster = cluster_name()
    async with (
        Bus.open("memory://", node="sender", cluster=cluster, events=[Word]) as sender,
        Bus.open("memory://", node="receiver", cluster=cluster, events=[Word]) as receiver,
    ):
        await sender.ready(peers=1)
        await receiver.ready(peers=1)
        yield Pair(sender, receiver, provider, exporter)
    provider.shutdown()


async def until_delivered(bus: Bus, count: int) -> None:
    with anyio.fail_after(5):
        while bus.status().balance().delivered < count:
            await anyio.sleep(0.005)


async def test_a_handler_is_linked_to_the_span_that_published() -> None:
    async with pair() as here:
        Tracing(here.sender, here.provider)
        receiving = Tracing(here.receiver, here.provider)
        taken: list[Word] = []
        here.receiver.on(Word, receiving.handler(taken.append))
        with here.provider.get_tracer("test").start_as_current_span("request") as request:
            here.sender.publish(Word("traced"))
        here.sender.publish(Word("outside of any span"))
        await until_delivered(here.receiver, 2)
        assert [word.text for word in taken] == ["traced", "outside of any span"]
        (send,) = here.spans("send bus.")
        (process,) = here.spans("process bus.")
        assert send.parent is not None
        assert send.parent.span_id == request.get_span_context().span_id
        assert (send.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
        assert send.context is not None
        assert process.links[0].context.span_id == send.context.span_id
        assert process.links[0].context.is_remote
        attributes = send.attributes or {}
        assert attributes["messaging.system"] == "memory"
        assert attributes["messaging.destination.template"] == "word"
        assert attributes["bus.sequence"] == 1


async def test_an_item_of_an_inbox_is_processed_within_a_span_of_its_own() -> None:
    async with pair() as here, here.receiver.subscribe(Word) as inbox:
        Tracing(here.sender, here.provider)
        receiving = Tracing(here.receiver, here.provider)
        with here.provider.get_tracer("test").start_as_current_span("request"):
            for at in range(300):  # several frames, marks at every place
                here.sender.publish(Word(str(at)))
        seen = 0
        with anyio.fail_after(5):
            while seen < 300:
                for item in await inbox.batch():
                    with receiving.process(item):
                        seen += 1
        assert len(here.spans("process bus.")) == len(here.spans("send bus.")) == 300
        numbers = [(span.attributes or {})["bus.sequence"] for span in here.spans("send bus.")]
        assert numbers == list(range(1, 301))
        sent = [span.context.span_id for span in here.spans("send bus.") if span.context is not None]
        assert [span.links[0].context.span_id for span in here.spans("process bus.")] == sent


async def test_what_is_not_sampled_travels_without_a_trailer() -> None:
    async with pair() as here:
        off = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
        Tracing(here.sender, off)
        receiving = Tracing(here.receiver, here.provider)
        taken: list[Word] = []
        here.receiver.on(Word, receiving.handler(taken.append))
        with off.get_tracer("test").start_as_current_span("request"):
            here.sender.publish(Word("x"))
        await until_delivered(here.receiver, 1)
        assert receiving.context_of(taken[0]) is None
        assert here.exporter.get_finished_spans() == ()


async def test_after_close_nothing_is_traced_and_publish_goes_on() -> None:
    async with pair() as here:
        tracing = Tracing(here.sender, here.provider)
        tracing.close()
        with here.provider.get_tracer("test").start_as_current_span("request"):
            here.sender.publish(Word("x"))
        await until_delivered(here.receiver, 1)
        assert here.spans("send") == []
        assert here.sender.node.on_publish is None


async def test_what_a_stranger_writes_into_a_trailer_is_no_trace_and_memory_is_bounded() -> None:
    async with pair() as here:
        tracing = Tracing(here.receiver, here.provider)
        traced = here.receiver.node.router.on_traced
        assert traced is not None
        words = [Word(str(at)) for at in range(MOST_REMEMBERED + 10)]
        good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        bad = ["", "00", good.upper(), good + "0", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "\x00" * 55]
        traced(words, [(0, text) for text in bad] + [(-1, good), (len(words), good)])
        assert tracing.context_of(words[0]) is None
        traced(words, [(at, good) for at in range(len(words))])
        assert tracing.context_of(words[0]) is None
        assert tracing.context_of(words[-1]) is not None
        assert tracing.context_of(Word("another with the same identity, perhaps")) is None


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        """No such module."""

    monkeypatch.setattr("bus.tracing.find_spec", missing)
    async with pair() as here:
        with pytest.raises(ConfigError, match=r"coordinator-bus\[otel\]"):
            Tracing(here.sender)
