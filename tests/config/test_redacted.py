"""What masking hides, and what it leaves alone."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from bus.config import Json5, SecretText, Uri


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://user@h", "redis://****@h"),
        ("redis://user:pw@h:1/0", "redis://user:****@h:1/0"),
        ("redis://:pw@h", "redis://:****@h"),
        ("redis://u:p@ss/w?rd@h", "redis://u:****@h"),
        ("redis://p/w:x@h", "redis://****@h"),
        ("redis://u:p://w@h", "redis://u:****@h"),
        ("redis://h?password=pw&db=1", "redis://h?password=****&db=1"),
        ("redis://h?db=1&ssl_Password=pw", "redis://h?db=1&ssl_Password=****"),
        ("redis://h?auth=pw;token=x", "redis://h?auth=****;token=****"),
        ("unix://:pw@/tmp/s?db=1", "unix://:****@/tmp/s?db=1"),
        ("redis://user:pw", "redis://user:****"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("u:pw@h", "u:****@h"),
        ("pw@h", "****@h"),
    ],
)
def test_uri_hides_passwords(text: str, shown: str) -> None:
    assert Uri(text).masked() == str(Uri(text)) == f"{Uri(text)}" == shown
    assert repr(Uri(text)) == f"Uri({shown!r})"
    assert Uri(text).reveal() == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{mode: 'peer'}", "{mode: 'peer'}"),
        ('{a: {user: "u", password: "pw"}}', '{a: {user: "u", password: "****"}}'),
        ("{'password' : 'pw', x: 1}", "{'password' : \"****\", x: 1}"),
        ("{password: null, x: 1}", "{password: null, x: 1}"),
        ("{password: 12345}", '{password: "****"}'),
        ('{my_secret: ["a", "b"], x: 1}', '{my_secret: ["****", "****"], x: 1}'),
        ('{secret: {a: "b"}, x: "y"}', '{secret: {"****": "****"}, x: "y"}'),
        ('{connect_private_key: "a,}\\"b", x: 1}', '{connect_private_key: "****", x: 1}'),
        ('{root_ca_certificate_base64: "abc"}', '{root_ca_certificate_base64: "****"}'),
        ("{dictionary_file: '/a', y: '/b'}", "{dictionary_file: \"****\", y: '/b'}"),
        ('{PassWord:"pw"}', '{PassWord:"****"}'),
        ('{"p\\u0061ssword": "pw"}', '{"p\\u0061ssword": "****"}'),
        ("{ // a comment, kept\n}", "{ // a comment, kept\n}"),
        ("{ // password: pw\n x: 1}", "{ // ****\n x: 1}"),
        ("{ /* secret: 'pw' */ x: 1}", "{ /* **** */ x: 1}"),
        ("{ password: /* x */ 'pw' }", '{ password: /* **** */ "****" }'),
        ('{e: "tls/h:1#private_key=abc;x=1"}', '{e: "tls/h:1#private_key=****;x=1"}'),
        ('{note: "password: not a key", x: 1}', '{note: "password: not a key", x: 1}'),
        ('{a: "http://h/x", b: 1}', '{a: "http://h/x", b: 1}'),
        ('{password: "pw', '{password: "****"'),
        ("{a: 1, password", "{a: 1, password"),
    ],
)
def test_json5_hides_values_of_secret_keys(text: str, shown: str) -> None:
    assert Json5(text).masked() == shown
    assert Json5(text).reveal() == text


@given(st.text(max_size=200))
def test_masking_never_fails_and_is_stable(text: str) -> None:
    for kind in (Uri, Json5):
        masked = kind(text).masked()
        assert kind(masked).masked() == masked


@given(st.text("{}[]:,/*#= \n1ab", max_size=60))
def test_json5_scan_keeps_what_is_no_secret(text: str) -> None:
    assert Json5(text).masked() == text


@given(st.text(min_size=1, max_size=30).filter(lambda text: "*" not in text))
def test_password_of_a_well_formed_uri_is_hidden(password: str) -> None:
    marked = f"c4n4ry{password}"
    assert "c4n4ry" not in Uri(f"redis://user:{marked}@host").masked()


def test_redacted_text_compares_by_its_real_text() -> None:
    assert SecretText("a") == SecretText("a") != SecretText("b")
    assert SecretText("a") != Uri("a")
    assert len({Uri("redis://:a@h"), Uri("redis://:b@h")}) == 2


def test_redacted_text_is_immutable() -> None:
    with pytest.raises(AttributeError):
        SecretText("a")._text = "b"  # pyright: ignore[reportPrivateUsage]  # on purpose
    with pytest.raises(AttributeError):
        del SecretText("a")._text  # pyright: ignore[reportPrivateUsage]  # on purpose


def test_only_text_can_be_redacted() -> None:
    with pytest.raises(TypeError, match="SecretText needs text, not int"):
        SecretText(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # on purpose
