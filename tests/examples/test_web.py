"""The web applications, with two workers each, as real clients see them."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from bus.testing.brokers import free_port
from tests.examples.program import program, running, until, uvicorn


@pytest.fixture
def port(folder: Path, env: dict[str, str], request: pytest.FixtureRequest) -> Iterator[int]:
    """Where the two workers of the application listen."""
    port = free_port()
    app: str = request.param
    with running(app, uvicorn(f"examples.{app}:app", port), env, folder, port) as process:
        # Both have joined the bus, or a request would find one worker only.
        until(lambda: process.logs().count("Application startup complete") == 2, "two workers")
        yield port


def ask(port: int, verb: str, path: str, body: str | None = None) -> tuple[int, str, str]:
    """(status, body, worker) of one request on a connection of its own: any worker may get it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(verb, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers.get("X-Worker", "")
    finally:
        connection.close()


def seen_by_both(port: int, path: str) -> dict[str, str]:
    """Worker -> what it answers, of the first answers of two workers."""
    found: dict[str, str] = {}

    def both() -> bool:
        _, body, worker = ask(port, "GET", path)
        found[worker] = body
        return len(found) == 2

    until(both, "two workers answer")
    return found


@pytest.mark.parametrize("port", ["cache_starlette"], indirect=True)
def test_no_worker_goes_on_to_serve_what_another_one_has_changed(
    port: int, env: dict[str, str], folder: Path
) -> None:
    workers = seen_by_both(port, "/users/7")
    for name in ("Ada", "Grace", "Barbara", "Hedy"):
        assert ask(port, "PUT", "/users/7", name)[0] == 204
        # Both have cached the name before: without the event one of them would keep it for ever.
        until(partial(both_say, port, name), name)
    assert seen_by_both(port, "/users/7").keys() == workers.keys()


def both_say(port: int, name: str) -> bool:
    return set(seen_by_both(port, "/users/7").values()) == {name}


async def in_different_processes(port: int) -> list[ClientConnection]:
    """Two clients whose connections two workers have."""
    found: dict[int, ClientConnection] = {}
    async with asyncio.timeout(20):
        while len(found) < 2:
            client = await connect(f"ws://127.0.0.1:{port}/room")
            process = json.loads(await client.recv())["process"]
            if process in found:
                await client.close()
            else:
                found[process] = client
    return list(found.values())


@pytest.mark.parametrize("port", ["websocket_fanout"], indirect=True)
async def test_what_one_client_says_the_clients_of_all_processes_hear_in_order(port: int) -> None:
    one, other = await in_different_processes(port)
    try:
        for number in range(50):
            await one.send(json.dumps({"name": "Ada", "text": str(number)}))
        async with asyncio.timeout(10):
            for client in (one, other):
                heard = [json.loads(await client.recv()) for _ in range(50)]
                assert [said["text"] for said in heard] == [str(number) for number in range(50)]
    finally:
        await one.close()
        await other.close()


def test_a_threaded_application_publishes_from_its_threads(folder: Path, env: dict[str, str]) -> None:
    ports = [free_port(), free_port()]
    words = [program("threaded_flask", str(port)) for port in ports]
    first = running("flask-1", words[0], env | {"PYTHONPATH": _path(env)}, folder, ports[0])
    second = running("flask-2", words[1], env | {"PYTHONPATH": _path(env)}, folder, ports[1])
    with first, second:
        # Whoever has just come hears of the first order when it has met the other one.
        until(lambda: _order(ports[0], 1) and "order 1" in _orders(ports[1]), "the two have met")
        for number in range(2, 30):
            assert _order(ports[number % 2], number)
        until(lambda: _rest(ports[1], 0) and _rest(ports[0], 1), "each has heard what the other one took")


def _path(env: dict[str, str]) -> str:
    return os.pathsep.join([env["PYTHONPATH"], os.getcwd()])


def _order(port: int, number: int) -> bool:
    return ask(port, "POST", f"/orders/{number}")[0] == 204


def _orders(port: int) -> list[str]:
    heard: list[str] = json.loads(ask(port, "GET", "/orders")[1])
    return heard


def _rest(port: int, odd: int) -> bool:
    """It has heard the orders that the other one took, in order and each once."""
    heard = [text for text in _orders(port) if text != "order 1"]
    return heard == [f"order {number}" for number in range(2, 30) if number % 2 == odd]
