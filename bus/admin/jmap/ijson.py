"""I-JSON (RFC 7493), in and out: JSON without its ambiguities.

The reader of the standard library takes repeated names, NaN, a number too large for a double, half a
surrogate pair, code points that are no characters. Two readers that disagree about such a text are how a
check is passed by; so they are refused.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NoReturn, TypeGuard

JsonObject = dict[str, object]

_END = object()

# RFC 7493, 2.1; the last two of each plane, and 32 more.
_NO_CHARACTER = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(f"{chr(plane | 0xFFFE)}{chr(plane | 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)

# Deeper than any request needs, shallower than the recursion of anything that reads it.
MAX_DEPTH = 64


class NotJson(ValueError):
    """The bytes are no I-JSON; the text says where, and quotes only names."""


def read(body: bytes) -> object:
    """The value of a JSON text. Raises NotJson."""
    trouble = ""
    value: object = None
    try:
        text = body.decode()
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        trouble = f"not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        bom = "; it starts with a byte order mark" if body.startswith(b"\xef\xbb\xbf") else ""
        trouble = f"not valid JSON at line {error.lineno}, column {error.colno}{bom}"
    except NotJson as error:
        trouble = str(error)
    except RecursionError:
        trouble = f"nested deeper than {MAX_DEPTH} levels"
    except ValueError:
        trouble = "a number of too many digits"
    else:
        # All of it is rare, and looking at every value of a large text takes a while.
        if text.count("[") + text.count("{") > MAX_DEPTH or "\\u" in text or not text.isascii():
            trouble = _wrong_inside(value)
    if trouble:
        # Raised out here: the decoder's exception holds the whole text, and would be the context.
        raise NotJson(trouble)
    return value


def write(value: object) -> bytes:
    """A value as compact JSON, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def is_object(value: object) -> TypeGuard[JsonObject]:
    """Whether a value that `read` returned is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[object]]:
    """... a JSON array."""
    return isinstance(value, list)


def is_texts(value: object) -> TypeGuard[list[str]]:
    """... an array of strings."""
    return is_array(value) and all(isinstance(one, str) for one in value)


def size(value: object, most: int, each: int = 0) -> int:
    """About how many bytes a value takes as JSON, `each` more for each value; looks no further than `most`.

    A value may hold the same list a thousand times over: measuring by writing it would be the damage.
    """
    found = 0
    stack = [iter((value,))]
    while stack and found <= most:
        item = next(stack[-1], _END)
        if item is _END:
            stack.pop()
            continue
        found += each
        if isinstance(item, str):
            found += len(item) + 3
        elif is_object(item):
            found += 2
            stack.append(_parts(item))
        elif is_array(item):
            found += 2
            stack.append(iter(item))
        else:
            found += 5
    return found


def _parts(item: JsonObject) -> Iterator[object]:
    for name, value in item.items():
        yield name
        yield value


def _members(pairs: list[tuple[str, object]]) -> JsonObject:
    made = dict(pairs)
    if len(made) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise NotJson(f'the member "{twice[:40]}" stands twice in one object')
    return made


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise NotJson("a number is too large for a double")
    return number


def _wrong_inside(value: object) -> str:
    """What no single token shows: depth, and half a surrogate pair."""
    # Level by level, since a text of a megabyte may have 300,000 arrays.
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [one for container in level for one in _inner(container) if isinstance(one, (dict, list))]
        if not level:
            break
    else:
        return f"nested deeper than {MAX_DEPTH} levels"
    try:
        text = write(value).decode()
    except UnicodeEncodeError:
        return "a string holds half of a surrogate pair"
    if not text.isascii() and _NO_CHARACTER.search(text):
        return "a string holds a code point that is no character"
    return ""


def _inner(container: object) -> Iterable[object]:
    if is_object(container):
        return container.values()
    return container if is_array(container) else ()
