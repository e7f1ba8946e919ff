"""A chat room whose clients may be connected to any of several processes.

    uvicorn examples.websocket_fanout:app --workers 2          then ws://127.0.0.1:8000/room

What its clients say a process publishes, and what it hears it hands to its clients. A client that missed
something is told so, at the place where it was: it can ask for the history of the room.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bus import Bus, Event, Loss

# A client that is so far behind is cut off: it would only get slower.
MOST_WAITING = 1_000
clients: set[asyncio.Queue[dict[str, object]]] = set()


class Said(Event, tag="chat.said"):
    name: str
    text: str


def tell(item: Said | Loss) -> None:
    """To every client of this process; never waits for one of them."""
    if isinstance(item, Said):
        message: dict[str, object] = {"name": item.name, "text": item.text, "process": os.getpid()}
    else:
        message = {"missed": True}
    for queue in [*clients]:
        if queue.qsize() < MOST_WAITING:
            queue.put_nowait(message)
        else:
            clients.discard(queue)


async def room(socket: WebSocket) -> None:
    await socket.accept()
    queue: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    clients.add(queue)
    sending = asyncio.create_task(send(socket, queue))
    try:
        await socket.send_json({"process": os.getpid()})
        while True:
            heard = await socket.receive_json()
            said = Said(str(heard["name"]), str(heard["text"]))
            socket.app.state.bus.publish(said)
            tell(said)  # our own events do not come back
    except WebSocketDisconnect:
        pass
    finally:
        clients.discard(queue)
        sending.cancel()


async def send(socket: WebSocket, queue: asyncio.Queue[dict[str, object]]) -> None:
    while queue in clients or not queue.empty():
        await socket.send_json(await queue.get())
    await socket.close(1013, "too slow")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with Bus.open(os.environ.get("BUS_COORDINATOR", "zenoh://"), cluster="chat") as bus:
        bus.on(Said, tell, on_loss=tell)
        app.state.bus = bus
        await bus.ready()
        yield


app = Starlette(routes=[WebSocketRoute("/room", room)], lifespan=lifespan)
