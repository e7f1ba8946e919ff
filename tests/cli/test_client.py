"""A server that is not there, is another one, or speaks no TLS: what is said, and with which exit code."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bus.testing.brokers import Certificates, free_port
from tests.cli.conftest import Cli
from tests.cli.kit import Node


@contextmanager
def saying(answer: bytes) -> Generator[str]:
    """A server that says this to everybody, whatever they want."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    # Closed with something unread, it would be a reset.
                    while connection.recv(65_536):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_nobody_there_is_exit_code_3(cli: Cli) -> None:
    place = f"http://127.0.0.1:{free_port()}"
    ran = cli("get", "--url", place)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == (
        f"error: cannot talk to {place}: Connection refused\n"
        "  does `bus run` run there? Name another one: --url (BUS_URL)\n"
    )
    assert cli("get", "--url", place, "--json").error()["type"] == "unreachable"


def test_a_name_that_nobody_knows_is_exit_code_3(cli: Cli) -> None:
    ran = cli("get", "--url", "http://no-such-host.invalid:1", "--json")
    assert (ran.code, ran.error()["type"]) == (3, "name")


def test_silence_is_exit_code_8(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ran = cli("get", "--url", url, "--timeout", "0.2", "--json")
    assert (ran.code, ran.error()["type"]) == (8, "timeout")
    assert "no answer within 0.2 s" in ran.error()["message"]


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (b"SSH-2.0-x\r\n", 3, "no HTTP came back"),
        (b"", 3, "closed connection without response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 3, "does not answer in JMAP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", 3, "does not answer in JMAP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 3, "does not answer in JMAP"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil\r\nContent-Length: 0\r\n\r\n", 3, "answers 302"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 3, "answers 404"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 1, "answers 500"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", 5, "answers 403"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}", 3, "does not answer in JMAP"),
    ],
)
def test_another_server_is_told_apart(answer: bytes, code: int, text: str, cli: Cli) -> None:
    with saying(answer) as place:
        ran = cli("get", "--url", f"http://{place}")
    assert ran.code == code, ran.err
    assert text in ran.err
    assert ran.out == ""


def test_tls_where_there_is_none_says_so(node: Node, cli: Cli) -> None:
    ran = cli("get", "--url", node.url.replace("http", "https"), "--json")
    assert (ran.code, ran.error()["type"]) == (3, "tls")
    assert "http://?" in ran.error()["hint"]


def test_a_certificate_is_checked_against_the_given_authority(tmp_path: Path, cli: Cli) -> None:
    made = Certificates(tmp_path)
    words = [
        "--url",
        "memory://",
        "--tls-cert",
        str(made.server.certificate),
        "--tls-key",
        str(made.server.key),
    ]
    node = Node(tmp_path, "secured", words)
    try:
        url = node.url.replace("http", "https")
        token = ("--token-file", str(node.token), "--url", url)
        ran = cli("get", *token, "--json")
        assert (ran.code, ran.error()["type"]) == (3, "tls")
        assert "--ca-file" in ran.error()["hint"]
        ran = cli("get", *token, "--ca-file", str(made.ca), "--json")
        assert (ran.code, ran.json()["@type"]) == (0, "Memory")
        ran = cli("get", *token, "--ca-file", str(tmp_path / "none"))
        assert (ran.code, ran.out) == (3, "")
        assert "ca file" in ran.err
        ran = cli("get", "--url", node.url, "--token-file", str(node.token))
        assert ran.code == 3
    finally:
        node.process.stop()
