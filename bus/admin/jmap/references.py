"""Result references: an argument that is taken from the response to an earlier call (RFC 8620, 3.7)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from bus.admin.jmap import ijson
from bus.admin.jmap.errors import MethodError
from bus.admin.jmap.request import EACH_VALUE, MAX_SIZE_REQUEST, Invocation

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_TILDE = re.compile(r"~(?![01])")
# No response is deeper: a request has 64 levels, and each of its calls may put one around them.
_MAX_TOKENS = 100


class Responses:
    """The responses of one request so far, for the calls that refer to them."""

    def __init__(self) -> None:
        self.all: list[Invocation] = []
        self._left = MAX_SIZE_REQUEST

    def resolve(self, arguments: JsonObject) -> JsonObject:
        """The arguments with every `#name` replaced. Raises MethodError: invalidResultReference, ..."""
        if not any(name.startswith("#") for name in arguments):
            return arguments
        resolved: JsonObject = {}
        for name, value in arguments.items():
            if not name.startswith("#"):
                resolved[name] = value
            elif name[1:] in arguments:
                raise MethodError("invalidArguments", f'both "{name[1:]}" and "{name}" are given: keep one')
            else:
                resolved[name[1:]] = found = self._evaluate(*self._target(value))
                # A reference to a reference doubles: sixteen calls could ask for more than the memory holds.
                self._spend(ijson.size(found, self._left, EACH_VALUE))
        return resolved

    def _spend(self, amount: int) -> None:
        """So much was looked at, of all that one request may have."""
        self._left -= amount
        if self._left < 0:
            raise MethodError("requestTooLarge", "what is referred to is larger than maxSizeRequest")

    def _target(self, reference: object) -> tuple[object, list[str], int]:
        """Arguments of the response that is meant, and the tokens of the path into it."""
        if not ijson.is_object(reference):
            _fail("a result reference must be an object with resultOf, name and path")
        wanted = [reference.get(name) for name in ("resultOf", "name", "path")]
        if not ijson.is_texts(wanted):
            _fail("resultOf, name and path must be strings")
        call_id, name, path = wanted
        found = next((one for one in self.all if one.call_id == call_id), None)
        if found is None:
            _fail(f'there is no earlier response with the call id "{call_id[:80]}"')
        if found.name != name:
            _fail(f'the response to "{call_id[:80]}" is {found.name}, not {name[:80]}')
        if path and not path.startswith("/"):
            _fail("path must be empty or start with /")
        if path.count("/") > _MAX_TOKENS:
            _fail(f"path has more than {_MAX_TOKENS} parts")
        if _BAD_TILDE.search(path):
            _fail("in path a ~ must be ~0 or ~1")
        tokens = [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:]]
        return found.arguments, tokens, 0

    def _evaluate(self, value: object, tokens: Sequence[str], place: int) -> object:
        """A JSON pointer from its token `place` on, where * stands for every item of an array."""
        for at in range(place, len(tokens)):
            token = tokens[at]
            if ijson.is_array(value):
                if token == "*":
                    self._spend(EACH_VALUE * len(value))
                    return _flattened([self._evaluate(item, tokens, at + 1) for item in value])
                if not _INDEX.fullmatch(token) or int(token) >= len(value):
                    _fail(f'path: an array of {len(value)} items has no "{token[:80]}"')
                value = value[int(token)]
            elif ijson.is_object(value) and token in value:
                value = value[token]
            else:
                _fail(f'path: there is no "{token[:80]}"')
        return value


def _flattened(items: list[object]) -> list[object]:
    """One level: the items of arrays in place of the arrays."""
    flat: list[object] = []
    for item in items:
        flat += item if ijson.is_array(item) else [item]
    return flat


def _fail(text: str) -> NoReturn:
    raise MethodError("invalidResultReference", text)
