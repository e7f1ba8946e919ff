"""A line carries so many bytes a second of all who share it, and each gets its turn."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from bus.testing.line import Line, bytes_in
from bus.testing.proxy import Proxy, Toxics

SECONDS = 5.0
RATE = 100_000


def pair(stack: ExitStack, proxy: Proxy, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A connection through the proxy: the client's end, the server's end."""
    client = stack.enter_context(socket.create_connection((proxy.host, proxy.port), timeout=SECONDS))
    accepted, _ = server.accept()
    accepted.settimeout(SECONDS)
    return client, stack.enter_context(accepted)


def received(sock: socket.socket, count: int) -> None:
    while count:
        more = len(sock.recv(count))
        assert more
        count -= more


def test_pieces_follow_each_other_whoever_books_them() -> None:
    line = Line(1_000)
    first = line.book(100)
    assert line.book(100) == pytest.approx(first + 0.1)
    assert line.book(300) == pytest.approx(first + 0.4)


def test_what_was_not_used_is_not_saved_up() -> None:
    line = Line(1_000_000)
    line.book(1)
    now = time.monotonic()
    assert line.book(1_000_000) >= now + 1


@pytest.mark.parametrize("rate", [500.0, Line(500)])
def test_bytes_in_a_time_are_at_least_one(rate: float | Line) -> None:
    assert (bytes_in(0.1, rate), bytes_in(0.0, rate)) == (50, 1)


@pytest.mark.parametrize("way", ["up", "down"])
def test_connections_of_several_proxies_share_a_line(way: str) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(SECONDS)
        proxies = [stack.enter_context(Proxy(server.getsockname())) for _ in range(2)]
        pairs = [pair(stack, proxy, server) for proxy in (*proxies, proxies[0])]
        toxics = Toxics(rate=Line(RATE))
        for proxy in proxies:
            setattr(proxy, way, toxics)
        started = time.monotonic()
        for client, accepted in pairs:
            (client if way == "up" else accepted).sendall(bytes(10_000))
        for client, accepted in pairs:
            received(accepted if way == "up" else client, 10_000)
        assert 0.29 < time.monotonic() - started < SECONDS


def test_a_little_does_not_wait_behind_all_that_another_sends() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(SECONDS)
        proxy = stack.enter_context(Proxy(server.getsockname()))
        (busy, _), (quiet, heard) = (pair(stack, proxy, server) for _ in range(2))
        proxy.up = Toxics(rate=Line(RATE))
        # Three tenths of a second of the line.
        busy.sendall(bytes(30_000))
        started = time.monotonic()
        quiet.sendall(b"a little")
        received(heard, 8)
        assert time.monotonic() - started < 0.2


def test_what_waits_goes_at_once_when_the_line_is_free() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(SECONDS)
        proxy = stack.enter_context(Proxy(server.getsockname()))
        client, accepted = pair(stack, proxy, server)
        proxy.up = Toxics(rate=Line(10))
        client.sendall(bytes(1_000))
        proxy.up = replace(proxy.up, rate=None)
        received(accepted, 1_000)
