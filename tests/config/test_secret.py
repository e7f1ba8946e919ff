"""Secrets are resolved when asked, anew each time, and errors never hold their content."""

from __future__ import annotations

import logging
import os
import traceback
from pathlib import Path

import pytest

from bus.config import EnvironmentVariable, File, NoSecret, Secret, Text, Value
from bus.errors import ConfigError

CANARY = "c4n4ry"


def refusal(secret: Secret) -> str:
    """The error text of a secret that cannot be had; nothing of its report holds the content."""
    with pytest.raises(ConfigError) as raised:
        secret.resolve()
    error = raised.value
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert CANARY not in "".join(report.format())
    assert error.__context__ is None
    return str(error)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def test_no_secret_resolves_to_none() -> None:
    assert NoSecret().resolve() is None


@pytest.mark.parametrize("secret", [Value(" a b\n"), Text(" a b\n")])
def test_given_secret_is_taken_as_it_is(secret: Secret) -> None:
    assert secret.resolve() == " a b\n"


@pytest.mark.parametrize("secret", [Value(""), Text("")])
def test_empty_given_secret_is_refused(secret: Secret) -> None:
    assert "empty" in refusal(secret)


@pytest.mark.parametrize("secret", [Value("****"), Text("****")])
def test_mask_is_no_secret(secret: Secret) -> None:
    assert "mask" in refusal(secret)


def test_variable_is_read_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = EnvironmentVariable(" BUS_TEST_PW ")
    monkeypatch.setenv("BUS_TEST_PW", "one\n")
    assert secret.resolve() == "one\n"
    monkeypatch.setenv("BUS_TEST_PW", "two")
    assert secret.resolve() == "two"


def test_missing_and_empty_variables_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUS_TEST_PW", raising=False)
    assert "BUS_TEST_PW: it is not set" in refusal(EnvironmentVariable("BUS_TEST_PW"))
    monkeypatch.setenv("BUS_TEST_PW", "")
    assert "BUS_TEST_PW: it is empty" in refusal(EnvironmentVariable("BUS_TEST_PW"))


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"pw", "pw"),
        (b"pw\n", "pw"),
        (b"pw\r\n", "pw"),
        (b"pw\n\n", "pw\n"),
        (b"pw \n", "pw "),
        (b"pw\r", "pw\r"),
        (b"\npw", "\npw"),
        ("pü".encode(), "pü"),
        (b"x" * 65_536, "x" * 65_536),
    ],
)
def test_exactly_one_newline_at_the_end_of_a_file_goes(path: Path, content: bytes, secret: str) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    assert File(f" {path} ").resolve() == secret


def test_file_is_read_anew_each_time(path: Path) -> None:
    secret = File(str(path))
    for content in ("one", "two"):
        path.write_text(content)
        path.chmod(0o600)
        assert secret.resolve() == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (CANARY.encode() + b"\xff", "it is not UTF-8 text"),
        (CANARY.encode() * 11_000, "it is larger than 65536 bytes"),
    ],
)
def test_bad_file_is_refused_with_path_and_reason(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    assert refusal(File(str(path))) == f"secret from file {path}: {reason}"


def test_missing_file_and_directory_are_refused(path: Path) -> None:
    assert "No such file" in refusal(File(str(path)))
    path.mkdir()
    assert "not a regular file" in refusal(File(str(path))) or "directory" in refusal(File(str(path)))


def test_pipe_is_refused_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    assert "not a regular file" in refusal(File(str(path)))


def test_file_that_others_can_read_warns_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text(CANARY)
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING, "bus.config"):
        File(str(path)).resolve()
        File(str(path)).resolve()
    assert [record.getMessage() for record in caplog.records] == [
        f"secret file {path} can be read by others; chmod 600 it"
    ]


def test_warning_is_written_by_a_log_that_reads_the_secret_to_hide_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(CANARY)
    path.chmod(0o644)  # as Docker and Kubernetes mount secrets
    secret = File(str(path))

    def hide(record: logging.LogRecord) -> bool:
        record.msg = record.getMessage().replace(secret.resolve(), "****")
        record.args = ()
        return True

    logger = logging.getLogger("bus.config")
    logger.addFilter(hide)
    try:
        assert secret.resolve() == CANARY
    finally:
        logger.removeFilter(hide)
    assert [record.getMessage() for record in caplog.records] == [
        f"secret file {path} can be read by others; chmod 600 it"
    ]
