"""`bus schema export` and `check`: what the events of a release look like, and whether the next one fits.

While nodes are updated one by one, old and new releases read each other. That needs: fields are appended
only, each with a default; nothing is taken away, moved, renamed or given another type; a tag keeps its
meaning. The guard of a running bus (`bus.vetting`) refuses what could be read wrongly; this finds it, and a
little more, before the release.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bus.cli import output
from bus.cli.failure import INVALID, Failure, usage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from bus.cli.client import Json
    from bus.schema import FieldShape

FORMAT = 1
WORDS = {"ok": "ok", "warn": "WARNING", "fail": "FAILED"}
STYLES = {"ok": "good", "warn": "warn", "fail": "bad"}


class Row(msgspec.Struct):
    """One event type of a file; `fields` as `bus.schema` has them."""

    tag: int | str
    fields: list[tuple[str, Any, bool]]


class Document(msgspec.Struct):
    """One file."""

    format: int
    types: list[Row]


class Finding(NamedTuple):
    """What became of one event type."""

    tag: int | str
    status: str
    detail: str


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "What the events of a release look like, and whether the next release fits."
    commands = parser.add_subparsers(dest="what", metavar="export|check", required=True)
    export = commands.add_parser("export", help="write down the event types of some modules, as JSON")
    export.add_argument(
        "--import", dest="modules", action="append", required=True, metavar="MODULE",
        help="with event classes; as often as needed",
    )  # fmt: skip
    output.configure(export)
    check = commands.add_parser("check", help="compare two such files; exit code 4 when they do not fit")
    check.add_argument("old", metavar="OLD.json", help="of the release that runs")
    check.add_argument("new", metavar="NEW.json", help="of the next one")
    output.configure(check)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Do it."""
    out = output.Output(arguments)
    if arguments.what == "export":
        out.json(exported(arguments.modules))
        return 0
    findings = list(compared(_read(arguments.old), _read(arguments.new)))
    bad = sum(one.status == "fail" for one in findings)
    if out.is_json:
        out.json({"compatible": not bad, "types": [one._asdict() for one in findings]})
    else:
        for one in findings:
            word = out.paint(WORDS[one.status].ljust(7), STYLES[one.status])
            out.line(f"{word} {one.tag}: {one.detail}")
        out.line(f"{bad} of {len(findings)} types do not fit" if bad else "compatible")
    return INVALID if bad else 0


# -- export ----------------------------------------------------------------------------------------


def exported(modules: list[str]) -> Json:
    """All event types of these modules. Raises Failure."""
    from bus import schema
    from bus.cli.modules import event_types
    from bus.event import Message

    types = {tag: cls for tag, cls in event_types(modules).items() if cls is not Message}
    if not types:
        raise usage(
            f"there is no event type in {', '.join(modules)}", "a class derived from bus.Event, with a tag"
        )
    rows: list[Json] = []
    for tag, cls in sorted(types.items(), key=lambda one: (isinstance(one[0], str), one[0])):
        fields = schema.describe(cls)
        rows.append(
            {
                "tag": tag, "class": f"{cls.__module__}.{cls.__qualname__}",
                "fingerprint": schema.fingerprint(schema.encoded(fields)), "fields": fields,
            }
        )  # fmt: skip
    return {"format": FORMAT, "types": rows}


# -- check -----------------------------------------------------------------------------------------


def _read(path: str) -> dict[int | str, list[FieldShape]]:
    """Tag -> fields. Raises Failure."""
    from bus import schema

    try:
        document = msgspec.json.decode(Path(path).read_bytes(), type=Document)
        types = {row.tag: schema.decoded(schema.encoded(row.fields)) for row in document.types}
    except OSError as error:
        trouble = error.strerror or type(error).__name__
    except (ValueError, RecursionError) as error:
        trouble = str(error)
    else:
        if document.format == FORMAT:
            return types
        trouble = f"its format is {document.format}, this release reads {FORMAT}"
    hint = "write it with bus schema export --import MODULE > FILE"
    raise Failure(INVALID, "invalidSchema", f"{path}: {trouble}", hint)


def compared(
    old: Mapping[int | str, list[FieldShape]], new: Mapping[int | str, list[FieldShape]]
) -> Iterator[Finding]:
    """Type by type: what is kept, what is new, what is gone."""
    for tag in sorted({*old, *new}, key=lambda one: (isinstance(one, str), one)):
        if tag not in new:
            detail = "is gone: nodes of the new release ignore what old ones still publish"
            yield Finding(tag, "warn", detail)
        elif tag not in old:
            yield Finding(tag, "ok", "is new: nodes of the old release ignore it")
        else:
            yield _changed(tag, old[tag], new[tag])


def _changed(tag: int | str, old: list[FieldShape], new: list[FieldShape]) -> Finding:
    from bus import schema

    if old == new:
        return Finding(tag, "ok", "has not changed")
    if (
        trouble := schema.difference(old, new, schema.Sides("in the old release", "in the new one"))
    ) is not None:
        return Finding(tag, "fail", trouble)
    if len(new) < len(old):
        return Finding(tag, "fail", f"the field {old[len(new)][0]} is gone: fields may only be appended")
    for before, after in zip(old, new, strict=False):
        if after[2] and not before[2]:
            return Finding(
                tag, "fail", f"the field {after[0]} has lost its default: older events may lack it"
            )
    changed = [
        f"{before[0]} was {schema.shown(before[1])}, is {schema.shown(after[1])}"
        for before, after in zip(old, new, strict=False)
        if before[1] != after[1]
    ]
    if changed:
        told = "what one side alone knows cannot be read by the other, and is told as a gap"
        return Finding(tag, "warn", f"{'; '.join(changed)}: {told}")
    added = ", ".join(name for name, _, _ in new[len(old) :])
    return Finding(tag, "ok", f"appended with a default: {added}" if added else "reads as before")
