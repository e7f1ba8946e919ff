"""`bus publish TOPIC DATA`: joins for a moment, sends, waits until the others have it, leaves.

Without a type it is a `Message`; `--type TAG` with --import sends an event of the application, its fields as
JSON. A sender must stay until the others have what it sent, so it always waits for them, --timeout at most.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, cast

from bus.cli import output, settings
from bus.cli.failure import INVALID, OTHER, TIMEOUT, Failure, usage

if TYPE_CHECKING:
    import argparse

    from bus import Bus, Event

# How long to look for others before the first event; each answers a newcomer within 100 ms.
LOOK = 2.0
REST = 0.3


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Send an event, and say which nodes have it."
    parser.add_argument("topic", metavar="TOPIC", help="words joined by dots; with --type not given")
    parser.add_argument("data", nargs="?", metavar="DATA", help="text; - reads stdin, @FILE a file")
    parser.add_argument(
        "--type", dest="is_event", action="store_true", help="TOPIC is the tag of an event type"
    )
    parser.add_argument("--count", type=int, default=1, metavar="N", help="send it N times")
    parser.add_argument("--rate", type=float, metavar="R", help="at most R per second")
    parser.add_argument("--peers", type=int, metavar="N", help="wait for N others first, and fail without")
    parser.add_argument("--timeout", type=float, default=15.0, metavar="SECONDS", help="for each wait (15)")
    settings.configure(parser, settings.OBSERVERS)
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Send it."""
    from bus.cli.loops import run_until_signalled

    if arguments.count < 1:
        raise usage(f"--count is {arguments.count}; at least 1 is needed")
    if arguments.rate is not None and not arguments.rate > 0:
        raise usage(f"--rate is {arguments.rate:g}; it must be above 0")
    return run_until_signalled(_publish(output.Output(arguments), arguments))


async def _publish(out: output.Output, arguments: argparse.Namespace) -> int:
    from bus import Bus
    from bus.cli.modules import event_types
    from bus.cli.observer import until_ready

    found = settings.load(arguments)
    types = event_types(found.texts("import"))
    event = _event(arguments, types)
    bus = Bus.open(
        settings.need_system(found),
        # The name in a file or the environment is that of the node of this machine, which may be running.
        node=found.text("node") if found.values["node"].source == "--node" else None,
        cluster=found.text("cluster") or "default",
        store=found.text("store"),
        key=found.cluster_key(),
    )
    began = time.monotonic()
    async with bus:
        await until_ready(lambda: bus.ready(arguments.timeout, peers=arguments.peers or 0))
        if arguments.peers is None:
            await _look_for_others(bus)
        first = last = 0
        for number in range(arguments.count):
            await _pace(arguments.rate, number)
            last = bus.publish(event)
            first = first or last
            await bus.room()
        try:
            await bus.flush(arguments.timeout)
        except TimeoutError as error:
            raise Failure(TIMEOUT, "timeout", str(error)) from None
        confirmed = await bus.confirm(last, arguments.timeout)
        told = {
            "node": bus.status().node,
            "epoch": bus.status().epoch,
            "first": first,
            "last": last,
            "heard": sorted(confirmed.heard),
            "missing": sorted(confirmed.missing),
            "seconds": round(time.monotonic() - began, 3),
        }
    if out.is_json:
        out.json(told, indent=None)
    else:
        numbers = f"#{first}" if first == last else f"#{first}..{last}"
        heard = ", ".join(sorted(confirmed.heard)) or "nobody: no other node is on the bus"
        out.line(f"published {arguments.topic} {numbers}; heard by {heard}")
    if confirmed.missing:
        raise Failure(TIMEOUT, "missing", f"not confirmed by {', '.join(sorted(confirmed.missing))}")
    return 0


async def _look_for_others(bus: Bus) -> None:
    import anyio

    try:
        await bus.ready(LOOK, peers=1)
    except TimeoutError:
        return
    # The others answer the same hello, and not all within the same moment.
    await anyio.sleep(REST)


_started: list[float] = []


async def _pace(rate: float | None, number: int) -> None:
    import anyio

    if rate is None:
        return
    if not number:
        _started[:] = [time.monotonic()]
    await anyio.sleep(max(0.0, _started[0] + number / rate - time.monotonic()))


def _event(arguments: argparse.Namespace, types: dict[int | str, type[Event]]) -> Event:
    from bus import Message

    data = _data(arguments.data)
    if not arguments.is_event:
        return Message(arguments.topic, data)
    import msgspec

    tag: int | str = int(arguments.topic) if arguments.topic.isdecimal() else arguments.topic
    cls = types.get(tag)
    if cls is None:
        known = ", ".join(str(one) for one in types if one) or "none: give --import MODULE"
        raise usage(f"no event type has the tag {arguments.topic}", f"known: {known}")
    names = cls.__struct_encode_fields__
    try:
        found: object = json.loads(data or b"{}")
        if isinstance(found, dict):
            found = _by_name(cls, cast("dict[str, object]", found))
        elif isinstance(found, list):
            found = [tag, *cast("list[object]", found)]
        return msgspec.convert(found, cls)
    except (ValueError, msgspec.MsgspecError) as error:
        trouble = str(error)
    raise Failure(INVALID, "invalidEvent", f"{tag}: {trouble}", f"its fields: {', '.join(names)}")


def _by_name(cls: type[Event], fields: dict[str, object]) -> list[object]:
    """As an array, which is the form of events. Raises ValueError."""
    import msgspec

    from bus.event import tag_of

    if unknown := fields.keys() - set(cls.__struct_encode_fields__):
        raise ValueError(f"there is no field {', '.join(sorted(unknown))}")
    values: list[object] = [tag_of(cls)]
    for field in msgspec.structs.fields(cls):
        if field.encode_name in fields:
            values.append(fields[field.encode_name])
        elif field.required:
            raise ValueError(f"the field {field.encode_name} is required")
        else:
            default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
            values.append(msgspec.to_builtins(default))
    return values


def _data(text: str | None) -> bytes:
    if text is None:
        return b""
    if text == "-":
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text.encode()
    try:
        with open(text[1:], "rb") as file:
            return file.read()
    except OSError as error:
        raise Failure(OTHER, "unreadable", f"{text[1:]}: {error.strerror}") from None
