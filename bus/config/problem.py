"""What is wrong with one field of a configuration, as data and as one readable line.

A `Problem` never holds a secret: whoever makes one passes `found` already redacted. The texts of a
whole report are put together here, so that every source (file, JSON, URL, struct) reads the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

Code = Literal[
    "source",  # the file, text or URL cannot be read at all
    "variant",  # the "@type" is unknown
    "required",  # a field without a default is missing
    "unknown",  # no such field in this variant
    "duplicate",  # the same name, or the same thing, is given twice
    "type",  # a value of another JSON type
    "null",  # null where there must be a value
    "empty",  # an empty text or list
    "min",  # a number, length or duration below the lower limit
    "max",  # ... above the upper limit
    "format",  # text that is no duration, URI, host, name or choice
    "mask",  # "****", the mask that hides a secret, in place of the secret
    "conflict",  # two fields that exclude each other, or one that needs another
]

_SAYS: dict[Code, str] = {
    "source": "cannot be read",
    "variant": "unknown type",
    "required": "is required",
    "unknown": "unknown field",
    "duplicate": "is given twice",
    "type": "wrong type",
    "null": "must not be null",
    "empty": "must not be empty",
    "min": "too small",
    "max": "too large",
    "format": "not valid",
    "mask": "is the mask that hides a secret, not the secret",
    "conflict": "conflicts with another field",
}


class Problem(msgspec.Struct, frozen=True):
    """One thing to mend in a configuration.

    `path` leads from the Coordinator object to the field, JSON names joined by "/"
    ("authSecret/secret", "addresses/1"); "" is the object itself. `found`, `allowed` and `hint` are
    "" when there is nothing to say. `message` is the whole line. `others` are the further fields that
    take part in a conflict.
    """

    path: str
    code: Code
    found: str
    allowed: str
    hint: str
    message: str
    others: tuple[str, ...] = ()


def problem(
    path: str,
    code: Code,
    says: str = "",
    *,
    found: str = "",
    allowed: str = "",
    hint: str = "",
    others: tuple[str, ...] = (),
) -> Problem:
    """Make a Problem with its line; `says` replaces the standard words of the code."""
    line = says or _SAYS[code]
    if path:
        line = f"{path}: {line}"
    if found:
        line += f" (found {found})"
    if allowed:
        line += f"; allowed: {allowed}"
    if hint:
        line += f"; {hint}"
    return Problem(path, code, found, allowed, hint, line, others)


def report(source: str, problems: Sequence[Problem]) -> str:
    """The text of a ConfigError: every problem of `source`, one a line."""
    if len(problems) == 1:
        return f"{source}: {problems[0].message}"
    lines = [f"{source}: {len(problems)} problems"]
    lines += [f"  {problem.message}" for problem in problems]
    return "\n".join(lines)


def listing(words: Iterable[object]) -> str:
    """Names for a text: "a, b, c"."""
    return ", ".join(str(word) for word in words)


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that was probably meant, if any is near."""
    import difflib  # only needed when something is wrong

    # Names are compared without case and underscores: no_echo, NoEcho and noecho all mean noEcho.
    plain = {known.lower(): known for known in words}
    found = difflib.get_close_matches(word.lower().replace("_", ""), plain, n=1)
    return plain[found[0]] if found else None
