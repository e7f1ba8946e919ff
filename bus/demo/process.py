"""The main of a node process: its setup and then words on stdin, answers on stdout.

The setup comes on stdin and not as arguments, since a URL may hold a password and everybody can
read arguments. The end of stdin is the end of the host: then this process ends, too, whatever it
is at.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import msgspec

from bus import BusError
from bus.demo.member import Setup, run


def _say(word: str) -> None:
    print(word, flush=True)


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def _main() -> None:
    stdin = await _stdin()
    setup = msgspec.json.decode(await stdin.readline(), type=Setup)
    words: asyncio.Queue[str] = asyncio.Queue()
    life = asyncio.create_task(run(setup, words.get, _say))
    listening = asyncio.create_task(_listen(stdin, words))
    await asyncio.wait({life, listening}, return_when=asyncio.FIRST_COMPLETED)
    # Cancelled, `run` still closes the bus, within its two seconds.
    for task in (life, listening):
        task.cancel()
    await asyncio.wait({life, listening})
    if not life.cancelled():
        life.result()


async def _listen(stdin: asyncio.StreamReader, words: asyncio.Queue[str]) -> None:
    """Returns when the host has gone."""
    while line := await stdin.readline():
        words.put_nowait(line.decode().strip())


def _run() -> None:
    # Ctrl-C goes to the whole group; the host decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_main())
    except (BusError, TimeoutError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _run()
