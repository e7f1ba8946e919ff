"""What `publish`, `subscribe` and `on` refuse, in words: what was found, what is allowed, how to mend it."""

from __future__ import annotations

from inspect import iscoroutinefunction
from types import UnionType
from typing import TYPE_CHECKING, cast

from bus.errors import Closed, Forked, TooLarge, UnknownEventType, UsageError, WrongThread
from bus.event import Event, Message
from bus.protocol.log import Oversize

if TYPE_CHECKING:
    from collections.abc import Iterable


def unfit(event: object, error: Exception, most: int) -> UsageError:
    """The event cannot be carried: too large (`most` bytes are allowed), or not to be encoded."""
    name = type(event).__name__
    if isinstance(error, Oversize):
        return TooLarge(
            f"{name} takes {error.size} bytes encoded; at most {most} are allowed "
            "(Limits.event): send a reference to the data instead of the data"
        )
    return UsageError(f"{name} cannot be encoded: {error}")


def nested(event: object) -> UsageError:
    """An event is being encoded, and code that this runs publishes another one."""
    return UsageError(
        f"publish() of {type(event).__name__} was called while another event was being encoded or numbered "
        "(from a finalizer, a tzinfo, or the handler of a signal): use loop.call_soon(bus.publish, event)"
    )


def misplaced(call: str, *, is_open: bool, is_forked: bool) -> UsageError:
    """The bus cannot be used here, or now."""
    if is_open:
        return WrongThread(
            f"{call}() was called outside the thread of the bus: use publish_from_thread(), and for all else "
            "loop.call_soon_threadsafe()"
        )
    if is_forked:
        return Forked(f"{call}(): this bus was opened before os.fork(); open a new one in the child")
    return Closed(f"{call}(): the bus is not open (use it inside `async with`, before aclose())")


def event_types(call: str, types: Iterable[type[Event]]) -> tuple[type[Event], ...]:
    """All of them, unless one is no class at all; of classes `EventTypes` says what is wrong with them.

    `call`: "subscribe", "on", or the argument "events". Raises UnknownEventType.
    """
    # Who calls may know no types: what came here is anything.
    given: object = types
    if isinstance(given, type):
        raise UnknownEventType(f"{call} is a list of event types: write {call}=[{given.__name__}]")
    found = tuple(types)
    for one in cast("tuple[object, ...]", found):
        if not isinstance(one, type):
            raise UnknownEventType(f"{call} takes event types, classes derived from bus.Event; {_told(one)}")
    return found


def wanted(call: str, types: tuple[type[Event], ...], topic: str | None) -> tuple[type[Event], ...]:
    """What to receive. Raises UsageError, UnknownEventType."""
    if not types:
        raise UsageError("subscribe() needs at least one event type, for example bus.Message")
    event_types(f"{call}()", types)
    if topic is not None and types != (Message,):
        raise UsageError("topic filters only Message: subscribe(Message, topic=...)")
    return types


def check_callbacks(call: object, on_loss: object) -> None:
    """Plain functions; there need not be one for losses. Raises UsageError."""
    if any(map(iscoroutinefunction, (call, on_loss))):
        raise UsageError("on() calls plain functions: for async code use `async for` over subscribe()")
    for name, one in (("call", call), ("on_loss", on_loss)):
        if not callable(one) and not (name == "on_loss" and one is None):
            kind = "None" if one is None else f"of type {type(one).__name__}"
            raise UsageError(f"on() calls plain functions: {name} is {kind}; write on(Message, function)")


def _told(found: object) -> str:
    """What was found in place of an event type. Not its value: an event may hold a secret."""
    kind = type(found).__name__
    match found:
        case Event():
            return f"found an event: write {kind}, not {kind}(...)"
        case str():
            return 'found text: a topic stands beside its type, subscribe(Message, topic="mail.*")'
        case list() | tuple() | set() | frozenset() | UnionType():
            return f"found a {kind}: write them one after the other, subscribe(A, B)"
        case None:
            return "found None"
        case _:
            return f"found something of type {kind}"
