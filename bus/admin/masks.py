"""Secrets on their way through a client that never sees them.

A client gets "****", and gives it back when it changes something else: the stored secret stays. It never
moves: not to another variant or kind of secret, and not to another host, since otherwise whoever may update
but not read would have the password sent to a server of his own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from bus.admin.jmap import ijson
from bus.config import Json5, Problem, Uri, encode
from bus.config.problem import problem
from bus.config.redacted import MASK
from bus.config.secret import Secret

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject
    from bus.config import Coordinator

_URI = re.compile(
    r"(?P<scheme>[^:/]+)://(?:(?P<userinfo>[^/?]*)@)?(?P<place>[^?]*)(?:\?(?P<query>.*))?", re.S
)


def host_fields(coordinator: Coordinator) -> list[str]:
    """The fields that say where to connect: every URI, and every list; so it is in all variants."""
    return [name for name, value in _fields(coordinator) if isinstance(value, (Uri, tuple))]


def destinations(coordinator: Coordinator, made: JsonObject | None = None) -> frozenset[str]:
    """Where a configuration, or a patched object of it, connects to; without users and passwords."""
    made = encode(coordinator, reveal=True) if made is None else made
    found: set[str] = set()
    for name in host_fields(coordinator):
        given = made.get(name)
        items = [*given] if ijson.is_array(given) or ijson.is_object(given) else [given]
        found.update(_without_user(one) if isinstance(one, str) else "" for one in items)
    return frozenset(found)


def patchable(stored: Coordinator) -> JsonObject:
    """The object with given secrets masked: after a patch it shows which are kept. See `settle`."""
    made = encode(stored, reveal=True)
    for name, _ in _secrets(stored):
        inner = cast("JsonObject", made[name])
        if "secret" in inner:
            inner["secret"] = MASK
    return made


def settle(stored: Coordinator, made: JsonObject) -> tuple[list[Problem], list[str]]:
    """Put the stored secrets in place of the masks of a patched object.

    Returns what is wrong, and the fields whose secret was kept: of these `given_again` must judge.
    """
    problems: list[Problem] = []
    kept: list[str] = []
    real = encode(stored, reveal=True)
    for name, value in _redacted(stored):
        if name in made:
            made[name] = _restored(value, made[name], name, problems)
    for name, secret in _secrets(stored):
        fields = made.get(name)
        if not ijson.is_object(fields) or fields.get("secret") != MASK:
            continue
        known = cast("JsonObject", real[name]).get("secret")
        if known is None or fields.get("@type") != secret.__struct_config__.tag:
            trouble = "is the mask, and no such secret is stored"
            problems.append(problem(f"{name}/secret", "mask", trouble, hint="give the secret"))
        else:
            # Not into `fields`: they are the client's own, which are shown and compared later.
            made[name] = {**fields, "secret": known}
            kept.append(name)
    return problems, kept


def given_again(stored: Coordinator, made: JsonObject, kept: Iterable[str]) -> list[Problem]:
    """What is wrong with keeping these secrets: they would be sent to a host that they were not given for."""
    if destinations(stored, made) <= destinations(stored):
        return []
    trouble = "must be given again: the object now names another host"
    return [problem(f"{name}/secret", "required", trouble) for name in kept]


def _secrets(coordinator: Coordinator) -> Iterable[tuple[str, Secret]]:
    for name, value in _fields(coordinator):
        if isinstance(value, Secret):
            yield name, value


def _redacted(coordinator: Coordinator) -> Iterable[tuple[str, tuple[Uri | Json5, ...] | Uri | Json5]]:
    for name, value in _fields(coordinator):
        if isinstance(value, (Uri, Json5)):
            yield name, value
        elif isinstance(value, tuple):
            items = cast("tuple[object, ...]", value)
            if any(isinstance(one, Uri) for one in items):
                yield name, tuple(one for one in items if isinstance(one, Uri))


def _fields(coordinator: Coordinator) -> Iterable[tuple[str, object]]:
    for attribute, name in zip(
        coordinator.__struct_fields__, coordinator.__struct_encode_fields__, strict=True
    ):
        yield name, getattr(coordinator, attribute)


def _without_user(text: str) -> str:
    match = _URI.fullmatch(text)
    # The path is a database, but of a unix socket it is the place.
    return f"{match['scheme']}://{match['place']}" if match else text


def _restored(
    stored: tuple[Uri | Json5, ...] | Uri | Json5, given: object, name: str, problems: list[Problem]
) -> object:
    """The value with its secrets back, where that is allowed; what stays masked is refused by the check."""
    if isinstance(stored, tuple):
        items: list[object] = []
        if ijson.is_array(given):
            items = given
        elif ijson.is_object(given) and all(value is True for value in given.values()):
            items = [*given]
        else:
            return given
        return [_one(stored, item, f"{name}/{place}", problems) for place, item in enumerate(items)]
    return _one((stored,), given, name, problems)


def _one(stored: Iterable[Uri | Json5], given: object, path: str, problems: list[Problem]) -> object:
    if not isinstance(given, str) or MASK not in given:
        return given
    for one in stored:
        if given == one.masked():
            return one.reveal()
    for one in stored:
        if isinstance(one, Uri) and (text := _rejoined(one.reveal(), given)) and MASK not in text:
            return text
    wrap = Json5 if any(isinstance(one, Json5) for one in stored) else Uri
    if wrap(given).masked() == given:
        where = "host, user or path" if wrap is Uri else "text"
        problems.append(
            problem(
                path, "mask", f"holds the mask, and is not the stored {where}", hint="give the secret again"
            )
        )
    return given


def _rejoined(real: str, given: str) -> str | None:
    """`given` with the secrets of `real`, if both are the same user at the same place."""
    old, new = _URI.fullmatch(real), _URI.fullmatch(given)
    if old is None or new is None or (old["scheme"], old["place"]) != (new["scheme"], new["place"]):
        return None
    userinfo = _userinfo(old["userinfo"] or "", new["userinfo"] or "")
    if userinfo is None:
        return None
    at = f"{userinfo}@" if new["userinfo"] is not None else ""
    tail = f"?{_query(old['query'] or '', new['query'])}" if new["query"] is not None else ""
    return f"{new['scheme']}://{at}{new['place']}{tail}"


def _query(real: str, given: str) -> str:
    known: dict[str, str] = {}
    for part in real.split("&"):
        key, _, value = part.partition("=")
        known[key] = value
    parts: list[str] = []
    for part in given.split("&"):
        key, equals, value = part.partition("=")
        parts.append(f"{key}{equals}{known.get(key, MASK) if value == MASK else value}")
    return "&".join(parts)


def _userinfo(real: str, given: str) -> str | None:
    """None: another user, so that the password is not his."""
    if MASK not in given:
        # Nothing masked here: the user may drop or change his login, but then brings no secret along.
        return given if given == real else None
    return real if Uri(f"x://{real}@h").masked() == f"x://{given}@h" else None
