"""A fixed rate of events, each marked with the time at which it was due.

The delay of an event counts from when it was due, not from when the publisher got round to it: a stall
delays all that fell into it (no coordinated omission). The timers of event loops have steps of a
millisecond, so on Linux the kernel's own timer (timerfd) wakes the loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from typing import TYPE_CHECKING

from bus.bench.work import event_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.bench.work import CacheInvalidated, Sized, Work

SECOND = 1_000_000_000
# From the order to the first event: whoever listens has come to rest.
LEAD = SECOND // 20

HAS_TIMERFD = sys.platform == "linux"
_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1


class _Spec(ctypes.Structure):
    """struct itimerspec: the interval, then the first expiration."""

    _fields_ = [(name, ctypes.c_long) for name in ("step_s", "step_ns", "first_s", "first_ns")]


async def paced(publish: Callable[[CacheInvalidated | Sized], object], work: Work) -> int:
    """Publish `work.count` events at `work.per_second`; the sum of their due times (`perf_counter_ns`)."""
    step = SECOND // work.per_second
    count, event = work.count, event_of(work.size)
    first = time.perf_counter_ns() + LEAD
    sent = checksum = 0
    over = asyncio.Event()

    def fire(due_events: int) -> None:
        nonlocal sent, checksum
        for _ in range(min(due_events, count - sent)):
            due = first + sent * step
            publish(event(due))
            checksum += due
            sent += 1
        if sent == count:
            over.set()

    if HAS_TIMERFD:
        await _by_kernel(fire, first, step, over)
    else:
        await _by_loop(fire, first, step, over)
    return checksum


async def _by_kernel(fire: Callable[[int], None], first: int, step: int, over: asyncio.Event) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    timer = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    spec = _Spec(*divmod(step, SECOND), *divmod(first, SECOND))
    if timer < 0 or libc.timerfd_settime(timer, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None):
        raise OSError(ctypes.get_errno(), "timerfd")
    loop = asyncio.get_running_loop()
    # What is read is how often it has expired since: a late loop publishes all that is due.
    loop.add_reader(timer, lambda: fire(int.from_bytes(os.read(timer, 8), sys.byteorder)))
    try:
        await over.wait()
    finally:
        loop.remove_reader(timer)
        os.close(timer)


async def _by_loop(fire: Callable[[int], None], first: int, step: int, over: asyncio.Event) -> None:
    fired = 0
    while not over.is_set():
        due = (time.perf_counter_ns() - first) // step + 1
        if due > fired:
            fire(due - fired)
            fired = due
        await asyncio.sleep((first + fired * step - time.perf_counter_ns()) / SECOND)
