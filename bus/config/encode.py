"""A variant as a JSON-able object: all fields, durations in ms, secrets masked unless asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import msgspec

from bus.config.duration import Duration
from bus.config.redacted import Redacted, redact

if TYPE_CHECKING:
    from bus.config.base import Coordinator


def encode(coordinator: Coordinator, *, reveal: bool = False) -> dict[str, object]:
    """The object that `decode` takes. Masked by default; `reveal=True` is for storing it only.

    Masked means that `decode` refuses it where a secret was: four asterisks are no password.
    """

    def own_type(value: object) -> object:
        if isinstance(value, Duration):
            return value.ms
        if isinstance(value, Redacted):
            return value.reveal() if reveal else value.masked()
        raise TypeError(f"a value of type {type(value).__name__} cannot be encoded")

    fields: object = msgspec.to_builtins(coordinator, enc_hook=own_type)
    return cast("dict[str, object]", _plain(fields, reveal=reveal))


def to_json(coordinator: Coordinator, *, reveal: bool = False) -> str:
    """`encode` as JSON text, indented."""
    return msgspec.json.format(msgspec.json.encode(encode(coordinator, reveal=reveal)), indent=2).decode()


def _plain(value: object, *, reveal: bool, listed: bool = False) -> object:
    """Tuples as lists, and addresses that nobody has checked yet without their passwords."""
    match value:
        case str() if not reveal and ("://" in value or (listed and "@" in value)):
            return redact(value)
        case list() | tuple():
            items = cast("list[object]", value)
            return [_plain(item, reveal=reveal, listed=True) for item in items]
        case Mapping():
            pairs = cast("Mapping[str, object]", value)
            return {name: _plain(item, reveal=reveal) for name, item in pairs.items()}
        case _:
            return value
