"""Text that may hold a secret: shown masked everywhere, given out by `reveal()` only.

`SecretText` is all secret, a `Uri` in its userinfo and password-like query values, a `Json5` in the
values of some keys. None of them is a `str`, so that no library can serialise, join or log the real
text by accident; pickling one that holds a secret raises.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar, cast

from msgspec.structs import force_setattr

if TYPE_CHECKING:
    import msgspec

MASK = "****"

_SECRET_QUERY = re.compile(
    r"([?&;](?:auth|[^=&;#\s]*(?:pass|pwd|secret|token|credential)[^=&;#\s]*)=)[^&;#\s]*",
    re.IGNORECASE,
)
# "redis://user:secret", where "@host" was forgotten.
_ODD_PORT = re.compile(r"((?:^|://|,)[^/?#\[\]:,\s]*:)(?=[0-9]*[^0-9/?#,])[^/?#,]+")


class Redacted:
    """Base: immutable, compares by its real text, shows the masked one."""

    __slots__ = ("_text",)
    _text: str

    def __init__(self, text: str) -> None:
        # For untyped callers. Said by type only: the value may be a secret of the wrong type.
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{type(self).__name__} needs text, not {type(text).__name__}")
        object.__setattr__(self, "_text", text)

    def reveal(self) -> str:
        """The real text. For the client library and for storing; never for showing."""
        return self._text

    def masked(self) -> str:
        """The text with every secret in it replaced by ****."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.masked()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.masked()!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name}")

    def __copy__(self) -> Redacted:
        return self

    def __deepcopy__(self, memo: object) -> Redacted:
        return self

    def __reduce__(self) -> tuple[type[Redacted], tuple[str]]:
        if self.masked() != self._text:
            raise TypeError(
                f"a {type(self).__name__} with a secret in it is not pickled; "
                "pass encode(config, reveal=True) on a channel that you trust, or a File secret"
            )
        return type(self), (self._text,)


class SecretText(Redacted):
    """A password, token or credentials text."""

    __slots__ = ()

    def masked(self) -> str:
        return MASK

    if TYPE_CHECKING:
        # A field of this type takes text, too, and is read as SecretText; see `hide`.
        def __get__(self, instance: object, owner: type[object] | None = None) -> SecretText: ...
        def __set__(self, instance: object, value: SecretText | str) -> None: ...


class Uri(Redacted):
    """An address with a scheme, as the user wrote it."""

    __slots__ = ()

    def masked(self) -> str:
        return redact(self._text)

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type[object] | None = None) -> Uri: ...
        def __set__(self, instance: object, value: Uri | str) -> None: ...


class Json5(Redacted):
    """A configuration text of a client library in JSON5 syntax."""

    __slots__ = ()

    def masked(self) -> str:
        from bus.config.json5 import mask_json5

        return mask_json5(self._text)

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type[object] | None = None) -> Json5: ...
        def __set__(self, instance: object, value: Json5 | str) -> None: ...


RedactedT = TypeVar("RedactedT", bound=Redacted)


def hide(struct: msgspec.Struct, field: str, wrap: type[RedactedT]) -> None:
    """Wrap the text, or the texts of a list, in a field; for `__post_init__` of a frozen struct.

    So a user may write `Redis(url="redis://:secret@host")` and nothing ever shows it.
    """
    value: object = getattr(struct, field)
    if isinstance(value, str):
        force_setattr(struct, field, wrap(value))
    elif isinstance(value, (tuple, list)):
        given = cast("tuple[object, ...]", value)
        items = tuple(wrap(item) if isinstance(item, str) else item for item in given)
        force_setattr(struct, field, items)


def shown(value: object) -> object:
    """A field's value for showing; plain text may be an address that nobody has checked yet."""
    if isinstance(value, str):
        return redact(value) if "://" in value else value
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return tuple(redact(item) if isinstance(item, str) and "@" in item else item for item in items)
    return value


def redact(text: str) -> str:
    """Text that may be a URI, without userinfo passwords and password-like query values.

    Works on malformed text and rather hides too much: everything up to the last @ counts as
    userinfo, because passwords hold unescaped / ? and @; a port that is no number may be one.
    """
    head, at, rest = text.rpartition("@")
    if at:
        scheme, slashes, userinfo = head.partition("://") if "://" in head else ("", "", head)
        user, colon, _ = userinfo.partition(":")
        # Without a colon it may be a token; with odd characters it is a piece of a password.
        shown = f"{user}:{MASK}" if colon and not set(user) & set("/?#@, ") else MASK
        text = f"{scheme}{slashes}{shown}@{rest}"
    else:
        text = _ODD_PORT.sub(rf"\1{MASK}", text)
    return _SECRET_QUERY.sub(rf"\1{MASK}", text)
