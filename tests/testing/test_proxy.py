"""Every toxic of the proxy does what it says, in the direction it is set for, at run time."""

from __future__ import annotations

import asyncio
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from bus.testing.proxy import Proxy, Toxics

SECONDS = 5.0


class Ends:
    """A server socket behind a proxy, and connections through it: (client's end, server's end)."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.server.settimeout(SECONDS)
        self.proxy = stack.enter_context(Proxy(self.server.getsockname()))

    def client(self) -> socket.socket:
        return self._stack.enter_context(
            socket.create_connection((self.proxy.host, self.proxy.port), timeout=SECONDS)
        )

    def pair(self) -> tuple[socket.socket, socket.socket]:
        client = self.client()
        server, _ = self.server.accept()
        server.settimeout(SECONDS)
        return client, self._stack.enter_context(server)


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(stack)


def received(sock: socket.socket, count: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def rest(sock: socket.socket) -> bytes:
    """All bytes up to the end. Raises ConnectionResetError when the end is a reset."""
    data = b""
    while more := sock.recv(65_536):
        data += more
    return data


def passes(source: socket.socket, target: socket.socket) -> None:
    source.sendall(b"does it pass?")
    assert received(target, 13) == b"does it pass?"


def nothing_comes(sock: socket.socket, seconds: float = 0.1) -> None:
    sock.settimeout(seconds)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    sock.settimeout(SECONDS)


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Index of (sender, receiver) in (client, server).
WAYS = pytest.mark.parametrize("way", ["up", "down"])


def directed(ends: Ends, way: str) -> tuple[socket.socket, socket.socket, Callable[[Toxics], None]]:
    """(sender, receiver, setter of the toxics between them)."""
    client, server = ends.pair()
    sender, receiver = (client, server) if way == "up" else (server, client)
    return sender, receiver, lambda toxics: setattr(ends.proxy, way, toxics)


def test_without_toxics_everything_passes_unchanged_both_ways(ends: Ends) -> None:
    client, server = ends.pair()
    data = bytes(range(256)) * 8192
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    assert received(server, len(data)) == data
    sender.join()
    passes(server, client)
    assert (ends.proxy.bytes_up, ends.proxy.bytes_down) == (len(data), 13)


def test_the_end_of_one_direction_leaves_the_other_open(ends: Ends) -> None:
    client, server = ends.pair()
    client.shutdown(socket.SHUT_WR)
    assert rest(server) == b""
    passes(server, client)
    server.close()
    assert rest(client) == b""
    until(lambda: not ends.proxy.open_connections)


def test_a_reset_of_the_server_reaches_the_client_as_a_reset(ends: Ends) -> None:
    client, server = ends.pair()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    with pytest.raises(ConnectionResetError):
        rest(client)


def test_a_dead_target_is_a_reset_and_a_living_one_is_served_again(ends: Ends) -> None:
    living = ends.proxy.target
    with socket.create_server(("127.0.0.1", 0)) as gone:
        ends.proxy.target = gone.getsockname()
    with pytest.raises(ConnectionResetError):
        rest(ends.client())
    ends.proxy.target = living
    passes(*ends.pair())


def test_a_unix_socket_is_a_target_too(ends: Ends) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(path := str(Path(folder) / "s"))
        server.listen()
        server.settimeout(SECONDS)
        ends.proxy.target = path
        client = ends.client()
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(SECONDS)
            passes(client, accepted)
            passes(accepted, client)


@WAYS
def test_delay_makes_bytes_late_in_its_direction_only(ends: Ends, way: str) -> None:
    sender, receiver, become = directed(ends, way)
    become(Toxics(delay=0.2))
    start = time.monotonic()
    passes(receiver, sender)
    assert time.monotonic() - start < 0.15
    start = time.monotonic()
    passes(sender, receiver)
    assert 0.2 <= time.monotonic() - start < 2


def test_delayed_bytes_do_not_wait_for_each_other(ends: Ends) -> None:
    client, server = ends.pair()
    ends.proxy.up = Toxics(delay=0.2)
    start = time.monotonic()
    for number in range(20):
        client.sendall(bytes([number]))
        time.sleep(0.01)
    assert received(server, 20) == bytes(range(20))
    assert time.monotonic() - start < 2, "20 times 0.2 s would be 4 s"


def test_jitter_keeps_the_order(ends: Ends) -> None:
    client, server = ends.pair()
    ends.proxy.up = Toxics(jitter=0.05)
    arrivals: list[float] = []

    def read() -> None:
        for number in range(20):
            assert received(server, 1) == bytes([number])
            arrivals.append(time.monotonic())

    reader = threading.Thread(target=read)
    reader.start()
    sent: list[float] = []
    for number in range(20):
        sent.append(time.monotonic())
        client.sendall(bytes([number]))
        time.sleep(0.01)
    reader.join(SECONDS)
    late = [arrival - at for arrival, at in zip(arrivals, sent, strict=True)]
    assert max(late) > 0.01
    assert max(late) - min(late) > 0.005


def test_what_was_late_goes_when_the_toxic_is_taken_back(ends: Ends) -> None:
    client, server = ends.pair()
    ends.proxy.up = Toxics(delay=60)
    client.sendall(b"late")
    nothing_comes(server)
    ends.proxy.heal()
    assert received(server, 4) == b"late"


@WAYS
def test_rate_bounds_the_bytes_of_a_second(ends: Ends, way: str) -> None:
    sender, receiver, become = directed(ends, way)
    become(Toxics(rate=100_000))
    start = time.monotonic()
    writer = threading.Thread(target=sender.sendall, args=(b"x" * 50_000,))
    writer.start()
    assert received(receiver, 50_000) == b"x" * 50_000
    writer.join()
    # The first piece is free.
    assert 0.45 < time.monotonic() - start < 3


def test_slices_are_segments(ends: Ends) -> None:
    client, server = ends.pair()
    ends.proxy.up = Toxics(slice=1, rate=1000)
    client.sendall(b"0123456789")
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < 10:
        pieces.append(server.recv(100))
    assert b"".join(pieces) == b"0123456789"
    assert len(pieces) >= 5, "they come a millisecond apart"


@WAYS
def test_a_held_way_is_silent_and_loses_nothing(ends: Ends, way: str) -> None:
    sender, receiver, become = directed(ends, way)
    passes(sender, receiver)
    become(Toxics(hold=True))
    sender.sendall(b"held")
    nothing_comes(receiver)
    passes(receiver, sender)
    become(Toxics())
    assert received(receiver, 4) == b"held"


def test_a_held_way_is_felt_by_the_sender_as_a_full_buffer(ends: Ends) -> None:
    client, server = ends.pair()
    ends.proxy.up = Toxics(hold=True)
    client.settimeout(0.2)
    sent = 0
    with suppress(TimeoutError):
        while sent < 64 << 20:
            sent += client.send(b"x" * 65_536)
    assert sent < 64 << 20
    client.settimeout(SECONDS)
    ends.proxy.heal()
    client.shutdown(socket.SHUT_WR)
    assert len(rest(server)) == sent


@WAYS
def test_a_black_hole_swallows_and_the_sender_does_not_feel_it(ends: Ends, way: str) -> None:
    sender, receiver, become = directed(ends, way)
    become(Toxics(black_hole=True))
    sender.sendall(b"x" * (8 << 20))
    nothing_comes(receiver)
    passes(receiver, sender)
    until(lambda: ends.proxy.bytes_up + ends.proxy.bytes_down == 13 + (8 << 20))
    ends.proxy.heal()
    passes(sender, receiver)


@WAYS
def test_half_close_ends_one_direction_and_leaves_the_other_open(ends: Ends, way: str) -> None:
    sender, receiver, become = directed(ends, way)
    passes(sender, receiver)
    become(Toxics(half_close=True))
    assert receiver.recv(1) == b""
    passes(receiver, sender)
    sender.sendall(b"into nothing")


@WAYS
@pytest.mark.parametrize("count", [0, 1, 700, 100_000])
def test_limit_passes_so_many_bytes_and_resets(ends: Ends, way: str, count: int) -> None:
    sender, receiver, become = directed(ends, way)
    passes(sender, receiver)
    become(Toxics(limit=count))
    data = bytes(index % 251 for index in range(150_000))

    def send() -> None:
        with suppress(OSError):
            sender.sendall(data)

    writer = threading.Thread(target=send)
    writer.start()
    assert received(receiver, count) == data[:count]
    with pytest.raises(ConnectionResetError):
        rest(receiver)
    writer.join()
    with pytest.raises(OSError):  # reset or broken pipe, by timing
        rest(sender)


def test_limit_counts_anew_for_each_connection(ends: Ends) -> None:
    ends.proxy.up = Toxics(limit=3)
    for _ in range(2):
        client, server = ends.pair()
        client.sendall(b"abc")
        assert received(server, 3) == b"abc"
        with pytest.raises(ConnectionResetError):
            rest(server)


@WAYS
@pytest.mark.parametrize("offset", [0, 5, 99_999])
def test_corrupt_flips_one_byte_at_its_offset(ends: Ends, way: str, offset: int) -> None:
    sender, receiver, become = directed(ends, way)
    passes(sender, receiver)
    become(Toxics(corrupt=offset, slice=1000))
    data = bytes(index % 251 for index in range(100_000))
    writer = threading.Thread(target=sender.sendall, args=(data,))
    writer.start()
    came = received(receiver, len(data))
    writer.join()
    assert [index for index, byte in enumerate(came) if byte != data[index]] == [offset]
    assert came[offset] == data[offset] ^ 0xFF


def test_reset_breaks_every_open_connection_and_new_ones_work(ends: Ends) -> None:
    pairs = [ends.pair() for _ in range(3)]
    assert ends.proxy.open_connections == 3
    ends.proxy.reset()
    assert ends.proxy.open_connections == 0
    for sock in (sock for pair in pairs for sock in pair):
        with pytest.raises(ConnectionResetError):
            rest(sock)
    passes(*ends.pair())


def test_silence_accepts_records_and_never_answers(ends: Ends) -> None:
    ends.proxy.silence()
    client = ends.client()
    client.sendall(b"hello?")
    nothing_comes(client)
    until(lambda: bytes(ends.proxy.records[0].up) == b"hello?")
    ends.server.settimeout(0.05)
    with pytest.raises(TimeoutError):
        ends.server.accept()
    ends.server.settimeout(SECONDS)
    ends.proxy.forward()
    passes(*ends.pair())


def test_refuse_closes_the_port_and_forward_opens_the_same_one(ends: Ends) -> None:
    client, server = ends.pair()
    for _ in range(3):
        ends.proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            ends.client()
        ends.proxy.forward()
        passes(*ends.pair())
    passes(client, server)


def test_while_it_refuses_nobody_else_gets_the_port(ends: Ends) -> None:
    ends.proxy.refuse()
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", ends.proxy.port)).close()


def test_first_bytes_of_each_connection_are_recorded(ends: Ends) -> None:
    for number in range(2):
        client, server = ends.pair()
        client.sendall(b"from client %d" % number)
        server.sendall(b"from server %d" % number)
        received(server, 13)
        received(client, 13)
    assert ends.proxy.connections == 2
    assert [bytes(record.up) for record in ends.proxy.records] == [b"from client 0", b"from client 1"]
    assert [bytes(record.down) for record in ends.proxy.records] == [b"from server 0", b"from server 1"]


def test_no_more_first_bytes_are_kept_than_asked_for(ends: Ends) -> None:
    with Proxy(ends.server.getsockname(), keep=5) as proxy:
        with socket.create_connection((proxy.host, proxy.port), timeout=SECONDS) as client:
            server, _ = ends.server.accept()
            with server:
                passes(client, server)
                passes(client, server)
        assert bytes(proxy.records[0].up) == b"does "
        assert proxy.bytes_up == 26


def test_toxics_of_one_direction_combine(ends: Ends) -> None:
    client, server = ends.pair()
    ends.proxy.up = Toxics(delay=0.1, slice=2, corrupt=1, limit=6)
    start = time.monotonic()
    client.sendall(b"abcdefgh")
    assert received(server, 6) == b"a" + bytes([ord("b") ^ 0xFF]) + b"cdef"
    assert time.monotonic() - start >= 0.1
    with pytest.raises(ConnectionResetError):
        rest(server)


def test_closing_resets_what_is_open_and_may_be_repeated(ends: Ends) -> None:
    client, _ = ends.pair()
    ends.proxy.up = Toxics(hold=True)
    ends.proxy.close()
    ends.proxy.close()
    with pytest.raises(ConnectionResetError):
        rest(client)


async def test_it_goes_on_while_the_event_loop_of_the_test_is_blocked(ends: Ends) -> None:
    reader, writer = await asyncio.open_connection(ends.proxy.host, ends.proxy.port)
    server, _ = ends.server.accept()
    with server:
        writer.write(b"x")
        assert received(server, 1) == b"x"
        server.sendall(b"y")
        assert await reader.readexactly(1) == b"y"
        ends.proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
    writer.close()
