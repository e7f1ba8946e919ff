"""How much a JSON text holds, seen before it is read: its reader keeps the interpreter until it is done.

A megabyte of `[],[],` takes a hundred times as long as a megabyte of one string, and what is done with its
values afterwards takes longer still. The counting here is done by single passes over the bytes.
"""

from __future__ import annotations

# Sixteen calls with 500 ids each need half of it.
MAX_VALUES = 20_000

_NO_BRACKETS = bytes(set(range(256)).difference(b"[]{}"))


def has_too_many(body: bytes) -> bool:
    """Whether there are more than MAX_VALUES values; exact up to the first mistake in the text."""
    # What stands inside of strings only makes the number larger.
    return _values(body) > MAX_VALUES and _values(outside(body)) > MAX_VALUES


def is_too_deep(body: bytes, most: int) -> bool:
    """Whether the first MAX_VALUES brackets lead deeper than `most` levels."""
    depth = 0
    for bracket in outside(body).translate(None, _NO_BRACKETS)[:MAX_VALUES]:
        depth += 1 if bracket in b"[{" else -1
        if depth > most:
            return True
    return False


def outside(body: bytes) -> bytes:
    """What is not inside of a string."""
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A name and a value have four quotes: there are far too many, and no need to cut all of them out.
    if bare.count(b'"') > 4 * MAX_VALUES + 4:
        return bare
    return b"".join(bare.split(b'"')[::2])


def _values(text: bytes) -> int:
    """Each value but the first of all comes behind one of these."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")
