"""The Coordinator from file, environment and flags, one field over the other.

BUS_COORDINATOR=nats://host:4222                       all of it: a URL, or JSON
BUS_COORDINATOR__TYPE=Nats                             another variant than the file's starts anew
BUS_COORDINATOR__ADDRESSES=a:4222,b:4222               one field
BUS_COORDINATOR__AUTH_SECRET__FILE_PATH=/run/pw        a secret: __FILE_PATH, __VARIABLE_NAME, __SECRET
BUS_COORDINATOR__AUTH_SECRET_FILE=/run/pw              the same, as containers like it
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from bus import config
from bus.admin.schema import document, variable
from bus.admin.server import variants
from bus.cli import reading, typed
from bus.cli.failure import Failure
from bus.config.check import Check
from bus.config.url import from_url, is_url
from bus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bus.cli.client import Json
    from bus.config import Coordinator

PREFIX = "BUS_COORDINATOR"
_MEMBERS = {
    "__FILE_PATH": "filePath",
    "_FILE": "filePath",
    "__VARIABLE_NAME": "variableName",
    "__SECRET": "secret",
}


class Layers:
    """Puts one Coordinator together; `sources` says where each field comes from."""

    def __init__(
        self, file: reading.File, environment: Mapping[str, str], url: str | None, problems: reading.Problems
    ) -> None:
        self.sources: dict[str, str] = {}
        self._fields: Json = {}
        self._is_unreadable = False
        self._file = file
        self._problems = problems
        self._variants = variants()
        self._schema = document(self._variants)
        self._take_file()
        self._take_environment(environment)
        if url is not None:
            self._take_whole(url, "--url")

    def coordinator(self) -> Coordinator | None:
        """The result; Disabled when nobody says anything; None after a noted problem."""
        if self._is_unreadable:
            return None
        if not self._fields:
            self.sources["@type"] = "default"
            return config.Disabled()
        try:
            return config.decode(self._fields, variants=self._variants)
        except ConfigError as error:
            for one in cast("tuple[config.Problem, ...]", error.problems):
                head = one.path.partition("/")[0]
                source = self.sources.get(head) or self.sources.get("@type", "")
                if source.startswith(self._file.path) and self._file.path:
                    source = self._place(*one.path.split("/"))
                says = one.message.replace("/", ".", one.path.count("/"))
                says = f"coordinator.{says}" if one.path else f"coordinator: {says}"
                also = head != "@type" and head in self._names() and not source.startswith(PREFIX)
                hint = f"environment name {variable(head)}" if also else ""
                self._problems.add(source, says, hint, one.path)
            return None

    # -- layers ------------------------------------------------------------------------------------

    def _take_file(self) -> None:
        file = self._file
        if file.is_coordinator:
            found: object = file.content
        elif "coordinator" in file.content:
            found = file.content["coordinator"]
        else:
            return
        if isinstance(found, str):
            self._take_whole(found, self._place())
        elif isinstance(found, dict):
            self._fields = dict(cast("Json", found))
            self.sources = {name: self._place(name) for name in self._fields}
        else:
            self._unreadable(self._place(), "it must be an object or a URL")

    def _take_environment(self, environment: Mapping[str, str]) -> None:
        if text := environment.get(PREFIX):
            self._take_whole(text, PREFIX)
        given = {name: text for name, text in environment.items() if name.startswith(f"{PREFIX}__") and text}
        kind = given.pop(f"{PREFIX}__TYPE", None)
        if kind is not None:
            known = {name.lower(): name for name in typed.kinds(self._schema)}
            kind = known.get(kind.strip().lower(), kind)
            if kind != self._fields.get("@type"):
                self._fields, self.sources = {}, {}
            self._fields["@type"], self.sources["@type"] = kind, f"{PREFIX}__TYPE"
        names = self._names()
        for name, text in given.items():
            self._take_variable(name, text, names)

    def _take_variable(self, name: str, text: str, names: Mapping[str, Json]) -> None:
        known = {variable(field): field for field in names}
        field = known.get(name)
        member = ""
        if field is None:
            for suffix, one in _MEMBERS.items():
                stem = known.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
                if stem is not None and typed.is_secret(names[stem]):
                    field, member = stem, one
        if field is None:
            self._problems.add(name, "no variant has such a field", reading.near(name, known, 0.8), name)
            return
        # Of the variant that is meant, where it has the field: the same name may be of another type there.
        own = typed.variant(self._schema, str(self._fields.get("@type")))
        described = cast("Json", own.get(field, names[field]))
        try:
            value = typed.secret_as(member, text, described) if member else typed.value_of(text, described)
        except Failure as error:
            self._problems.add(name, error.message, path=name)
            return
        self._fields[field], self.sources[field] = value, name

    def _take_whole(self, text: str, source: str) -> None:
        """A URL, or JSON."""
        text = text.strip()
        if text.startswith("{"):
            try:
                found: object = json.loads(text)
            except (ValueError, RecursionError):
                self._unreadable(source, "not valid JSON")
                return
        elif not is_url(text, self._variants):
            self._unreadable(source, "neither a URL nor JSON; a URL is, for example, nats://nats-1:4222")
            return
        else:
            check = Check()
            found = from_url(check, text, self._variants)
            for one in check.problems:
                self._unreadable(source, one.message)
            if check.problems:
                return
        self._fields = dict(cast("Json", found))
        self.sources = dict.fromkeys(self._fields, source)

    def _unreadable(self, source: str, says: str) -> None:
        self._is_unreadable = True
        self._problems.add(source, f"coordinator: {says}", path="coordinator")

    # -- words -------------------------------------------------------------------------------------

    def _place(self, *names: str) -> str:
        above = () if self._file.is_coordinator else ("coordinator",)
        return self._file.place(*above, *names)

    def _names(self) -> dict[str, Json]:
        """Field -> how it is described, over all variants."""
        return {
            name: cast("Json", field)
            for kind in typed.kinds(self._schema)
            for name, field in typed.variant(self._schema, kind).items()
            if name not in ("id", "@type")
        }
