"""What `bus update` sends: from --field, --field-file, --json, --file and --stdin to one PatchObject."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, cast

from bus.cli import typed
from bus.cli.failure import INVALID, Failure, usage

if TYPE_CHECKING:
    import argparse

    from bus.cli.client import Json

MAX_FILE = 1_000_000
SAFER = (
    "keep it out: --field-file authSecret/secret=FILE (- for stdin), --file, --stdin; "
    "or store it where the node reads it: --field authSecret/filePath=/run/secrets/bus"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    group = parser.add_argument_group("what to change")
    group.add_argument(
        "--field", action="append", default=[], metavar="NAME=VALUE",
        help="one field; @type=Nats for another variant; null for its default; lists as a,b",
    )  # fmt: skip
    group.add_argument(
        "--field-file", action="append", default=[], metavar="NAME=FILE",
        help="its value is what the file holds, without the newline at its end; - reads stdin",
    )  # fmt: skip
    whole = group.add_mutually_exclusive_group()
    whole.add_argument("--file", metavar="FILE", help="several at once, or a whole object (TOML, YAML, JSON)")
    whole.add_argument("--stdin", action="store_true", help="the same on stdin (JSON)")


def patch_of(arguments: argparse.Namespace, schema: Json, current: Json) -> Json:
    """The patch. Raises Failure."""
    patch = _whole(arguments)
    given = [(*typed.split(text), False) for text in arguments.field]
    for text in arguments.field_file:
        name, path = typed.split(text)
        given.append((name, _read(path), True))
    if not given and not patch:
        raise usage("nothing to change", "give --field NAME=VALUE, --file, or --stdin; see bus describe")
    kind = str(patch.get("@type", current["@type"]))
    for name, text, _ in given:
        if typed.canonical(name, ()) == "@type":
            kind = _kind(text, schema)
    properties = typed.variant(schema, kind)
    everything = [name for one in typed.kinds(schema) for name in typed.variant(schema, one)]
    for name, text, is_private in given:
        key = typed.canonical(name, [*everything, *properties])
        value = kind if key == "@type" else _value(key, text, properties)
        if not is_private and typed.holds_secret({key: value}):
            raise usage(f"--field {key}: a secret on the command line can be read by everybody", SAFER)
        head, slash, member = key.partition("/")
        field = cast("Json", properties.get(head) or {})
        if slash and member in typed.SECRET_KINDS and typed.is_secret(field):
            key, value = head, typed.secret_as(member, text, field)
        if key in patch:
            raise usage(f"{key} is given twice")
        patch[key] = value
    return patch


def _value(key: str, text: str, properties: Json) -> object:
    head, slash, _ = key.partition("/")
    return text if slash else typed.value_of(text, cast("Json", properties.get(head) or {}))


def _kind(text: str, schema: Json) -> str:
    known = {name.lower(): name for name in typed.kinds(schema)}
    return known.get(text.strip().lower(), text.strip())


def _whole(arguments: argparse.Namespace) -> Json:
    if isinstance(arguments.json, str):
        patch = _json(arguments.json, "--json")
        if typed.holds_secret(patch):
            raise usage("--json: a secret on the command line can be read by everybody", SAFER)
        if arguments.stdin or arguments.file is not None:
            raise usage("--json with an object, --file and --stdin exclude each other")
        return patch
    if arguments.stdin:
        return _json(sys.stdin.read(MAX_FILE), "stdin")
    if arguments.file is not None:
        return _from_file(arguments.file)
    return {}


def _from_file(path: str) -> Json:
    from bus.cli.settings import read_file

    if path == "-":
        return _json(sys.stdin.read(MAX_FILE), "stdin")
    found = read_file(path)
    inner = found.get("coordinator")
    if "@type" not in found and isinstance(inner, dict):
        found = cast("Json", inner)
    return found


def _json(text: str, where: str) -> Json:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Failure(INVALID, "notJson", f"{where}: it holds no JSON object")
    return cast("Json", found)


def _read(path: str) -> str:
    """A value out of a file; one newline at its end does not belong to it."""
    from bus.config.secret import read_regular

    if path.removeprefix("@") == "-":
        return _without_newline(sys.stdin.read(MAX_FILE))
    trouble = ""
    try:
        return _without_newline(read_regular(os.path.expanduser(path), MAX_FILE)[0].decode())
    except OSError as error:
        trouble = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        trouble = "it is not UTF-8 text"
    except ValueError as error:
        trouble = str(error)
    raise Failure(INVALID, "unreadable", f"{path}: {trouble}")


def _without_newline(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
