"""Reads a configuration file, and finds the line of a name in it; collects what is wrong."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple, cast

from bus.cli.failure import INVALID, Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bus.cli.client import Json

MAX_FILE = 1_048_576


class File(NamedTuple):
    """What a file says."""

    path: str
    content: Json
    text: str

    @property
    def is_coordinator(self) -> bool:
        """The whole file is one Coordinator, as `Bus.open` takes it."""
        return "@type" in self.content

    def place(self, *names: str) -> str:
        """ "bus.toml:14": where this name stands, below the others."""
        at, is_found = 0, False
        if not self.path:
            return ""
        for name in names:
            key = re.escape(name)
            # name = ..., a.name = ..., [name], name: ...; and "name": ... anywhere in a line
            first = rf"""^[ \t\[{{,]*(?:[\w."'@]+\.)?["']?{key}["']?[ \t]*(?:[=:\]]|$)"""
            pattern = rf"""(?m){first}|["']{key}["'][ \t]*[:=]"""
            if found := re.compile(pattern).search(self.text, at):
                at, is_found = found.start(), True
                at += len(found[0]) - len(found[0].lstrip())
        if not is_found:
            return self.path
        return f"{self.path}:{self.text.count(chr(10), 0, at) + 1}"


NO_FILE = File("", {}, "")


class Problems:
    """Everything that is wrong, to be told at once."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._properties: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, place: str, text: str, hint: str = "", path: str = "") -> None:
        """One more; `place` is a file with its line, a variable, or a flag."""
        line = f"{place}: {text}" if place else text
        self._lines.append(f"{line}; {hint}" if hint else line)
        self._properties.append(path or text.partition(":")[0])

    def raise_all(self) -> None:
        """Raises Failure if there is any."""
        if self._lines:
            properties = tuple(dict.fromkeys(self._properties))
            raise Failure(INVALID, "invalidConfiguration", "\n".join(self._lines), properties=properties)


def load(path: str, problems: Problems) -> File:
    """Read a TOML, JSON or YAML file; without content after a noted problem."""
    from bus.config.secret import read_regular

    trouble = ""
    try:
        text = read_regular(os.path.expanduser(path), MAX_FILE)[0].decode("utf-8-sig")
        found = _parsed(path, text)
    except OSError as error:
        trouble = error.strerror or type(error).__name__
    except UnicodeDecodeError as error:
        trouble = f"not UTF-8 at byte {error.start}"
    except (ValueError, RecursionError) as error:
        # Only where it is: the texts of the libraries quote what they found.
        place = re.search(r"line (\d+)", str(error))
        says = str(error) if isinstance(error, _Unreadable) else f"not valid {_language(path)}"
        problems.add(f"{path}:{place[1]}" if place else path, says)
        return NO_FILE
    else:
        if isinstance(found, dict):
            return File(path, cast("Json", found), text)
        trouble = "it holds no object at its top"
    problems.add(path, trouble)
    return NO_FILE


def anything(text: str, problems: Problems) -> File:
    """What somebody names: a URL, a Coordinator as JSON, the path of a file; - for any of these on stdin."""
    if text != "-":
        if "://" in text or text.lstrip().startswith("{"):
            return _whole("", text, problems)
        return load(text, problems)
    import sys

    text = sys.stdin.read(MAX_FILE + 1)
    if len(text) > MAX_FILE:
        problems.add("stdin", f"more than {MAX_FILE} bytes")
        return NO_FILE
    return _whole("stdin", text.removeprefix("\ufeff"), problems)


def _whole(place: str, text: str, problems: Problems) -> File:
    """A URL, JSON, or else TOML."""
    bare = text.strip()
    if "://" in bare and not bare.startswith("{") and re.fullmatch(r"\S+", bare):
        return File(place, {"coordinator": bare}, text)
    language = "x.json" if bare.startswith("{") else "x.toml"
    try:
        found = _parsed(language, text)
    except (ValueError, RecursionError) as error:
        line = re.search(r"line (\d+)", str(error))
        says = str(error) if isinstance(error, _Unreadable) else f"not valid {_language(language)}"
        problems.add(f"{place}:{line[1]}" if place and line else place, says)
        return NO_FILE
    if isinstance(found, dict):
        return File(place, cast("Json", found), text)
    problems.add(place, "it holds no object at its top")
    return NO_FILE


class _Unreadable(ValueError):
    """The text may be shown."""


def _language(path: str) -> str:
    return {".toml": "TOML", ".json": "JSON"}.get(os.path.splitext(path)[1].lower(), "YAML")


def _parsed(path: str, text: str) -> object:
    """Raises ValueError."""
    match os.path.splitext(path)[1].lower():
        case ".toml":
            import tomllib

            return tomllib.loads(text)
        case ".json":
            import json

            return json.loads(text, object_pairs_hook=_no_repeats)
        case ".yaml" | ".yml":
            import msgspec

            try:
                import msgspec.yaml

                return msgspec.yaml.decode(text.encode())
            except ImportError:
                raise _Unreadable("YAML needs pyyaml: pip install 'coordinator-bus[yaml]'") from None
            except msgspec.MsgspecError as error:
                raise ValueError(str(error)) from None
        case other:
            raise _Unreadable(f'the name ends with "{other}"; allowed: .toml, .json, .yaml, .yml')


def _no_repeats(pairs: list[tuple[str, object]]) -> Json:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Unreadable("a name is given twice")
    return made


def near(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A hint at what was probably meant, or ""."""
    import difflib

    found = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {found[0]}?" if found else ""
