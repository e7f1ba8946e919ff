"""What others wrote is text: cut with a note, and nothing in it is invisible or moves its neighbours."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from bus.admin.page import shown

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=5)
    ),
    max_leaves=20,
)


def is_harmless(text: str) -> bool:
    """No control or format character, no separator of lines, nothing that UTF-8 cannot say."""
    text.encode()
    return all(unicodedata.category(char) not in ("Cc", "Zl", "Zp", "Cs") for char in text) and not any(
        char in text
        for char in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\ufeff\u200b"
    )


@given(st.text() | st.text(st.characters(max_codepoint=0xA0)))
def test_any_name_becomes_a_harmless_one(text: str) -> None:
    found = shown.name(text)
    assert is_harmless(found)
    assert len(found) <= 6 * shown.MOST_NAME + 1


@given(ANYTHING)
def test_any_value_becomes_a_harmless_text_in_bounds(value: object) -> None:
    found = shown.value(value)
    assert is_harmless(found.text)
    assert len(found.text) <= 6 * shown.MOST


@given(st.binary(max_size=200) | ANYTHING.map(msgspec.msgpack.encode))
def test_any_bytes_are_an_event_or_none(raw: bytes) -> None:
    found = shown.read(raw, {})
    if found is not None:
        shown.value(found.body)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("a\tb\nc\x00\x1b[31m", "a\\tb\\nc\\x00\\x1b[31m"),
        ("abc\u202egnp.exe", "abc\\u202egnp.exe"),
        ("שלום", "שלום"),
        (b"text", "text"),
        (b"\xff\x00", "0x ff00"),
        ({"a": [1, None, True, b"\x01"]}, '{"a": [1, null, true, "0x01"]}'),
        ([], "[]"),
        ("", ""),
    ],
)
def test_how_values_are_shown(value: object, text: str) -> None:
    assert shown.value(value) == (text, None)


def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    found = shown.value("x" * 1_000_000)
    assert (len(found.text), found.whole) == (shown.MOST, 1_000_000)
    found = shown.value(b"\xff" * 1_000_000)
    assert found.whole == 2_000_000
    inside = shown.value({"a": "y" * 1_000_000, "b": list(range(1000))})
    assert "… (1,000,000 characters)" in inside.text
    assert "… 1,000 in all" in inside.text
    assert shown.name("n" * 500) == "n" * shown.MOST_NAME + "…"


def test_deep_nesting_ends_somewhere() -> None:
    value: object = "core"
    for _ in range(200):
        value = [value]
    assert shown.value(value).text == "[" * 7 + '"…"' + "]" * 7


def test_fields_have_names_where_the_type_is_known() -> None:
    raw = msgspec.msgpack.encode(["cache.invalidated", 7, ["inbox"]])
    known: dict[int | str, tuple[str, ...]] = {"cache.invalidated": ("account", "keys", "more")}
    assert shown.read(raw, known) == ("cache.invalidated", None, {"account": 7, "keys": ["inbox"]})
    assert shown.read(raw, {}) == ("cache.invalidated", None, [7, ["inbox"]])
    assert shown.read(raw, {"cache.invalidated": ("account",)}) == ("cache.invalidated", None, [7, ["inbox"]])
    message = msgspec.msgpack.encode([0, "a.b", b"text"])
    assert shown.read(message, {}) == ("Message", "a.b", b"text")
    odd: list[Any] = [[], [True], [None], {}, 5, [1.5]]
    for one in odd:
        assert shown.read(msgspec.msgpack.encode(one), {}) is None
