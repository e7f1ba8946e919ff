"""A Starlette application with a cache in each worker that never serves what another worker has changed.

DATABASE=users.sqlite uvicorn examples.cache_starlette:app --workers 2
curl -X PUT -d Ada http://127.0.0.1:8000/users/7 && curl http://127.0.0.1:8000/users/7
"""

import asyncio
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bus import Bus, Event


class UserChanged(Event, tag="user.changed"):
    user: int


ALL = -1
cache: dict[int, str] = {}
changes: Counter[int] = Counter()


def drop(user: int) -> None:
    changes[user] += 1
    cache.clear() if user == ALL else cache.pop(user, None)


def sql(statement: str, *values: object) -> list[tuple[str]]:  # in any thread
    with closing(sqlite3.connect(os.environ.get("DATABASE", "users.sqlite"), isolation_level=None)) as one:
        one.execute("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        return one.execute(statement, values).fetchall()


async def get(request: Request) -> Response:
    user: int = request.path_params["user"]
    if (name := cache.get(user)) is None:
        before = changes[user], changes[ALL]
        rows = await asyncio.to_thread(sql, "SELECT name FROM users WHERE id = ?", user)
        name = rows[0][0] if rows else ""
        if before == (changes[user], changes[ALL]):
            cache[user] = name  # unless the row, or all, changed while it was being loaded
    return Response(name, headers={"X-Worker": str(os.getpid())})


async def put(request: Request) -> Response:
    event = UserChanged(request.path_params["user"])
    name = (await request.body()).decode()
    await asyncio.to_thread(sql, "INSERT OR REPLACE INTO users VALUES (?, ?)", event.user, name)
    drop(event.user)  # our own events do not come back
    request.app.state.bus.publish(event)  # after the commit: whoever loads again finds the new row
    return Response(status_code=204)


async def meet(bus: Bus) -> None:
    async for _ in bus.membership():
        drop(ALL)  # whom we meet may have changed what we loaded before


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with Bus.open(os.environ.get("BUS_COORDINATOR", "zenoh://"), cluster="users") as app.state.bus:
        # Gap, Overflow or Resync: nothing that is cached can be trusted.
        app.state.bus.on(UserChanged, lambda event: drop(event.user), on_loss=lambda loss: drop(ALL))
        meeting = asyncio.create_task(meet(app.state.bus))
        await app.state.bus.ready()
        yield
    await meeting  # it ends with its bus


routes = [Route("/users/{user:int}", get), Route("/users/{user:int}", put, methods=["PUT"])]
app = Starlette(routes=routes, lifespan=lifespan)
