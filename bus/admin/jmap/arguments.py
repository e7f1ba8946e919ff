"""The arguments of one method call, taken out one by one with their types; all that is wrong at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from bus.admin.jmap import ijson
from bus.admin.jmap.errors import MethodError

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject

ACCOUNT = "admin"
# Of a request with thousands of mistakes.
MOST_TOLD = 20
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")

T = TypeVar("T")


class Arguments:
    """Reads `raw`; after the last one `done` raises MethodError invalidArguments if anything was wrong."""

    def __init__(self, raw: JsonObject) -> None:
        self._raw = raw
        self._left = set(raw)
        self._wrong: list[str] = []
        # What an unknown argument is probably about, by its name.
        self.explain: Mapping[str, str] = {}

    def _take(self, name: str) -> object:
        self._left.discard(name)
        return self._raw.get(name)

    def _need(self, is_good: bool, text: str) -> bool:
        if not is_good:
            self._wrong.append(text)
        return is_good

    def text(self, name: str) -> str | None:
        """A string, or None when it is null or absent."""
        value = self._take(name)
        if value is None or isinstance(value, str):
            return value
        self._wrong.append(f"{name} must be a string")
        return None

    def flag(self, name: str) -> bool:
        """true, or false when it is null or absent."""
        value = self._take(name)
        self._need(value is None or isinstance(value, bool), f"{name} must be true or false")
        return value is True

    def choice(self, name: str, first: str, *others: str) -> str:
        """One of these; the first when it is null or absent."""
        value = self._take(name)
        if value is None:
            return first
        if isinstance(value, str) and value in (first, *others):
            return value
        self._wrong.append(f"{name} must be one of {', '.join((first, *others))}")
        return first

    def number(self, name: str) -> int | None:
        """A whole number from 0 on, or None."""
        value = self._take(name)
        if value is None or (type(value) is int and value >= 0):
            return value
        self._wrong.append(f"{name} must be a whole number from 0 on")
        return None

    def texts(self, name: str) -> list[str] | None:
        """An array of strings, or None."""
        value = self._take(name)
        if value is None or ijson.is_texts(value):
            return value
        self._wrong.append(f"{name} must be an array of strings")
        return None

    def ids(self, name: str) -> list[str] | None:
        """An array of Ids (RFC 8620, 1.2), or None."""
        value = self.texts(name)
        if value is not None:
            for one in value:
                self._need(_ID.fullmatch(one) is not None, f"{name} holds something that is no Id")
        return value

    def objects(self, name: str) -> dict[str, JsonObject]:
        """An object of objects by Id (`#` in front: one that this request created); empty when null."""
        value = self._take(name)
        made: dict[str, JsonObject] = {}
        if value is None or not self._need(ijson.is_object(value), f"{name} must be an object"):
            return made
        assert ijson.is_object(value)
        for key, one in value.items():
            if not _ID.fullmatch(key.removeprefix("#")):
                self._wrong.append(f"{name} has a key that is no Id")
            elif not ijson.is_object(one):
                self._wrong.append(f"{name}/{key} must be an object")
            else:
                made[key] = one
        return made

    def done(self) -> None:
        """No argument is left and none was wrong. Raises MethodError: invalidArguments, accountNotFound."""
        account = self.text("accountId")
        for name in sorted(self._left):
            why = self.explain.get(name, "")
            self._wrong.append(f'unknown argument "{name[:60]}"{f": {why}" if why else ""}')
        if self._wrong:
            told = list(dict.fromkeys(self._wrong))
            more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
            raise MethodError("invalidArguments", "; ".join(told[:MOST_TOLD] + more))
        if account is not None and account != ACCOUNT:
            raise MethodError(
                "accountNotFound", f'the only account is "{ACCOUNT}"; accountId may be left out'
            )
