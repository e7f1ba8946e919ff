"""Show a JSON5 text with the values of secret keys masked; no parser, a scan over its tokens.

Every token that is not masked is kept as it was, comments and layout included, so that a text
without secrets is shown unchanged. Broken text is shown masked in the same way.
"""

from __future__ import annotations

import re

from bus.config.redacted import MASK

_SECRET_WORD = re.compile(
    r"password|passwd|passphrase|secret|token|private_key|_base64|dictionary_file", re.IGNORECASE
)
# Endpoints carry their own settings: "tls/host:7447#connect_private_key_base64=...;other=..."
_SECRET_SETTING = re.compile(rf"([\w.]*(?:{_SECRET_WORD.pattern})[\w.]*\s*=)[^;&#\"']*", re.IGNORECASE)
_TOKEN = re.compile(
    r"""
      (?P<comment> //[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<string>  "(?:\\.|[^"\\])*(?:"|\Z) | '(?:\\.|[^'\\])*(?:'|\Z) )
    | (?P<open>    [{\[] )
    | (?P<close>   [}\]] )
    | (?P<colon>   : )
    | (?P<comma>   , )
    | (?P<space>   \s+ )
    | (?P<word>    (?: [^\s{}\[\]:,"'/] | /(?![/*]) )+ )
    """,
    re.VERBOSE | re.DOTALL,
)


def starts_object(text: str) -> bool:
    """Whether the first thing in the text, comments aside, is an opening brace."""
    for token in _TOKEN.finditer(text):
        if token.lastgroup not in ("comment", "space"):
            return token[0] == "{"
    return False


def mask_json5(text: str) -> str:
    """The text with each value of a secret key replaced by "****"."""
    shown: list[str] = []
    last = ""  # the last string or word: the key, when a colon follows
    depth = 0  # of brackets
    secret_at: int | None = None  # depth of the secret key whose value is being read
    for token in _TOKEN.finditer(text):
        kind, piece = token.lastgroup, token[0]
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
        # The value of a secret key may be an object or a list; it ends where its own level does.
        if secret_at is not None and (
            (kind == "comma" and depth <= secret_at) or (kind == "close" and depth < secret_at)
        ):
            secret_at = None
        if kind == "colon" and secret_at is None and _is_secret_key(last):
            secret_at = depth
        elif kind in ("string", "word", "comment"):
            last = piece if kind != "comment" else last
            piece = _mask_piece(str(kind), piece, hidden=secret_at is not None)
        shown.append(piece)
    return "".join(shown)


def _is_secret_key(key: str) -> bool:
    # A key with an escape may spell any word.
    return "\\" in key or _SECRET_WORD.search(key) is not None


def _mask_piece(kind: str, piece: str, *, hidden: bool) -> str:
    if kind == "comment":
        # A line that was commented out keeps its password.
        if hidden or _SECRET_WORD.search(piece):
            return f"/* {MASK} */" if piece.startswith("/*") else f"// {MASK}"
        return piece
    if hidden:
        return piece if piece in ("null", "true", "false") else f'"{MASK}"'
    return _SECRET_SETTING.sub(rf"\1{MASK}", piece)
