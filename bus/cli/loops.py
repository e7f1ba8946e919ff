"""Runs a command's coroutine so that SIGTERM and SIGINT end it quietly, with everything closed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import TypeVar

from bus.cli.failure import INTERRUPTED

T = TypeVar("T")
TERMINATED = 143


def run_until_signalled(main: Coroutine[object, object, int]) -> int:
    """The exit code of `main`, or 130 after SIGINT, 143 after SIGTERM. A second one kills."""
    return asyncio.run(_run(main))


async def _run(main: Coroutine[object, object, int]) -> int:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        task.cancel()

    # Windows has no such handlers.
    with suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, end, INTERRUPTED)
        loop.add_signal_handler(signal.SIGTERM, end, TERMINATED)
    try:
        return await task
    except asyncio.CancelledError:
        if not codes:
            raise
        return codes[0]
