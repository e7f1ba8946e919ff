"""The relay: `python -m bus_relay.server PORT PASSWORD` on the loopback address."""

from __future__ import annotations

import asyncio
import sys

LENGTH = 4
# What a reader may leave unread before it is dropped.
MOST = 256 << 20

channels: dict[bytes, set[asyncio.StreamWriter]] = {}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, password: bytes) -> None:
    """One client from its first line to its end."""
    members: set[asyncio.StreamWriter] = set()
    try:
        word, given, channel = (await reader.readline()).split()
        if word != b"JOIN" or given != password:
            writer.write(b"DENIED\n")
            await writer.drain()
            return
        members = channels.setdefault(channel, set())
        members.add(writer)
        writer.write(b"OK\n")
        while True:
            length = await reader.readexactly(LENGTH)
            frame = await reader.readexactly(int.from_bytes(length, "big"))
            for member in list(members):
                if member.transport.get_write_buffer_size() > MOST:
                    member.transport.abort()
                elif not member.is_closing():
                    member.writelines((length, frame))
            await asyncio.sleep(0)
    except (OSError, EOFError, ValueError):
        pass  # it is gone, or speaks something else
    finally:
        members.discard(writer)
        writer.close()


async def main() -> None:
    port, password = int(sys.argv[1]), sys.argv[2].encode()
    server = await asyncio.start_server(
        lambda reader, writer: serve(reader, writer, password), "127.0.0.1", port, limit=1 << 20
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
