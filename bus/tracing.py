"""Traces across nodes with OpenTelemetry (extra `otel`); while nobody traces, it costs nothing.

    tracing = Tracing(bus)                            # the application brings SDK and exporter
    bus.on(Changed, tracing.handler(drop))            # a span for each traced event that a callback takes
    with tracing.process(item): ...                   # ... or round the work on an item of an inbox

An event that is published inside of a sampled span gets a span "send" of its own; its context travels in the
trailer of the frame, on every system, since Redis, Zenoh and Memory have no headers. Spans of receivers are
linked to it (OpenTelemetry, messaging spans: a batch has many creators, so none is the parent).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from bus.errors import ConfigError
from bus.event import Event, Spoiled, tag_of

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext, Tracer, TracerProvider

    from bus.bus import Bus
    from bus.protocol.frame import Mark

E = TypeVar("E", bound=Event)

# Traced events that may still be processed; older ones lose their link, and nothing else.
MOST_REMEMBERED = 4_096
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Tracing:
    """Traces what one bus sends and what its handlers do with what comes. One per bus."""

    def __init__(self, bus: Bus, provider: TracerProvider | None = None) -> None:
        """`provider` is the global one by default. Raises ConfigError without opentelemetry-api, Closed."""
        if find_spec("opentelemetry") is None:
            raise ConfigError("tracing needs opentelemetry-api: pip install 'coordinator-bus[otel]'")
        from opentelemetry import trace

        from bus.release import VERSION

        self._tracer: Tracer = trace.get_tracer("coordinator-bus", VERSION, provider)
        self._node = bus.node
        status = bus.status()
        self._attributes = {
            "messaging.system": status.links[0].type.lower() if status.links else "disabled",
            "messaging.destination.name": self._node.channel,
            "messaging.client.id": status.node,
            "bus.node.id": status.node,
        }
        # By identity: events are values and have no place for a context. Holding them keeps that unique.
        self._contexts: OrderedDict[int, tuple[Event | Spoiled, SpanContext]] = OrderedDict()
        self._node.on_publish = self._published
        self._node.router.on_traced = self._traced
        self._node.note_idle()

    def close(self) -> None:
        """Trace no more. Idempotent."""
        self._node.on_publish = self._node.router.on_traced = None
        self._contexts.clear()

    def context_of(self, event: object) -> SpanContext | None:
        """The span that published this event, if it was traced and came not too long ago."""
        found = self._contexts.get(id(event))
        return found[1] if found is not None and found[0] is event else None

    @contextmanager
    def process(self, event: object) -> Generator[None]:
        """A span "process" round the work on an event, linked to the one that sent it; none if untraced."""
        from opentelemetry.trace import Link, SpanKind

        context = self.context_of(event)
        if context is None:
            yield
            return
        attributes = {**self._attributes, **_of_event(event, "process")}
        with self._tracer.start_as_current_span(
            f"process {self._node.channel}",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(context)],
        ):
            yield

    def handler(self, call: Callable[[E], object]) -> Callable[[E], None]:
        """The same function, within `process`; for `Bus.on`."""

        def traced(event: E) -> None:
            with self.process(event):
                call(event)

        return traced

    # -- called by the bus -------------------------------------------------------------------------

    def _published(self, event: Event) -> None:
        from opentelemetry import trace

        if not trace.get_current_span().get_span_context().trace_flags.sampled:
            return
        log = self._node.engine.log
        attributes = {**self._attributes, **_of_event(event, "send")}
        span = self._tracer.start_span(
            f"send {self._node.channel}", kind=trace.SpanKind.PRODUCER, attributes=attributes
        )
        span.set_attribute("bus.sequence", log.last)
        span.end()
        context = span.get_span_context()
        if context.is_valid and context.trace_flags.sampled:
            log.mark(f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}")

    def _traced(self, events: Sequence[Event | Spoiled], marks: list[Mark]) -> None:
        for at, text in marks:
            if 0 <= at < len(events) and (context := _read(text)) is not None:
                event = events[at]
                self._contexts[id(event)] = (event, context)
        while len(self._contexts) > MOST_REMEMBERED:
            self._contexts.popitem(last=False)


def _of_event(event: object, operation: str) -> dict[str, str]:
    tag = tag_of(type(event)) if isinstance(event, Event) else None
    return {
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.template": str(tag),
    }


def _read(text: str) -> SpanContext | None:
    """A W3C traceparent; anything else is no trace, and no error."""
    from opentelemetry.trace import SpanContext, TraceFlags

    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    context = SpanContext(
        int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3], 16))
    )
    return context if context.is_valid else None
