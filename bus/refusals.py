"""What `publish` refuses, in words: what was found, what is allowed, how to mend it."""

from __future__ import annotations

from bus.errors import Closed, Forked, TooLarge, UsageError, WrongThread
from bus.protocol.log import Oversize


def unfit(event: object, error: Exception, most: int) -> UsageError:
    """The event cannot be carried: too large (`most` bytes are allowed), or not to be encoded."""
    name = type(event).__name__
    if isinstance(error, Oversize):
        return TooLarge(
            f"{name} takes {error.size} bytes encoded; at most {most} are allowed "
            "(Limits.event): send a reference to the data instead of the data"
        )
    return UsageError(f"{name} cannot be encoded: {error}")


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
