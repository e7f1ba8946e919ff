"""What others wrote, as text for people: cut with a note, control and direction characters made visible.

Nothing here is markup; the page puts it into text nodes. Limits are characters.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, cast

import msgspec

# Of the text of one event, of a name or a topic, of one value inside of an event.
MOST, MOST_NAME, MOST_PART = 2_000, 160, 400
MOST_ITEMS, MOST_DEPTH = 40, 6
# Bytes of an event that are looked into; of a larger one only the size is told.
MOST_BYTES = 1 << 20

# C0 and C1, the marks, embeddings, overrides and isolates of bidirectional text, line separators, surrogates,
# zero-width characters: whatever changes how its neighbours look, or cannot be seen.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


class Text(NamedTuple):
    """`whole`: how many characters there are in all, when `text` is but the beginning."""

    text: str
    whole: int | None = None


def plain(text: str, most: int = MOST_NAME) -> Text:
    """As it is, without anything that is not seen or that moves its neighbours."""
    shown = _INVISIBLE.sub(_escaped, text[:most])
    return Text(shown, len(text)) if len(text) > most else Text(shown)


def name(text: str) -> str:
    """A node name or a topic; one that is cut ends with three dots."""
    shown = plain(text)
    return shown.text if shown.whole is None else f"{shown.text}…"


def value(found: object) -> Text:
    """The body of an event: text as it is, bytes as text or in hex, the rest as JSON."""
    if isinstance(found, bytes):
        try:
            return plain(found.decode(), MOST)
        except UnicodeDecodeError:
            shown = found[: MOST // 2].hex(" ", 4)
            return Text(f"0x {shown}", len(found) * 2 if len(found) > MOST // 2 else None)
    if isinstance(found, str):
        return plain(found, MOST)
    return plain(json.dumps(_shortened(found, 0), ensure_ascii=False), MOST)


class Event(NamedTuple):
    """One event taken apart."""

    type: int | str
    topic: str | None
    body: object


def read(raw: msgspec.Raw | bytes, fields: dict[int | str, tuple[str, ...]]) -> Event | None:
    """An encoded event; `fields` are the names of those types that are known. None when it is none."""
    try:
        found: object = msgspec.msgpack.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError):
        return None
    values = cast("list[object]", found) if isinstance(found, list) else []
    tag = values[0] if values else None
    if not isinstance(tag, int | str) or isinstance(tag, bool):
        return None
    if tag == 0 and len(values) == 3 and isinstance(values[1], str):
        return Event("Message", values[1], values[2])
    names = fields.get(tag, ())
    if len(values) - 1 <= len(names):
        return Event(tag, None, dict(zip(names, values[1:], strict=False)))
    return Event(tag, None, values[1:])


def _shortened(found: object, depth: int) -> object:
    """What JSON can say, in bounds."""
    if depth > MOST_DEPTH:
        return "…"
    if isinstance(found, str):
        return found if len(found) <= MOST_PART else f"{found[:MOST_PART]}… ({len(found):,} characters)"
    if isinstance(found, bytes):
        text = found[:MOST_PART].hex()
        return f"0x{text}" if len(found) <= MOST_PART else f"0x{text}… ({len(found):,} bytes)"
    if isinstance(found, list | tuple):
        items = cast("list[object]", found)
        short = [_shortened(one, depth + 1) for one in items[:MOST_ITEMS]]
        return [*short, f"… {len(items):,} in all"] if len(items) > MOST_ITEMS else short
    if isinstance(found, dict):
        pairs = list(cast("dict[object, object]", found).items())
        short_pairs = {str(key)[:MOST_PART]: _shortened(one, depth + 1) for key, one in pairs[:MOST_ITEMS]}
        return short_pairs | {"…": f"{len(pairs):,} in all"} if len(pairs) > MOST_ITEMS else short_pairs
    if found is None or isinstance(found, bool | int | float):
        return found
    if isinstance(found, msgspec.msgpack.Ext):
        return f"extension {found.code} of {memoryview(found.data).nbytes:,} bytes"
    return str(found)[:MOST_PART]


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    known = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    return known or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
