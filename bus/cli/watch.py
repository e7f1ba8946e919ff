"""`bus watch`: events as they come, with every loss in its place. An observer: nobody waits for it.

It asks for no repeats: what its own link loses stays lost for it, and is shown as a gap, while the nodes have
it. With --json one object a line.
"""

from __future__ import annotations

import base64
import fnmatch
from typing import TYPE_CHECKING, cast

from bus.cli import output, settings
from bus.cli.failure import LOST, TIMEOUT, Failure, usage

if TYPE_CHECKING:
    import argparse

    from bus.cli.client import Json
    from bus.cli.observer import Item, Seen
    from bus.event import Event

MESSAGE = 0


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Show events as they come. Joins the bus as an observer: no node takes notice of it."
    parser.add_argument(
        "topics", nargs="*", metavar="TOPIC", help="topics of Message (a.*.c, a.>), or event types (cache.*)"
    )
    parser.add_argument("--from-node", metavar="NODE", help="of this node only")
    parser.add_argument("--count", type=int, metavar="N", help="end after N events")
    parser.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help="end after this time")
    parser.add_argument("--fail-on-gap", action="store_true", help="end with exit code 9 at the first loss")
    parser.add_argument("--timeout", type=float, default=15.0, metavar="SECONDS", help="to connect (15)")
    settings.configure(parser, settings.OBSERVERS)
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Show them."""
    from bus.cli.loops import run_until_signalled

    if arguments.count is not None and arguments.count < 1:
        raise usage(f"--count is {arguments.count}; at least 1 is needed")
    return run_until_signalled(watch(output.Output(arguments), arguments))


async def watch(out: output.Output, arguments: argparse.Namespace) -> int:
    """Until it has seen what was asked for; the exit code. Raises Failure."""
    import anyio

    from bus.cli.modules import event_types
    from bus.cli.observer import observing

    found = settings.load(arguments)
    types = event_types(found.texts("import"))
    left: int | None = arguments.count
    async with observing(found, arguments.timeout) as node:
        out.note(f"watching {node.channel} as {node.name}; Ctrl-C ends it")
        with anyio.move_on_after(arguments.seconds):
            while True:
                for item in node.sink.take():
                    record = described(item, types)
                    if not _is_wanted(record, arguments):
                        continue
                    _show(out, record)
                    if "loss" in record:
                        if arguments.fail_on_gap:
                            raise Failure(LOST, "lost", _sentence(record))
                        continue
                    if left is not None:
                        left -= 1
                        if not left:
                            return 0
                await node.news.wait()
    if left:
        raise Failure(TIMEOUT, "timeout", f"{left} of {arguments.count} events did not come in time")
    return 0


def described(item: Item, types: dict[int | str, type[Event]]) -> Json:
    """An event or a loss for programs."""
    from bus.cli.observer import Seen

    if isinstance(item, Seen):
        return _event(item, types)
    import msgspec

    fields = cast("Json", _plain(msgspec.to_builtins(item)))
    return {"loss": type(item).__name__, **fields}


def _event(item: Seen, types: dict[int | str, type[Event]]) -> Json:
    record: Json = {"node": item.node, "epoch": item.epoch, "seq": item.seq}
    if item.tag == MESSAGE and len(item.fields) == 2:
        topic, body = item.fields
        return record | {"type": "Message", "topic": topic, **_body(body)}
    cls = types.get(item.tag)
    names = cls.__struct_encode_fields__ if cls is not None else ()
    if names and len(item.fields) <= len(names):
        fields: object = {name: _plain(value) for name, value in zip(names, item.fields, strict=False)}
    else:
        fields = [_plain(value) for value in item.fields]
    return record | {"type": item.tag, "fields": fields}


def _body(body: object) -> Json:
    if isinstance(body, bytes):
        try:
            return {"body": body.decode()}
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(body).decode()}
    return {"body": _plain(body)}


def _plain(value: object) -> object:
    """What JSON can say."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast("list[object]", value)]
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in cast("Json", value).items()}
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _is_wanted(record: Json, arguments: argparse.Namespace) -> bool:
    from bus.routing import matches

    if arguments.from_node is not None and record.get("node") not in (arguments.from_node, None):
        return False
    if "loss" in record or not arguments.topics:
        return True
    if "topic" in record:
        return any(matches(pattern, str(record["topic"])) for pattern in arguments.topics)
    return any(fnmatch.fnmatchcase(str(record["type"]), pattern) for pattern in arguments.topics)


def _show(out: output.Output, record: Json) -> None:
    if out.is_json:
        out.json(record, indent=None)
    elif "loss" in record:
        out.line(out.paint(_sentence(record), "bad"))
    elif "topic" in record:
        shown = output.shown(record.get("body", record.get("base64")))
        out.line(f"{record['node']} #{record['seq']} {record['topic']} {shown}")
    else:
        out.line(f"{record['node']} #{record['seq']} {record['type']} {output.shown(record['fields'])}")


def _sentence(record: Json) -> str:
    """A loss in words."""
    who = record.get("node") or "everybody"
    match record["loss"]:
        case "Gap":
            ranges = ", ".join(
                f"{first}..{last}" for first, last in cast("list[list[int]]", record["ranges"])
            )
            return f"GAP {who} #{ranges} ({record['reason']})"
        case "Overflow":
            return f"OVERFLOW {record['count']} events were not shown: too slow here"
        case _:
            return f"RESYNC {who} after #{record.get('after')} ({record['reason']})"
