"""The methods of the object: x:Coordinator/get, /set, and our own /rollback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from bus.admin.cutover import Cutover, Validate, Wish
from bus.admin.jmap import ijson
from bus.admin.jmap.arguments import ACCOUNT, Arguments
from bus.admin.jmap.errors import MethodError, SetError
from bus.admin.jmap.methods import Call, Method
from bus.admin.jmap.request import (
    ALIAS,
    EACH_VALUE,
    MAX_OBJECTS_IN_GET,
    MAX_OBJECTS_IN_SET,
    MAX_SIZE_OBJECT,
    OURS,
)
from bus.admin.patch import SINGLETON, patched
from bus.admin.store import StoreBroken
from bus.admin.tokens import GET, UPDATE
from bus.config import Coordinator, encode
from bus.config.check import field_names

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject
    from bus.admin.store import Store

NAME = "x:Coordinator"
# These cost a trial connection: counted per token (`bus.admin.app`).
CHANGING = (f"{NAME}/set", f"{NAME}/rollback")

_EITHER = frozenset({ALIAS, OURS})
_EXTRA: dict[str, str] = dict.fromkeys(("validate", "dryRun"), f'it needs "{OURS}" in using')


class CoordinatorObject:
    """The singleton, for JMAP. `managed` by a file: it can be read, and is changed in that file."""

    def __init__(
        self,
        cutover: Cutover,
        store: Store,
        variants: Sequence[type[Coordinator]],
        managed: str = "admin",
    ) -> None:
        self._cutover = cutover
        self._store = store
        self._variants = variants
        self._managed = managed
        self._names = {"id", "@type"}.union(*map(field_names, variants))

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            f"{NAME}/get": Method(_EITHER, GET, self.get),
            f"{NAME}/set": Method(_EITHER, UPDATE, self.set),
            f"{NAME}/rollback": Method(frozenset({OURS}), UPDATE, self.rollback),
        }

    async def get(self, call: Call) -> JsonObject:
        """RFC 8620, 5.1; the one object has all fields of its variant, secrets masked."""
        arguments = Arguments(call.arguments)
        ids = arguments.ids("ids")
        properties = arguments.texts("properties")
        arguments.done()
        if ids is not None and len(ids) > MAX_OBJECTS_IN_GET:
            raise MethodError("requestTooLarge", f"at most {MAX_OBJECTS_IN_GET} ids are allowed")
        unknown = sorted(set(properties or ()) - self._names)
        if unknown:
            shown = ", ".join(f'"{name[:60]}"' for name in unknown[:5])
            raise MethodError("invalidArguments", f"no variant has the property {shown}")
        wanted = [SINGLETON] if ids is None else list(dict.fromkeys(ids))
        state, current = self._cutover.snapshot()
        found = _as_json(current)
        if properties is not None:
            keep = {"id", "@type", *properties}
            found = {name: value for name, value in found.items() if name in keep}
        return {
            "accountId": ACCOUNT,
            "state": state,
            "list": [found] if SINGLETON in wanted else [],
            "notFound": [one for one in wanted if one != SINGLETON],
        }

    async def set(self, call: Call) -> JsonObject:
        """RFC 8620, 5.3; of a singleton only `update` is possible."""
        arguments = Arguments(call.arguments)
        if_in_state = arguments.text("ifInState")
        create, update = arguments.objects("create"), arguments.objects("update")
        destroy = arguments.ids("destroy") or []
        wish = self._wish("set", arguments, call)
        if len(create) + len(update) + len(destroy) > MAX_OBJECTS_IN_SET:
            raise MethodError("requestTooLarge", f"at most {MAX_OBJECTS_IN_SET} objects are allowed")
        async with self._cutover.exclusive():
            old_state = self._in_state(if_in_state)
            updated: JsonObject = {}
            not_updated: JsonObject = {}
            for key, patch in update.items():
                id = call.created_ids.get(key[1:], key) if key.startswith("#") else key
                if id != SINGLETON:
                    not_updated[key] = _not_found(id)
                    continue
                try:
                    updated[key] = await self._update(patch, wish)
                except SetError as error:
                    not_updated[key] = error.as_json()
            return {
                "accountId": ACCOUNT,
                "oldState": old_state,
                "newState": self._cutover.state,
                "created": None,
                "updated": updated or None,
                "destroyed": None,
                "notCreated": {key: _singleton("created") for key in create} or None,
                "notUpdated": not_updated or None,
                "notDestroyed": {
                    id: _singleton("destroyed") if id == SINGLETON else _not_found(id) for id in destroy
                }
                or None,
                **({"dryRun": True} if wish.dry_run else {}),
            }

    async def rollback(self, call: Call) -> JsonObject:
        """Back to the version before this one, by the same way; also out of a file that is broken."""
        arguments = Arguments(call.arguments)
        if_in_state = arguments.text("ifInState")
        generation = arguments.number("generation")
        wish = self._wish("rollback", arguments, call)
        async with self._cutover.exclusive():
            old_state = self._in_state(if_in_state)
            try:
                before = self._store.previous()
            except StoreBroken as error:
                raise MethodError("invalidArguments", str(error)) from None
            if generation not in (None, before.generation):
                raise MethodError(
                    "invalidArguments", f"the only version that is kept is generation {before.generation}"
                )
            response: JsonObject = {"accountId": ACCOUNT, "oldState": old_state}
            try:
                new = await self._cutover.change(lambda _: before.object, wish)
                response |= {"updated": {SINGLETON: _as_json(new)}, "notUpdated": None}
            except SetError as error:
                response |= {"updated": None, "notUpdated": {SINGLETON: error.as_json()}}
            return {**response, "newState": self._cutover.state}

    def _wish(self, action: str, arguments: Arguments, call: Call) -> Wish:
        """The arguments that are ours, and the end of all arguments."""
        validate: Validate = "connect"
        is_dry = False
        if OURS in call.using:
            validate = cast("Validate", arguments.choice("validate", "connect", "schema", "none"))
            is_dry = arguments.flag("dryRun")
        arguments.explain = _EXTRA
        arguments.done()
        if self._managed == "file":
            raise MethodError(
                "forbidden",
                "the Coordinator of this node is managed by its configuration file: change it there",
            )
        return Wish(action, call.caller, validate, is_dry)

    def _in_state(self, wanted: str | None) -> str:
        state = self._cutover.state
        if wanted not in (None, state):
            raise MethodError("stateMismatch", f"the state is {state}: read the object again")
        return state

    async def _update(self, patch: JsonObject, wish: Wish) -> JsonObject | None:
        if ijson.size(patch, MAX_SIZE_OBJECT, EACH_VALUE) > MAX_SIZE_OBJECT:
            raise SetError("tooLarge", f"a Coordinator of more than {MAX_SIZE_OBJECT} bytes is none")
        before = _as_json(self._cutover.current)

        def make(current: Coordinator) -> Coordinator:
            return patched(current, patch, self._variants)

        return _implied(before, patch, _as_json(await self._cutover.change(make, wish)))


def _as_json(coordinator: Coordinator) -> JsonObject:
    return {"id": SINGLETON, **encode(coordinator)}


def _implied(before: JsonObject, patch: Mapping[str, object], after: JsonObject) -> JsonObject | None:
    """What the client cannot know: all that is not as it was or as the patch says, word for word."""
    known = before if before["@type"] == after["@type"] else {"id": SINGLETON}
    expected = {**known, **patch}
    touched = {key.partition("/")[0] for key in patch if "/" in key}
    changed = {
        name: value
        for name, value in after.items()
        if name in touched or name not in expected or expected[name] != value
    }
    return changed or None


def _singleton(what: str) -> JsonObject:
    return SetError("singleton", f"there is one Coordinator; it is updated, never {what}").as_json()


def _not_found(id: str) -> JsonObject:
    return SetError("notFound", f'the only id is "{SINGLETON}", not "{id[:60]}"').as_json()
