"""A backend of one's own: a folder of unix sockets as a messaging system, one socket for each node.

It is found by the entry point in pyproject.toml: Bus.open({"@type": "Folder", "path": "/tmp/nodes"})"""

import asyncio
import secrets
import socket
from contextlib import closing
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from bus.backend import Context, Fault, Features, LinkError
from bus.config import Coordinator


class Folder(Coordinator, frozen=True, kw_only=True):
    path: Annotated[str, Meta(min_length=2, max_length=40)]  # that of a socket is short


class FolderLink:
    def __init__(self, path: Path, server: asyncio.Server) -> None:
        self._path, self._server, self._gone = path, server, asyncio.Event()

    async def run(self) -> None:
        await self._server.start_serving()
        await self._gone.wait()
        raise LinkError("the socket is closed")

    async def send(self, frame: bytes) -> None:
        if self._gone.is_set():
            raise LinkError("the socket is closed")
        await asyncio.gather(*(give(path, frame) for path in self._path.parent.iterdir()))

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._gone.set()
        for listener in self._server.sockets:  # else asyncio leaks what it has accepted in this turn
            self._server.get_loop().remove_reader(listener)
        self._server.get_loop().call_soon(self._server.close)
        self._path.unlink(missing_ok=True)


async def give(path: Path, frame: bytes) -> None:
    try:
        async with asyncio.timeout(0.2):  # for one that stands still
            _, writer = await asyncio.open_unix_connection(path)
            with closing(writer):
                writer.write(frame)
                await writer.drain()
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)  # noqa: ASYNC240  # of a process that was killed
    except (OSError, TimeoutError):
        pass  # it has left, or is slow: it notices, and asks for this again


class FolderBackend:
    features: ClassVar[Features] = Features(proof="echo", asyncio_only=True)  # our own frames come back
    Config: ClassVar[type[Folder]] = Folder

    def __init__(self, config: Folder, context: Context) -> None:
        self._context, self._folder = context, Path(config.path) / context.channel

    async def connect(self) -> FolderLink:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, sock = self._folder / secrets.token_hex(4), socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()  # from now on frames wait for `run`
        return FolderLink(path, await asyncio.start_unix_server(self._take, sock=sock, start_serving=False))

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._context.deliver(await reader.read())
        writer.close()

    def classify(self, exc: BaseException) -> Fault | None:
        return Fault.UNREACHABLE if isinstance(exc, OSError | LinkError) else None
